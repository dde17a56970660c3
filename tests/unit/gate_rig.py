"""Members with gates and marks, no network and no Raft: for the tests of who counts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from proto.errors import RemoteFault
from proto.units import NO_LINEAGE, ClusterId, WitnessId
from witness.raft.admission import Position, Speaker
from witness.raft.gate import Gate
from witness.raft.introduction import Answer, Hello, Question
from witness.raft.peer_disks import PeerDisks

W1, W2, W3 = (WitnessId(name) for name in ("w1", "w2", "w3"))
DISK, NEW = b"d" * 16, b"n" * 16
FIRST, A, B = b"0" * 16, b"a" * 16, b"b" * 16
AT = Position(10, 2, 2, 5)


def speaker(process: bytes = A, starts: int = 2, **changes: Any) -> Speaker:
    return replace(
        Speaker(W3, DISK, learner=False, position=AT, process=process, starts=starts, past=(FIRST,)), **changes
    )


class Memory(dict[str, bytes]):
    """A store's marks."""

    get_meta = dict.get

    def put_meta(self, name: str, value: bytes) -> None:
        self[name] = value


@dataclass(eq=False)
class Link:
    name: WitnessId
    speaker: Speaker | None = None
    closing: bool = False
    received_s: float = 0.0
    said: list[Any] = field(default_factory=list)
    asked: list[tuple[WitnessId, bytes]] = field(default_factory=list)
    """Without an answer yet."""
    why: str = ""

    def owes(self, peer: WitnessId, process: bytes) -> bool:
        return (peer, process) in self.asked

    def ask(self, question: Question) -> None:
        self.asked.append((question.speaker.peer, question.speaker.process))
        self.said.append(question)

    def answer(self, answer: Answer) -> None:
        self.said.append(answer)

    def refuse(self, why: str) -> None:
        self.closing, self.why = True, why


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
        self.gate = Gate(self, {W1, W2, W3} - {self.own}, self.links, self.let_in, self.retire, lambda: self.now_s)
        self.use(PeerDisks(self.store))

    def use(self, disks: PeerDisks) -> None:
        self.disks = disks
        self.learn, self.known, self.settle = disks.learn, disks.mark, disks.settle

    def judge(self, hello: Hello, connected: Collection[bytes]) -> None:
        self.disks.judge(hello.speaker, connected)

    def vouch(self, speaker: Speaker, asker: bytes, *, counts: bool) -> None:
        self.disks.vouch(speaker, asker, counts=counts)

    def let_in(self, link: Any, hello: Hello) -> None:
        self.disks.admit(hello.speaker)
        self.let_in_ever.append(hello.speaker.process)
        self.links[hello.witness] = link

    def retire(self, link: Any, peer: WitnessId) -> None:
        del self.links[peer]
        link.closing, link.why = True, "replaced"

    def introduce(self, said: Speaker) -> Link:
        link = Link(said.peer, said, received_s=self.now_s)
        try:
            self.gate.introduced(link, Hello(ClusterId("c"), None, said, NO_LINEAGE, 1))  # type: ignore[arg-type] - a fake
        except RemoteFault as fault:
            link.refuse(str(fault))
        return link

    def answered(self, by: Any, answer: Answer) -> None:
        if by.owes(answer.peer, answer.process):
            by.asked.remove((answer.peer, answer.process))
        self.gate.answered(by, answer)

    def hears(self, by: Any, word: Question | Answer) -> None:
        if isinstance(word, Answer):
            self.answered(by, word)
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

    def meet(self) -> None:
        """They are connected anew; who is connected with one of them knows nothing of the other."""
        self.to_two = self.one.introduce(speaker(peer=W2, disk=b"2" * 16))
        self.to_one = self.two.introduce(speaker(peer=W1, disk=b"1" * 16))
        for member, other in ((self.one, W2), (self.two, W1)):
            third = member.links.get(W3)
            if third is not None:
                member.answered(third, Answer(other, A, "", None))
        self.deliver()

    def part(self) -> None:
        self.one.drop(self.to_two)
        self.two.drop(self.to_one)

    def deliver(self) -> None:
        while self.to_two.said or self.to_one.said:
            for link, member, back in ((self.to_two, self.two, self.to_one), (self.to_one, self.one, self.to_two)):
                said, link.said[:] = list(link.said), []
                for word in said:
                    member.hears(back, word)
