"""Members with gates and marks, no network and no Raft: for the tests of who counts."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from proto.errors import RemoteFault
from proto.units import NO_LINEAGE, ClusterId, WitnessId
from witness.raft.admission import DiskForgot, Position, Speaker
from witness.raft.gate import Gate
from witness.raft.introduction import Answer, Hello, Question
from witness.raft.peer_disks import PeerDisks

W1, W2, W3 = (WitnessId(name) for name in ("w1", "w2", "w3"))
DISK, NEW = b"d" * 16, b"n" * 16
FIRST, A, B = b"0" * 16, b"a" * 16, b"b" * 16
AT = Position(10, 2, 2, 5)
TOKEN = b"t" * 16


def speaker(process: bytes = A, starts: int = 2, **changes: Any) -> Speaker:
    return replace(
        Speaker(W3, DISK, learner=False, position=AT, process=process, starts=starts, past=(FIRST,)), **changes
    )


def at(turn: int) -> Speaker:
    return speaker(position=replace(AT, turn=turn))


class Memory(dict[str, bytes]):
    """A store's marks."""

    get_meta = dict.get

    def put_meta(self, name: str, value: bytes) -> None:
        self[name] = value


@dataclass(eq=False)
class Holder:
    """A running process of the third witness, and the connections that end in it; a copy of it is another one."""

    open: list[tuple[Member, Link]] = field(default_factory=list)
    mail: list[tuple[WitnessId, bytes]] = field(default_factory=list)
    """Tokens that it is to send on."""

    def send_on(self) -> None:
        to, token = self.mail.pop(0)
        for member, link in self.open:
            if member.own == to and not link.closing:
                member.gate.relayed(link, token)  # type: ignore[arg-type] - a fake


@dataclass(eq=False)
class Link:
    name: WitnessId
    speaker: Speaker | None = None
    closing: bool = False
    received_s: float = 0.0
    said: list[Any] = field(default_factory=list)
    why: str = ""
    forgot: bool = False
    """It was told to heed that."""
    holder: Holder | None = None
    reads: bool = True

    def ask(self, question: Question) -> None:
        self.said.append(question)

    def relay(self, to: WitnessId, token: bytes) -> bool:
        if self.holder is not None:
            self.holder.mail.append((to, token))
        return self.reads and not self.closing

    def answer(self, answer: Answer) -> None:
        self.said.append(answer)

    def refuse(self, why: str, *, forgot: bool = False) -> None:
        self.closing, self.why, self.forgot = True, why, forgot


NUMBERS = itertools.count(1)


def draw() -> bytes:
    return next(NUMBERS).to_bytes(16)


class Member:
    """A gate with marks and connections, and no network."""

    def __init__(self, own: WitnessId) -> None:
        self.own = own
        self.now_s = 0.0
        self.store = Memory()
        self.let_in_ever: list[bytes] = []
        self.links: dict[WitnessId, Any] = {}
        self.start()

    def start(self) -> None:
        """A process that reads the marks; connections of an earlier one are gone."""
        self.links.clear()
        self.gate = Gate(
            self, {W1, W2, W3} - {self.own}, self.links, self.let_in, self.retire, lambda: self.now_s, draw
        )
        self.use(PeerDisks(self.store))

    def use(self, disks: PeerDisks) -> None:
        self.disks = disks
        self.learn, self.known, self.settle = disks.learn, disks.mark, disks.settle

    def judge(self, hello: Hello, connected: Collection[bytes]) -> None:
        self.disks.judge(hello.speaker, connected)

    def vouch(self, speaker: Speaker, asker: bytes, *, counts: bool, here: bool) -> None:
        self.disks.vouch(speaker, asker, counts=counts, here=here)

    def let_in(self, link: Any, hello: Hello) -> None:
        self.disks.admit(hello.speaker)
        if hello.witness in self.links:
            self.retire(self.links[hello.witness], hello.witness)
        self.let_in_ever.append(hello.speaker.process)
        self.links[hello.witness] = link

    def retire(self, link: Any, peer: WitnessId) -> None:
        del self.links[peer]
        link.closing, link.why = True, "replaced"

    def introduce(self, said: Speaker, holder: Holder | None = None) -> Link:
        link = Link(said.peer, said, received_s=self.now_s, holder=holder)
        if holder is not None:
            holder.open.append((self, link))
        try:
            self.gate.introduced(link, Hello(ClusterId("c"), None, said, NO_LINEAGE, 1))  # type: ignore[arg-type] - a fake
        except RemoteFault as fault:
            link.refuse(str(fault), forgot=isinstance(fault, DiskForgot))
        return link

    def no_objection(self, by: Any, peer: WitnessId) -> None:
        """Of `by`, to what it was asked about that peer last."""
        asked = [word for word in by.said if isinstance(word, Question) and word.speaker.peer == peer][-1]
        self.gate.answered(by, Answer(peer, asked.speaker.process, asked.token, "", None))

    def hears(self, by: Any, word: Question | Answer) -> None:
        if isinstance(word, Answer):
            self.gate.answered(by, word)
        else:
            self.gate.asked(by, word)

    def drop(self, link: Any) -> None:
        link.closing = True
        if self.links.get(link.name) is link:
            del self.links[link.name]
        self.gate.closed(link)

    def counts(self, link: Link) -> bool:
        return self.links.get(link.name) is link and not link.closing


class Pair:
    """Two members that are connected, and what they say to each other."""

    def __init__(self) -> None:
        self.one, self.two = Member(W1), Member(W2)
        self.to_two = self.one.introduce(speaker(peer=W2, disk=b"2" * 16))
        self.to_one = self.two.introduce(speaker(peer=W1, disk=b"1" * 16))
        self.holders: list[Holder] = []

    def holder(self) -> Holder:
        self.holders.append(Holder())
        return self.holders[-1]

    def pass_time(self, seconds: float) -> None:
        """Everybody who is connected gives signs of life meanwhile."""
        for member in (self.one, self.two):
            member.now_s += seconds
            for link in [*member.links.values(), *member.gate.waiting]:
                link.received_s = member.now_s
            member.gate.upkeep()

    def meet(self) -> None:
        """They are connected anew; who is connected with one of them knows nothing of the other."""
        self.to_two = self.one.introduce(speaker(peer=W2, disk=b"2" * 16))
        self.to_one = self.two.introduce(speaker(peer=W1, disk=b"1" * 16))
        for member, other in ((self.one, W2), (self.two, W1)):
            third = member.links.get(W3)
            if third is not None:
                member.no_objection(third, other)
        self.deliver()

    def part(self) -> None:
        self.one.drop(self.to_two)
        self.two.drop(self.to_one)

    def deliver(self) -> None:
        while self.to_two.said or self.to_one.said or any(holder.mail for holder in self.holders):
            for holder in self.holders:
                while holder.mail:
                    holder.send_on()
            for link, member, back in ((self.to_two, self.two, self.to_one), (self.to_one, self.one, self.to_two)):
                said, link.said[:] = list(link.said), []
                for word in said:
                    member.hears(back, word)


def older_than_the_other_saw(pair: Pair) -> Link:
    """The second member saw the third's disk further; the first one, which knows nothing, is shown an older state."""
    latest = pair.two.introduce(speaker(B, starts=3, past=(A, FIRST), position=replace(AT, turn=50)))
    pair.deliver()
    pair.two.drop(latest)
    pair.one.use(PeerDisks(Memory()))  # its own disk is new
    older = pair.one.introduce(speaker(A))
    pair.deliver()
    return older
