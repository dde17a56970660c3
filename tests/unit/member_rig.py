"""A lead's book and a member's core, each on a clock of its own rate, and a network that does as it likes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from agents.core import members
from agents.core.effects import ExtendDeadline, Fence, KeepAuthority, StartPlan, StoreBounds, Tell
from agents.core.member import Ask, MemberSettings, SiteMember
from agents.core.member_group import Held, MemberGroup, MemberGroupSettings
from agents.core.members import MemberBook
from proto.clock import ClockReading
from proto.lease import LeaseConstants
from proto.member_messages import LeadAnswer, MemberAsk, MemberPhase
from proto.timing import SiteBudgets
from proto.units import NS_PER_MS, PPM, Epoch, GroupId, InstantNs, MemberName, SiteId

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

    def at(self, true_ns: int) -> int:
        return self.began_ns + true_ns * (PPM + self.rate_ppm) // PPM

    def true_of(self, instant_ns: int) -> float:
        return (instant_ns - self.began_ns) * PPM / (PPM + self.rate_ppm)

    def read(self, true_ns: int) -> ClockReading:
        at = self.at(true_ns)
        return ClockReading(InstantNs(at), at, at)


@dataclass
class Lead:
    """What the lead's process would do around its book."""

    clock: DriftingClock
    book: MemberBook = field(init=False)
    epoch: int = 0
    deadline: int = 0
    handed: tuple[Epoch, int, tuple[MemberName, ...]] | None = None
    """On disk."""

    def __post_init__(self) -> None:
        self.book = MemberBook(G, (DB,))

    def renew(self, true_ns: int, epoch: int | None = None) -> None:
        """The witnesses answered an attempt of this moment."""
        self.epoch = self.epoch if epoch is None else epoch
        self.deadline = self.clock.at(true_ns) + TTL_MS * NS_PER_MS
        self.handed = (Epoch(self.epoch), TTL_MS, (DB,))
        self.book.give(Epoch(self.epoch), InstantNs(self.deadline), CONSTANTS)

    def restart(self, true_ns: int) -> None:
        """Cold: nothing is known but what is on disk."""
        now = InstantNs(self.clock.at(true_ns))
        left = members.left_by_a_former_lead(self.handed, now)
        self.book = MemberBook(G, (DB,), over=Epoch(self.epoch), left_behind=left)

    @property
    def giving(self) -> bool:
        return self.book.epoch != 0

    def may_hold(self, true_ns: int) -> bool:
        return bool(self.book.may_hold(InstantNs(self.clock.at(true_ns))))


class Member:
    """The member's process with a shell that does everything at once, or not at all while `stuck`."""

    def __init__(self, clock: DriftingClock, true_ns: int = 0, *, enforce: bool = True) -> None:
        self.clock = clock
        self.enforce = enforce
        self.plans: list[StartPlan] = []
        self.disk = (Epoch(0), Epoch(0))
        self.guard: tuple[int, int] | None = None
        """Epoch and deadline on this host's clock: what the guard is armed with. The kernel ends it there."""
        self.outbox: list[MemberAsk] = []
        self.stuck = False
        self.armed: list[tuple[int, int]] = []
        self._numbers = itertools.count(1)
        self.instance = b""
        self.restart(true_ns)

    def adopt(self, true_ns: int, held: Held) -> None:
        """A new process of the same instance goes on with what its guard holds."""
        self._begin(true_ns, {G: held})

    def restart(self, true_ns: int) -> None:
        """The process is gone; a new one verifies that everything is down, which ends the guard."""
        self.instance = next(self._numbers).to_bytes(16, "big")
        self._begin(true_ns, {})

    def _begin(self, true_ns: int, adopted: dict[GroupId, Held]) -> None:
        self.outbox = []
        self.core = SiteMember(
            MemberSettings(SiteId("dc-a"), DB, (MemberGroupSettings(G, BUDGETS, 3_000, self.enforce),)),
            tokens=lambda: next(self._numbers).to_bytes(16, "big"),
            bounds={G: self.disk},
            started=self.clock.read(true_ns),
            adopted=adopted,
        )
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
        self.core.plan_finished(G, plan.plan, True, "", now)

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
        self.asks: list[tuple[bytes, MemberAsk]] = []
        self.answers: list[LeadAnswer] = []
        self.latest_lead_end = 0.0
        """True time of the last instant of any authority the lead ever had."""

    def passes(self, ms: int, *, ticks: bool = True) -> None:
        """The member's process is woken when it asked for it, or sleeps through all of it."""
        end = self.true_ns + ms * NS_PER_MS
        while ticks:
            wake = self.member.clock.true_of(self.member.core.next_deadline())
            at = max(self.true_ns + NS_PER_MS, round(wake) + 1_000)
            if at >= end:
                break
            self.true_ns = at
            self.member.tick(at)
            self.collect()
        self.true_ns = end

    def collect(self) -> None:
        self.asks += [(self.member.instance, ask) for ask in self.member.outbox]
        self.member.outbox = []

    def renew(self, epoch: int | None = None) -> None:
        self.lead.renew(self.true_ns, epoch)
        self.latest_lead_end = max(self.latest_lead_end, self.lead.clock.true_of(self.lead.deadline))

    def take_ask(self, index: int = 0, *, keep: bool = False) -> None:
        """The lead hears it now; `keep`: it comes again later."""
        instance, ask = self.asks[index] if keep else self.asks.pop(index)
        now = InstantNs(self.lead.clock.at(self.true_ns))
        orders = tuple(self.lead.book.asked(DB, instance, one, now) for one in ask.groups)
        self.answers.append(LeadAnswer(ask.nonce, orders))

    def take_answer(self, index: int = 0, *, keep: bool = False) -> None:
        answer = self.answers[index] if keep else self.answers.pop(index)
        self.member.answered(answer, self.true_ns)
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
        self.member.core.told_to_ask(self.member.clock.read(self.true_ns))
        self.member.perform(self.true_ns)
        self.collect()

    def holding(self, epoch: int = 7) -> Pair:
        self.renew(epoch)
        self.talk()
        assert self.member.group.phase is MemberPhase.HOLDING
        return self

    def check(self) -> None:
        """No member outlasts its lead; and who is not seen as holding does not run."""
        if self.member.runs(self.true_ns):
            assert self.true_ns <= self.latest_lead_end, "a member runs after its lead's authority has ended"
            assert self.lead.may_hold(self.true_ns), "the lead may say verified down while its member runs"
        assert self.member.disk[1] <= self.member.disk[0]
