"""When an introduced connection begins to count: the other connected witnesses were asked, and none knows better (O4).

Rule: of one witness one process counts, everywhere. Each member by itself can only tell what it has seen; a copy of a
disk that reaches a member which knows little of the original would count there, while the original counts elsewhere,
and both could vote. So a member that is introduced to a peer asks every member that it is connected with, and lets the
peer in when all of them have answered without an objection, or have lost their connection. One that gives signs of
life and no answer loses it (witness.raft.peer_link): it would keep a third witness out for ever. Whoever is asked
objects when it knows more of that disk than was said, or when another process of that peer is connected there and
alive; else it vouches: it remembers the process, tentatively (witness.raft.vouching). Of two that wait at two members
the one with more starts wins. Members that find each other again ask about the peers that they let in meanwhile.
An objection that the disk forgot something goes on to that peer as such, and it heeds it (witness.raft.heed): the one
who knows may have no connection with it.

What waits is read (it may have to answer, else three starting members would wait for each other) but does not count.
When the one that is asked has a connection of that very process too, the process shows over both that they are its own
(witness.raft.inquiry): a copy of its memory names the same process. At one member a connection waits for the end of an
older one of the same process, for the same reason.
What remains: while two members cannot reach each other, an original may count at one and a copy that was made during
its very last run at the other. No member can tell that copy from a restart; both are found out when the two meet.
Rejected: asking a majority (a restart could not be let in by the one other member that is left).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from proto.errors import FrameRefused, RemoteFault
from proto.units import WitnessId
from witness.raft.admission import DiskForgot, Mark, Speaker, highest
from witness.raft.inquiry import RELAY_WITHIN_S, Inquiries
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

    def vouch(self, speaker: Speaker, asker: bytes, *, counts: bool, here: bool) -> None:
        """Remembers an introduction to the witness on the disk `asker`, durably when it returns. `counts`: the
        asker's connection does. `here`: that process has a connection here. Raises RemoteFault when we know better.
        """

    def settle(self, speaker: Speaker, asker: bytes) -> None:
        """The witness on the disk `asker` did not object to one that waits here (witness.raft.vouching)."""

    def learn(self, peer: WitnessId, theirs: Mark) -> None: ...
    def known(self, peer: WitnessId) -> Mark | None: ...


@dataclass(slots=True)
class Waiting:
    link: PeerLink
    hello: Hello
    older: PeerLink | None
    """A connection of the same process, which counts and is alive; until it ends."""
    since_s: float


class Gate:
    def __init__(
        self,
        owner: GateOwner,
        peers: Collection[WitnessId],
        links: Mapping[WitnessId, PeerLink],
        let_in: Callable[[PeerLink, Hello], None],
        retire: Callable[[PeerLink, WitnessId], None],
        now_s: Callable[[], float],
        draw: Callable[[], bytes],
    ) -> None:
        """`links`: those that count, kept by the caller. `let_in` may raise RemoteFault. `draw`: a random token."""
        self._owner = owner
        self._peers = frozenset(peers)
        self._links = links
        self._let_in = let_in
        self._retire = retire
        self._now_s = now_s
        self._waiting: dict[WitnessId, Waiting] = {}
        self._inquiries = Inquiries(now_s, draw)
        self._vouched_s: dict[tuple[WitnessId | None, WitnessId], deque[float]] = {}
        """By asker, whatever its connection, and peer: when that mark was changed for it."""
        self.counters: Counter[str] = Counter()

    @property
    def waiting(self) -> list[PeerLink]:
        return [waiting.link for waiting in self._waiting.values()]

    def introduced(self, link: PeerLink, hello: Hello) -> None:
        """Its name, cluster and certificate are right. Raises RemoteFault to refuse it."""
        peer, speaker = hello.witness, hello.speaker
        self._bar(speaker)
        asked = [other for name, other in self._links.items() if name != peer]
        self._owner.judge(hello, [other.speaker.disk for other in asked if other.speaker is not None])
        self._make_way_for_one_that_waits(speaker, elsewhere=False)
        older = self._links.get(peer)
        older = older if older is not None and _same(older, speaker) and self._alive(older) else None
        self._waiting[peer] = Waiting(link, hello, older, self._now_s())
        for other in asked:
            self._ask(other, link, speaker)
        self._go_on(peer)

    def asked(self, by: PeerLink, question: Question) -> None:
        speaker = question.speaker
        if speaker.peer == by.name or speaker.peer not in self._peers:
            raise FrameRefused(f"a question about {speaker.peer}, who is no third witness")
        if by.name is None or by.speaker is None:
            raise FrameRefused("a question before the introduction")
        objection, relays, forgot = "", 0, False
        try:
            if question.mark is not None:
                self._learn(speaker.peer, question.mark)
            self._bar(speaker)
            here = self._here(speaker)
            self._vouch(speaker, by, by.speaker.disk, here=bool(here))
            self._make_way_elsewhere(speaker)
            relays = self._relay(here, by.name, question.token)
        except RemoteFault as fault:
            objection, forgot = str(fault), isinstance(fault, DiskForgot)
        known = self._known(speaker.peer)
        by.answer(Answer(speaker.peer, speaker.process, question.token, objection, known, relays, forgot))

    def relayed(self, link: PeerLink, token: bytes) -> None:
        """It came back."""
        self._inquiries.returned(link, token)
        if link.name is not None:
            self._go_on(link.name)

    def upkeep(self) -> None:
        """Every now and then: what lasts too long ends."""
        for inquiry in self._inquiries.overdue():
            self._end(inquiry.about, self._copied(inquiry.about, f"{inquiry.by.name} has"))
        for peer, waiting in list(self._waiting.items()):
            if waiting.older is None:
                continue
            if not self._alive(waiting.older):
                waiting.older = None
                self._go_on(peer)
            elif self._now_s() - waiting.since_s > RELAY_WITHIN_S:
                self._end(waiting.link, self._copied(waiting.link, "we have"))

    def _vouch(self, speaker: Speaker, by: PeerLink, asker: bytes, *, here: bool) -> None:
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
        self._owner.vouch(speaker, asker, counts=self._counts(by), here=here)
        if self._owner.known(speaker.peer) != before:
            times.append(now_s)

    def answered(self, by: PeerLink, answer: Answer) -> None:
        peer = answer.peer
        if answer.mark is not None and peer in self._peers:
            self._learn(peer, answer.mark)
        inquiry = self._inquiries.answered(by, answer)
        if inquiry is None:  # to an earlier question, and a later word may differ
            return
        if answer.objection:
            self.counters["objections"] += 1
            self._end(inquiry.about, f"{answer.objection} (as {by.name} says)", forgot=answer.forgot)
            return
        waiting = self._waiting.get(peer)
        if waiting is not None and waiting.link is inquiry.about and by.speaker is not None and self._counts(by):
            self._owner.settle(waiting.hello.speaker, by.speaker.disk)
        self._go_on(peer)

    def closed(self, link: PeerLink) -> None:
        """It waits no longer; nor does anyone wait for its answer, or its end."""
        self._inquiries.closed(link)
        for peer, waiting in list(self._waiting.items()):
            if waiting.link is link:
                del self._waiting[peer]
            else:
                self._go_on(peer)

    def _known(self, peer: WitnessId) -> Mark | None:
        return own_part(self._owner.known(peer))

    def _counts(self, link: PeerLink) -> bool:
        return link.name is not None and self._links.get(link.name) is link

    # -- inside ----------------------------------------------------------------------------------------------

    def _go_on(self, peer: WitnessId) -> None:
        waiting = self._waiting.get(peer)
        if waiting is None or waiting.link.closing or self._inquiries.open_about(waiting.link):
            return
        if waiting.older is not None and not waiting.older.closing:
            return
        del self._waiting[peer]
        try:
            self._let_in(waiting.link, waiting.hello)
        except RemoteFault as fault:
            waiting.link.refuse(str(fault), forgot=isinstance(fault, DiskForgot))
            return
        self._tell_newcomer(waiting.link, peer)

    def _tell_newcomer(self, link: PeerLink, peer: WitnessId) -> None:
        """It is asked about those that were let in without it, and about those that wait."""
        for name, other in self._links.items():
            if name != peer and other.speaker is not None:
                self._ask(link, other, self._as_seen(other.speaker))
        for waiting in self._waiting.values():
            self._ask(link, waiting.link, waiting.hello.speaker)

    def _ask(self, whom: PeerLink, about: PeerLink, speaker: Speaker) -> None:
        whom.ask(Question(speaker, self._known(speaker.peer), self._inquiries.begin(about, whom)))

    def _as_seen(self, speaker: Speaker) -> Speaker:
        """Of one that counts: what it said of its place when it was introduced is long past."""
        mark = self._owner.known(speaker.peer)
        if mark is None or (mark.disk, mark.process) != (speaker.disk, speaker.process):
            return speaker
        return replace(speaker, position=highest(speaker.position, mark.position))

    # -- one process at a time -------------------------------------------------------------------------------

    def _alive(self, link: PeerLink) -> bool:
        return self._now_s() - link.received_s < LIVELY_S and not link.closing

    def _bar(self, speaker: Speaker) -> None:
        """It gives way to another process that lives, or that came at the same time and has more starts."""
        link, waiting = self._links.get(speaker.peer), self._waiting.get(speaker.peer)
        if link is not None and not _same(link, speaker) and self._alive(link):
            raise self._second(speaker.peer, "is connected and alive")
        if waiting is not None and not _same(waiting.link, speaker) and _rank(waiting.hello.speaker) > _rank(speaker):
            raise self._second(speaker.peer, "was introduced at the same time and has more starts")

    def _here(self, speaker: Speaker) -> list[PeerLink]:
        """Connections of that very process that are alive."""
        waiting = self._waiting.get(speaker.peer)
        links = self._links.get(speaker.peer), None if waiting is None else waiting.link
        return [link for link in links if link is not None and _same(link, speaker) and self._alive(link)]

    def _make_way_elsewhere(self, speaker: Speaker) -> None:
        """It may count elsewhere from now on: what is not alive here, and of lower rank, ends."""
        link = self._links.get(speaker.peer)
        if link is not None and not (_same(link, speaker) and self._alive(link)):
            self._retire(link, speaker.peer)
        self._make_way_for_one_that_waits(speaker, elsewhere=True)

    def _make_way_for_one_that_waits(self, speaker: Speaker, *, elsewhere: bool) -> None:
        waiting = self._waiting.get(speaker.peer)
        if waiting is None:
            return
        if not _same(waiting.link, speaker):
            more = "was introduced at the same time and has more starts"
            self._end(waiting.link, str(self._second(speaker.peer, more)))
        elif not elsewhere or not self._alive(waiting.link):
            self._end(waiting.link, f"a later connection of {speaker.peer} takes its place")

    def _relay(self, here: list[PeerLink], to: WitnessId, token: bytes) -> int:
        if not all(link.relay(to, token) for link in here):
            peer = here[0].name
            raise RemoteFault(f"{peer} does not read what is sent to it here; it is tried again by itself")
        return len(here)

    def _copied(self, link: PeerLink, who: str) -> str:
        self.counters["second_process"] += 1
        return (
            f"two machines claim to be one process of {link.name}: {who} a connection of it that is alive and of which "
            f"this one knows nothing. It is tried again by itself; if this is said again, {link.name}'s machine was "
            "copied with its memory: stop one of the two"
        )

    def _end(self, link: PeerLink, why: str, *, forgot: bool = False) -> None:
        for peer, waiting in list(self._waiting.items()):
            if waiting.link is link:
                del self._waiting[peer]
        link.refuse(why, forgot=forgot)

    def _second(self, peer: WitnessId, other: str) -> RemoteFault:
        self.counters["second_process"] += 1
        return RemoteFault(
            f"two processes claim to be {peer}: another one {other}; the second one is refused. If its machine or disk "
            "was copied, stop one of the two"
        )

    def _learn(self, peer: WitnessId, theirs: Mark) -> None:
        """A connection from a disk that was replaced meanwhile ends."""
        self._owner.learn(peer, theirs)
        mark, link = self._owner.known(peer), self._links.get(peer)
        if mark is not None and link is not None and link.speaker is not None and link.speaker.disk in mark.retired:
            link.refuse(f"{peer}'s disk was replaced by a readmission; stop that process")


def _same(link: PeerLink, speaker: Speaker) -> bool:
    return link.speaker is not None and link.speaker.process == speaker.process


def _rank(speaker: Speaker) -> tuple[int, bytes]:
    return speaker.starts, speaker.process
