"""A lead's book and a member's core, each on a clock of its own rate, and a network that does as it likes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from agents.core import members
from agents.core.effects import ExtendDeadline, Fence, KeepAuthority, StartPlan, StoreBounds, Tell
from agents.core.lease_holder import Authority
from agents.core.member import Ask, MemberSettings, Reconnect, SiteMember
from agents.core.member_group import Held, MemberGroup, MemberGroupSettings
from agents.core.members import NEVER, Handed, MemberBook
from proto.clock import ClockReading
from proto.lease import LeaseConstants
from proto.member_messages import GroupAsk, GroupOrder, LeadAnswer, MemberAsk, MemberPhase
from proto.timing import SiteBudgets
from proto.units import NS_PER_MS, PPM, Epoch, GroupId, Incarnation, InstantNs, MemberName, SiteId

_HOSTS = itertools.count()
"""No two processes draw the same token."""
G = GroupId("shop")
DB = MemberName("db1")
TTL_MS = 1_000
DRIFT_PPM = 10_000
CONSTANTS = LeaseConstants(TTL_MS, DRIFT_PPM, 0)
BUDGETS = SiteBudgets(stop_budget_ms=200, kill_budget_ms=100)


@dataclass
class DriftingClock:
    """A host's clocks: they began somewhere, and run at their own rate."""

    rate_ppm: int
    began_ns: int
    boot_off_ns: int = 0
    raw_off_ns: int = 0
    """One of the two may be wrong by as much; the other one is what is true of this host."""

    def at(self, true_ns: int) -> int:
        return self.began_ns + true_ns * (PPM + self.rate_ppm) // PPM

    def true_of(self, instant_ns: int) -> float:
        return (instant_ns - self.began_ns) * PPM / (PPM + self.rate_ppm)

    def read(self, true_ns: int) -> ClockReading:
        at = self.at(true_ns)
        return ClockReading(InstantNs(at + self.boot_off_ns), at + self.raw_off_ns, at)


@dataclass
class Lead:
    """What the lead's process would do around its book."""

    clock: DriftingClock
    book: MemberBook = field(init=False)
    epoch: int = 0
    deadline: int = 0
    """As the clock that is right says."""
    authority: Authority = NEVER
    handed: Handed | None = None
    """On disk."""

    def __post_init__(self) -> None:
        self.book = MemberBook(G, (DB,))

    def renew(self, true_ns: int, epoch: int | None = None) -> None:
        """The witnesses answered an attempt of this moment."""
        self.epoch = self.epoch if epoch is None else epoch
        now, ttl_ns = self.clock.read(true_ns), TTL_MS * NS_PER_MS
        self.deadline = self.clock.at(true_ns) + ttl_ns
        self.authority = Authority(InstantNs(now.boottime_ns + ttl_ns), now.monotonic_raw_ns + ttl_ns)
        self.book.give(Epoch(self.epoch), self.authority, CONSTANTS)

    def asked(self, true_ns: int, instance: bytes, ask: GroupAsk) -> GroupOrder:
        """As the desk does: to whom it is handed is on disk first."""
        now = self.clock.read(true_ns)
        self.book.may_hold(now)
        if self.giving and not self.book.seats[DB].held_by_another(instance):
            self.handed = (Epoch(self.epoch), TTL_MS, {DB: instance})
        return self.book.asked(DB, instance, ask, now)

    def restart(self, true_ns: int, *, warm: bool = False) -> None:
        """Nothing is known but what is on disk; `warm`: its guard goes on, and so does its epoch."""
        now = self.clock.read(true_ns)
        left = members.left_by_a_former_lead(self.handed, now)
        warm = warm and self.giving and self.authority.alive(now)
        self.book = MemberBook(G, (DB,), over=Epoch(self.epoch - warm), left_behind=left)
        if warm:
            self.book.give(Epoch(self.epoch), self.authority, CONSTANTS)

    @property
    def giving(self) -> bool:
        return self.book.epoch != 0

    def may_hold(self, true_ns: int) -> bool:
        return bool(self.book.may_hold(self.clock.read(true_ns)))


class Member:
    """The member's process with a shell that does everything at once, or not at all while `stuck`."""

    def __init__(
        self, clock: DriftingClock, true_ns: int = 0, *, enforce: bool = True, of: Member | None = None
    ) -> None:
        """`of`: a copy of that one's disk, started on another machine."""
        self.clock = clock
        self.enforce = enforce
        self.plans: list[StartPlan] = []
        self.disk = (Epoch(0), Epoch(0)) if of is None else of.disk
        self.guard: tuple[int, int] | None = None
        """Epoch and deadline on this host's clock: what the guard is armed with. The kernel ends it there."""
        self.outbox: list[MemberAsk] = []
        self.stuck = False
        self.guard_dies = False
        """In the middle of a stop: what it held is dead by the kernel's hand."""
        self.armed: list[tuple[int, int]] = []
        self._numbers = itertools.count((next(_HOSTS) << 32) + 1)
        self.instance = b""
        self.restart(true_ns)

    def adopt(self, true_ns: int, held: Held) -> None:
        """A new process of the same instance goes on with what its guard holds."""
        self._begin(true_ns, {G: held})

    def restart(self, true_ns: int) -> None:
        """The process is gone; a new one verifies that everything is down, which ends the guard."""
        self._begin(true_ns, {})

    def _begin(self, true_ns: int, adopted: dict[GroupId, Held]) -> None:
        self.outbox = []
        self.core = SiteMember(
            MemberSettings(SiteId("dc-a"), DB, (MemberGroupSettings(G, BUDGETS, 3_000, self.enforce),)),
            tokens=lambda: next(self._numbers).to_bytes(16, "big"),
            bounds={G: self.disk},
            started=self.clock.read(true_ns),
            adopted=adopted,
            instance=Incarnation(self.instance) if adopted else None,
        )
        self.instance = self.core.instance
        self.core.stream_opened(self.clock.read(true_ns))
        self.perform(true_ns)

    @property
    def group(self) -> MemberGroup:
        return self.core.groups[G]

    def perform(self, true_ns: int) -> None:
        for _ in range(50):
            effects = self.core.take_effects()
            for effect in effects:
                self._one(effect, true_ns)
            if not effects:
                return
        raise AssertionError("the member's core spins")

    def _one(self, effect, true_ns: int) -> None:
        now = self.clock.read(true_ns)
        if isinstance(effect, Ask):
            self.outbox.append(effect.message)
        elif isinstance(effect, Reconnect):
            self.instance, self.outbox = self.core.instance, []
            self.core.stream_closed(now)
            self.core.stream_opened(now)
        elif isinstance(effect, StoreBounds):
            self.disk = (effect.epoch_bound, effect.finished_epoch)
            self.core.bounds_stored(G, now)
        elif isinstance(effect, StartPlan):
            self._plan(effect, now)
        elif isinstance(effect, ExtendDeadline):
            self._arm(effect.epoch, effect.deadlines.deadline)
        elif isinstance(effect, Fence):
            self.guard = None
            self.core.fenced(G, True, "", now)
        else:
            assert isinstance(effect, Tell | KeepAuthority), effect

    def _plan(self, plan: StartPlan, now: ClockReading) -> None:
        self.plans.append(plan)
        if plan.kind.value == "activate":
            assert plan.deadlines is not None
            self._arm(plan.epoch, plan.deadlines.deadline)
        elif self.stuck:
            return  # the stop hangs
        else:
            self.guard = None
        by_force = plan.kind.value == "deactivate" and self.guard_dies
        self.core.plan_finished(G, plan.plan, True, "", now, orderly=not by_force)

    def _arm(self, epoch: int, deadline: int) -> None:
        self.guard = (epoch, deadline)
        self.armed.append((epoch, deadline))

    def tick(self, true_ns: int) -> None:
        self.core.tick(self.clock.read(true_ns))
        self.perform(true_ns)

    def answered(self, answer: LeadAnswer, true_ns: int) -> None:
        self.core.answered(answer, self.clock.read(true_ns))
        self.perform(true_ns)

    def runs(self, true_ns: int) -> bool:
        """Something may run under its guard."""
        return self.guard is not None and self.clock.at(true_ns) < self.guard[1]


class Pair:
    """Both, and what is on its way between them."""

    def __init__(self, lead_ppm: int = 0, member_ppm: int = 0, *, enforce: bool = True) -> None:
        self.true_ns = 0
        self.lead = Lead(DriftingClock(lead_ppm, 5_000 * NS_PER_MS))
        self.member = Member(DriftingClock(member_ppm, 900_000 * NS_PER_MS), enforce=enforce)
        self.copy: Member | None = None
        self.asks: list[tuple[bytes, MemberAsk]] = []
        self.answers: list[LeadAnswer] = []
        self.latest_lead_end = 0.0
        """True time of the last instant of any authority the lead ever had."""

    def passes(self, ms: int, *, ticks: bool = True) -> None:
        """The member's process is woken when it asked for it, or sleeps through all of it."""
        end = self.true_ns + ms * NS_PER_MS
        while ticks:
            wake = min(one.clock.true_of(one.core.next_deadline()) for one in self.members())
            at = max(self.true_ns + NS_PER_MS, round(wake) + 1_000)
            if at >= end:
                break
            self.true_ns = at
            for one in self.members():
                one.tick(at)
            self.collect()
        self.true_ns = end

    def members(self) -> list[Member]:
        return [self.member] if self.copy is None else [self.member, self.copy]

    def copied(self) -> None:
        """A copy of the member's machine is started beside it; it asks the same lead."""
        self.copy = Member(DriftingClock(0, 70_000 * NS_PER_MS), self.true_ns, of=self.member)
        self.collect()

    def collect(self) -> None:
        for one in self.members():
            self.asks += [(one.instance, ask) for ask in one.outbox]
            one.outbox = []

    def renew(self, epoch: int | None = None) -> None:
        self.lead.renew(self.true_ns, epoch)
        self.latest_lead_end = max(self.latest_lead_end, self.lead.clock.true_of(self.lead.deadline))

    def take_ask(self, index: int = 0, *, keep: bool = False) -> None:
        """The lead hears it now; `keep`: it comes again later."""
        instance, ask = self.asks[index] if keep else self.asks.pop(index)
        orders = tuple(self.lead.asked(self.true_ns, instance, one) for one in ask.groups)
        self.answers.append(LeadAnswer(ask.nonce, orders))

    def take_answer(self, index: int = 0, *, keep: bool = False) -> None:
        answer = self.answers[index] if keep else self.answers.pop(index)
        for one in self.members():  # its nonce is of one of them
            one.answered(answer, self.true_ns)
        self.collect()

    def talk(self, rounds: int = 3) -> None:
        """A network that works: every ask is answered at once."""
        for _ in range(rounds):
            self.ask_now()
            while self.asks:
                self.take_ask()
            while self.answers:
                self.take_answer()
            self.passes(15)

    def ask_now(self) -> None:
        """The lead's hint."""
        for one in self.members():
            one.core.told_to_ask(one.clock.read(self.true_ns))
            one.perform(self.true_ns)
        self.collect()

    def holding(self, epoch: int = 7) -> Pair:
        self.renew(epoch)
        self.talk()
        assert self.member.group.phase is MemberPhase.HOLDING
        return self

    def check(self) -> None:
        """No member outlasts its lead; and who is not seen as holding does not run."""
        run = [one for one in self.members() if one.runs(self.true_ns)]
        if run:
            assert self.true_ns <= self.latest_lead_end, "a member runs after its lead's authority has ended"
            assert self.lead.may_hold(self.true_ns), "the lead may say verified down while its member runs"
        assert len(run) < 2, "a member and its copy run at one time"
        for one in self.members():
            assert one.disk[1] <= one.disk[0]
