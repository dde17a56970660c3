"""A process and a copy of it with its memory, in any order: one history, and the original comes back (O4)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from gate_rig import AT, W1, W2, W3, Holder, Link, Member, Pair, at


@dataclass(eq=False)
class Copy:
    holder: Holder
    history: list[int]
    """What its disk holds, one number for each turn."""
    stalled: bool = False


@dataclass
class Chaos:
    """A process and, from some moment on, a copy of it with its memory, at two members that are always connected."""

    seed: int
    pair: Pair = field(default_factory=Pair)
    all_turns: list[int] = field(default_factory=list)
    """Of whoever counted."""
    violated: bool = False

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.members = (self.pair.one, self.pair.two)
        self.copies = [Copy(self.pair.holder(), [])]

    def step(self) -> None:
        dice, member, copy = self.rng.random(), self.rng.choice(self.members), self.rng.choice(self.copies)
        if dice < 0.2:
            member.introduce(at(10 + len(copy.history)), copy.holder)
        elif dice < 0.3:
            self.hang_up(copy)
        elif dice < 0.32:
            copy.stalled = not copy.stalled
        elif dice < 0.34 and len(self.copies) == 1:
            self.copies.append(Copy(self.pair.holder(), list(copy.history)))
        elif dice < 0.36:
            self.restart(member)
        elif dice < 0.5:
            self.pass_time(self.rng.choice((0.25, 0.5)))
        elif dice < 0.65:
            self.work(copy)
        else:
            self.deliver_one()

    def hang_up(self, copy: Copy) -> None:
        """At both ends, or so that the member does not notice."""
        if copy.holder.open:
            member, link = copy.holder.open.pop(self.rng.randrange(len(copy.holder.open)))
            link.holder = None
            if self.rng.random() < 0.5:
                self.drop(member, link)

    def drop(self, member: Member, link: Link) -> None:
        member.drop(link)
        member.disks.keep(W3)

    def restart(self, member: Member) -> None:
        for copy in self.copies:
            for at_member, link in copy.holder.open:
                link.closing = link.closing or at_member is member
        member.disks.keep(W3)
        member.start()
        for each in self.members:
            for peer, link in list(each.links.items()):
                if peer != W3:
                    each.drop(link)
        self.pair.meet()

    def pass_time(self, seconds: float) -> None:
        for member in self.members:
            member.now_s += seconds
        for copy in self.copies:
            copy.holder.open = [(member, link) for member, link in copy.holder.open if not link.closing]
            for member, link in copy.holder.open:
                if not copy.stalled:
                    link.received_s = member.now_s
        for member in self.members:
            for link in [*member.gate.waiting, *([member.links[W3]] if W3 in member.links else [])]:
                if member.now_s - link.received_s > 2.0:
                    self.drop(member, link)
            for link in (member.links.get(W1), member.links.get(W2)):
                if link is not None:
                    link.received_s = member.now_s
            member.gate.upkeep()

    def work(self, copy: Copy) -> None:
        """A turn of one that counts: what it shows is shown to all at which it counts before it does."""
        counted = [member for member, link in copy.holder.open if member.counts(link)]
        if counted and not copy.stalled:
            self.violated |= copy.history != self.all_turns
            self.all_turns.append(len(self.all_turns) * 2 + self.copies.index(copy))
            copy.history.append(self.all_turns[-1])
            for member in counted:
                member.disks.seen(W3, replace(AT, turn=10 + len(copy.history)))

    def deliver_one(self) -> None:
        mail = [copy.holder for copy in self.copies if copy.holder.mail and not copy.stalled]
        if mail and self.rng.random() < 0.5:
            self.rng.choice(mail).send_on()
            return
        pair = self.pair
        ways = [(pair.to_two, pair.two, pair.to_one), (pair.to_one, pair.one, pair.to_two)]
        link, member, back = self.rng.choice(ways)
        if link.said:
            member.hears(back, link.said.pop(0))

    def heal(self) -> None:
        """The copy is stopped for good; the original goes on as it does: whoever has no connection opens one."""
        original, *others = self.copies
        original.stalled = False
        for copy in others:
            for member, link in copy.holder.open:
                self.drop(member, link)
            copy.holder.open.clear()
        for tick in range(80):
            for member in self.members:
                if tick % 4 == 0 and not [1 for at_member, _ in original.holder.open if at_member is member]:
                    member.introduce(at(10 + len(original.history)), original.holder)
            self.pair.deliver()
            self.pass_time(0.25)

    def counts(self, copy: Copy) -> list[Member]:
        return [member for member, link in copy.holder.open if member.counts(link)]


@pytest.mark.parametrize("first", range(0, 1_000, 250))
def test_o4_in_any_order_no_copy_counts_that_lacks_what_another_one_did_and_the_original_comes_back(first: int) -> None:
    both = 0
    for seed in range(first, first + 250):
        chaos = Chaos(seed)
        for _ in range(120):
            chaos.step()
            assert not chaos.violated, f"seed {seed}"
        both += len({number % 2 for number in chaos.all_turns}) == 2
        original = chaos.copies[0]
        chaos.heal()
        if original.history == chaos.all_turns:
            assert set(chaos.counts(original)) == set(chaos.members), f"seed {seed}"
    assert both > 2
