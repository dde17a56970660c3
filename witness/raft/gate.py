"""When an introduced connection begins to count: the other connected witnesses were asked, and none knows better (O4).

Rule: of one witness one process counts, everywhere. Each member by itself can only tell what it has seen; a copy of a
disk that reaches a member which knows little of the original would count there, while the original counts elsewhere,
and both could vote. So a member that is introduced to a peer asks every member that it is connected with, and lets the
peer in when all of them have answered without an objection, or have lost their connection. One that gives signs of
life and no answer loses it (witness.raft.peer_link): it would keep a third witness out for ever. Whoever is asked
objects when it knows more of that disk than was said, or when another process of that peer is connected there and
alive; else it vouches: it remembers the process, tentatively (witness.raft.vouching). Of two that wait at two members
the one with more starts wins. Members that find each other again ask about the peers that they let in meanwhile.

What waits is read (it may have to answer, else three starting members would wait for each other) but does not count.
What remains: while two members cannot reach each other, an original may count at one and a copy that was made during
its very last run at the other. No member can tell that copy from a restart; both are found out when the two meet. And a
copy of the *memory* of a running witness is the same process: it passes for another connection of it, cut or no cut.
Rejected: asking a majority (a restart could not be let in by the one other member that is left).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from proto.errors import FrameRefused, RemoteFault
from proto.units import WitnessId
from witness.raft.admission import Mark, Speaker
from witness.raft.introduction import Answer, Hello, Question
from witness.raft.peer_link import PeerLink
from witness.raft.vouching import own_part

LIVELY_S: Final = 1.0
"""A peer that was heard within this is alive: twice the time after which an idle one gives a sign of life."""
VOUCHES_MAX: Final = 16
VOUCH_WINDOW_S: Final = 10.0
"""A vouch that changes a mark costs a sync before its answer; more of one asker about one peer are refused."""


class GateOwner(Protocol):
    def judge(self, hello: Hello, connected: Collection[bytes]) -> None:
        """Raises RemoteFault when this disk may not speak for this witness, or not with us. `connected`: the disks of
        those that are asked next.
        """

    def vouch(self, speaker: Speaker, asker: bytes, *, counts: bool) -> None:
        """Remembers an introduction to the witness on the disk `asker`, durably when it returns. `counts`: the
        asker's connection does. Raises RemoteFault when we know better.
        """

    def settle(self, speaker: Speaker, asker: bytes) -> None:
        """The witness on the disk `asker` did not object to one that waits here (witness.raft.vouching)."""

    def learn(self, peer: WitnessId, theirs: Mark) -> None: ...
    def known(self, peer: WitnessId) -> Mark | None: ...


@dataclass(slots=True)
class Waiting:
    link: PeerLink
    hello: Hello
    asked: set[WitnessId]
    """Who has not answered yet."""


class Gate:
    def __init__(
        self,
        owner: GateOwner,
        peers: Collection[WitnessId],
        links: Mapping[WitnessId, PeerLink],
        let_in: Callable[[PeerLink, Hello], None],
        retire: Callable[[PeerLink, WitnessId], None],
        now_s: Callable[[], float],
    ) -> None:
        """`links`: those that count, kept by the caller. `let_in` may raise RemoteFault."""
        self._owner = owner
        self._peers = frozenset(peers)
        self._links = links
        self._let_in = let_in
        self._retire = retire
        self._now_s = now_s
        self._waiting: dict[WitnessId, Waiting] = {}
        self._vouched_s: dict[tuple[WitnessId | None, WitnessId], deque[float]] = {}
        """By asker, whatever its connection, and peer: when that mark was changed for it."""
        self.counters: Counter[str] = Counter()

    @property
    def waiting(self) -> list[PeerLink]:
        return [waiting.link for waiting in self._waiting.values()]

    def introduced(self, link: PeerLink, hello: Hello) -> None:
        """Its name, cluster and certificate are right. Raises RemoteFault to refuse it."""
        peer, speaker = hello.witness, hello.speaker
        self._make_way(peer, speaker, elsewhere=False)
        asked = [name for name in self._links if name != peer]
        speakers = [self._links[name].speaker for name in asked]
        self._owner.judge(hello, [asker.disk for asker in speakers if asker is not None])
        self._waiting[peer] = Waiting(link, hello, set(asked))
        for name in asked:
            self._links[name].ask(Question(speaker, self._known(peer)))
        self._go_on(peer)

    def asked(self, by: PeerLink, question: Question) -> None:
        speaker = question.speaker
        if speaker.peer == by.name or speaker.peer not in self._peers:
            raise FrameRefused(f"a question about {speaker.peer}, who is no third witness")
        objection = ""
        try:
            if question.mark is not None:
                self._learn(speaker.peer, question.mark)
            self._make_way(speaker.peer, speaker, elsewhere=True)
            if by.speaker is None:
                raise FrameRefused("a question before the introduction")
            self._vouch(speaker, by, by.speaker.disk)
        except RemoteFault as fault:
            objection = str(fault)
        by.answer(Answer(speaker.peer, speaker.process, objection, self._known(speaker.peer)))

    def _vouch(self, speaker: Speaker, by: PeerLink, asker: bytes) -> None:
        """At a bounded pace: a liar who invents a process after another would keep our disk, and so us, busy."""
        times, now_s = self._vouched_s.setdefault((by.name, speaker.peer), deque()), self._now_s()
        while times and now_s - times[0] >= VOUCH_WINDOW_S:
            times.popleft()
        if len(times) >= VOUCHES_MAX:
            self.counters["vouches_refused"] += 1
            raise RemoteFault(
                f"{by.name} asked about more than {VOUCHES_MAX} processes of {speaker.peer} within {VOUCH_WINDOW_S:g} "
                f"s; it is tried again by itself. If {speaker.peer} does not start that often, stop {by.name}"
            )
        before = self._owner.known(speaker.peer)
        self._owner.vouch(speaker, asker, counts=self._counts(by))
        if self._owner.known(speaker.peer) != before:
            times.append(now_s)

    def answered(self, by: PeerLink, answer: Answer) -> None:
        peer = answer.peer
        if answer.mark is not None and peer in self._peers:
            self._learn(peer, answer.mark)
        waiting, link = self._waiting.get(peer), self._links.get(peer)
        if waiting is not None and waiting.hello.speaker.process == answer.process:
            if answer.objection:
                del self._waiting[peer]
                self._object(waiting.link, by, answer)
            elif not by.owes(peer, answer.process):  # else it is to an earlier question, and a later word may differ
                if by.speaker is not None and self._counts(by):
                    self._owner.settle(waiting.hello.speaker, by.speaker.disk)
                waiting.asked.discard(by.name or peer)
                self._go_on(peer)
        elif (
            link is not None
            and link.speaker is not None
            and link.speaker.process == answer.process
            and answer.objection
        ):
            self._object(link, by, answer)

    def closed(self, link: PeerLink) -> None:
        """It waits no longer; nor does anyone wait for its answer."""
        for peer, waiting in list(self._waiting.items()):
            if waiting.link is link:
                del self._waiting[peer]
        if link.name is not None and self._links.get(link.name) in {None, link}:
            for peer, waiting in list(self._waiting.items()):
                waiting.asked.discard(link.name)
                self._go_on(peer)

    def _known(self, peer: WitnessId) -> Mark | None:
        return own_part(self._owner.known(peer))

    def _counts(self, link: PeerLink) -> bool:
        return link.name is not None and self._links.get(link.name) is link

    # -- inside ----------------------------------------------------------------------------------------------

    def _go_on(self, peer: WitnessId) -> None:
        waiting = self._waiting.get(peer)
        if waiting is None or waiting.asked:
            return
        del self._waiting[peer]
        try:
            self._let_in(waiting.link, waiting.hello)
        except RemoteFault as fault:
            waiting.link.refuse(str(fault))
            return
        self._tell_newcomer(waiting.link, peer)

    def _tell_newcomer(self, link: PeerLink, peer: WitnessId) -> None:
        """It is asked about those that were let in without it, and about those that wait."""
        for name, other in self._links.items():
            if name != peer and other.speaker is not None:
                link.ask(Question(other.speaker, self._known(name)))
        for name, waiting in self._waiting.items():
            waiting.asked.add(peer)
            link.ask(Question(waiting.hello.speaker, self._known(name)))

    def _make_way(self, peer: WitnessId, speaker: Speaker, *, elsewhere: bool) -> None:
        """One process at a time: it gives way to a living one, and any other one gives way to it."""
        link, waiting = self._links.get(peer), self._waiting.get(peer)
        if link is not None and link.speaker is not None and link.speaker.process != speaker.process:
            if self._now_s() - link.received_s < LIVELY_S and not link.closing:
                raise self._second(peer, "is connected and alive")
            if elsewhere:
                self._retire(link, peer)
        if waiting is None:
            return
        rival = waiting.hello.speaker
        if rival.process != speaker.process and _rank(rival) > _rank(speaker):
            raise self._second(peer, "was introduced at the same time and has more starts")
        if rival.process != speaker.process:
            del self._waiting[peer]
            waiting.link.refuse(str(self._second(peer, "was introduced at the same time and has more starts")))
        elif not elsewhere:
            del self._waiting[peer]
            waiting.link.refuse(f"a later connection of {peer} takes its place")

    def _second(self, peer: WitnessId, other: str) -> RemoteFault:
        self.counters["second_process"] += 1
        return RemoteFault(
            f"two processes claim to be {peer}: another one {other}; the second one is refused. If its machine or disk "
            "was copied, stop one of the two"
        )

    def _object(self, link: PeerLink, by: PeerLink, answer: Answer) -> None:
        self.counters["objections"] += 1
        link.refuse(f"{answer.objection} (as {by.name} says)")

    def _learn(self, peer: WitnessId, theirs: Mark) -> None:
        """A connection from a disk that was replaced meanwhile ends."""
        self._owner.learn(peer, theirs)
        mark, link = self._owner.known(peer), self._links.get(peer)
        if mark is not None and link is not None and link.speaker is not None and link.speaker.disk in mark.retired:
            link.refuse(f"{peer}'s disk was replaced by a readmission; stop that process")


def _rank(speaker: Speaker) -> tuple[int, bytes]:
    return speaker.starts, speaker.process
