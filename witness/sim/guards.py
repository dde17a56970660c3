"""One group's guard at one site: another process than the agent, with the machine's hardware in its hands.

Rule: it acts at its own instant whoever is stopped, by the clocks of its host, which it compares at every wake-up; its
floor is the kernel's. The next one is prepared while the group is dormant, where there is anything to prepare, and says
what it lacks (agents.actions.runner).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from agents.core.takeover import HeldLease
from agents.fencing.base import Down, GuardError, GuardGone, GuardRefused, Step
from agents.fencing.guard_clock import Clocks
from agents.fencing.guard_model import Behaviour, GuardEvent, GuardModel
from agents.fencing.warden import CLOCK_CHECK_MS
from proto.clock import ClockReading
from proto.timing import LocalDeadlines
from proto.units import NS_PER_MS, PPM, Epoch, GroupId, InstantNs
from witness.sim.host.hardware import Hardware
from witness.sim.resource import EFFECT_EVERY_NS

if TYPE_CHECKING:
    from witness.sim.machine import SimHost

PREPARE_NS = (50 * NS_PER_MS, 300 * NS_PER_MS)
"""What starting an interpreter takes."""
TELL_NS = NS_PER_MS


class GuardPost:
    """Owned by the shell of its group on this host."""

    def __init__(
        self,
        host: SimHost,
        group: GroupId,
        behave: Callable[[Step], Behaviour],
        told: Callable[[GuardEvent], None],
        emptied: Callable[[], None],
    ) -> None:
        """`emptied`: its processes are dead, and it goes on because the rest of its ladder is not proven yet."""
        self.guard: GuardModel | None = None
        self.hardware = Hardware(host, group, host.parts(f"hardware/{host.name}/{group}"))
        self.latest: tuple[Epoch, LocalDeadlines] | None = None
        """What the agent gave last."""
        self.undead = False
        """Something is left that no kill ends; only a reset does."""
        self.emptied = False
        """At its end no process was left, and the guard waited for the rest."""
        self._host = host
        self._group = group
        self._behave = behave
        self._told = told
        self._tell_emptied = emptied
        self._met_emptied = False
        self._spare: GuardModel | None = None
        self._lacks: tuple[str, ...] = ()
        self._armed_at: ClockReading | None = None
        self._wake_ns = -1
        self._met_undead = False

    # -- what the agent asks for --------------------------------------------------------------------------

    def _new(self) -> GuardModel:
        _, finished = self._host.disk.bounds.get(self._group, (Epoch(0), Epoch(0)))
        return GuardModel(self._behave, finished, self.hardware.ladder())

    def begin(self, holder: str) -> None:
        """A guard for an activation: the one that was prepared, or a new one."""
        self.guard, self._spare = self._spare or self._new(), None
        self.guard.bind(holder)

    def authority_ends_at(self) -> InstantNs | None:
        """By the host's clock, as the guard was told last."""
        return None if self.latest is None else self.latest[1].deadline

    def prepared(self, over: Epoch) -> GuardModel:
        """For a runner that asks for each guard itself: dormant, it ends with its agent."""
        self._spare = GuardModel(self._behave, over, self.hardware.ladder())
        return self._spare

    def take(self, model: GuardModel) -> None:
        """It is about to be armed."""
        self.guard, self._spare = model, None

    def let_spare_go(self, model: GuardModel) -> None:
        """One that holds nothing is asked to end."""
        if self._spare is model:
            self._spare = None
        for event in model.advance(self._host.clock.now()):
            self._told(event)

    def prepare_soon(self) -> None:
        """Proven down: the guard of the next activation may start."""
        if self.hardware.fitting.anything:
            self._host.later(self._host.rng.randint(*PREPARE_NS), self._prepare)

    def _prepare(self) -> None:
        if self.guard is None and self._spare is None and not self.undead:
            self._spare = self._new()
            self.tell_lacks(self._spare)

    def tell_lacks(self, guard: GuardModel) -> None:
        lacks = () if guard.ladder is None else tuple(guard.ladder.lacks())
        if lacks != self._lacks:
            self._lacks = lacks
            self._host.later(TELL_NS, lambda: self._host.guard_lacks(self._group, lacks))

    def taken_over(self) -> None:
        """A new process of the agent found it armed."""
        if self.guard is not None:
            self.tell_lacks(self.guard)

    def arm(self) -> bool:
        if self.guard is None or self.latest is None:
            return False
        try:
            self.armed()
        except GuardError:
            return False
        self.tell_lacks(self.guard)
        return True

    def armed(self) -> None:
        """With the latest. Raises GuardError."""
        if self.guard is None or self.latest is None:
            raise GuardGone("there is nothing to arm")
        epoch, at = self.latest
        host = self._host
        try:
            self.guard.arm(epoch, at.stop_at, at.kill_at, at.deadline, host.clock.now(), self._clocks())
        except GuardError as error:
            if isinstance(error, GuardRefused) and error.code == "unfit":
                host.hit("watchdog-refused")
            self.wake()
            raise
        self._armed_at = host.clock.read()
        self.wake()

    def held(self) -> HeldLease | None:
        """What the guard would say of itself to the next process."""
        guard = self.guard
        rungs = None if guard is None else guard.authority.rungs
        if guard is None or rungs is None or guard.authority.ended or guard.frozen or self._armed_at is None:
            return None
        deadlines = LocalDeadlines(
            InstantNs(rungs.term_at_ns), InstantNs(rungs.kill_at_ns), InstantNs(rungs.deadline_ns)
        )
        return HeldLease(Epoch(rungs.epoch), guard.holder, deadlines, self._armed_at)

    # -- its own life -------------------------------------------------------------------------------------

    def _clocks(self) -> Clocks:
        now = self._host.clock.read()
        return Clocks(now.boottime_ns, now.monotonic_raw_ns, now.wall_ns)

    def wake(self) -> None:
        """Has the guard act when it is due, by its host's clocks; called whenever that may have changed."""
        due = None if self.guard is None else self.guard.next_deadline()
        if due is None or self._host.suspended:
            self._wake_ns = -1
            return
        at_ns = max(min(self._host.clock.true_at(due), self._looks_by()), self._host.events.now_ns)
        if at_ns != self._wake_ns:
            self._wake_ns = at_ns
            self._host.events.at(at_ns, lambda: self._due(at_ns))

    def _looks_by(self) -> int:
        """Where BOOTTIME cannot be trusted, or could not, the next look by the other clock."""
        guard, clock = self.guard, self._host.clock
        if guard is None or not clock.parted_once or guard.frozen:
            return 1 << 62
        left_ns = guard.authority.next_rung_ns(self._clocks())
        wait_ns = CLOCK_CHECK_MS * NS_PER_MS
        if left_ns:  # with nothing left the last rung was seen already, and is tried again at its own pace
            wait_ns = min(wait_ns, left_ns + 1)
        return self._host.events.now_ns + max(1, wait_ns * PPM // (PPM + clock.raw_ppm))

    def _due(self, at_ns: int) -> None:
        if at_ns == self._wake_ns:
            self._wake_ns = -1
            self.advance()
            self.wake()

    def advance(self) -> None:
        guard = self.guard
        if guard is None:
            return
        if not guard.frozen:
            guard.look(self._clocks())
        self._take(guard.advance(self._host.clock.now()))
        if guard.stuck and not self._met_undead:
            self._met_undead = True
            self._host.hit("undead")
        if self.guard is guard and guard.emptied and not self._met_emptied:
            self._met_emptied = True
            self._tell_emptied()

    def kill(self) -> bool:
        """SIGKILL to the guard; its namespace goes with it."""
        if self.guard is None:
            return False
        self._take(self.guard.crash(self._host.clock.now()))
        return True

    def freeze(self, *, frozen: bool) -> None:
        if self.guard is not None:
            self.guard.frozen = frozen
            self.wake()

    def _take(self, events: list[GuardEvent]) -> None:
        for event in events:
            if isinstance(event, Down) and self.guard is not None:
                self.undead, self.emptied = self.guard.alive, self.guard.emptied
                self._gone()
            self._told(event)

    def _gone(self) -> None:
        self.guard = None
        self._wake_ns = -1
        self._met_undead = self._met_emptied = False
        self.hardware.guard_gone()

    def agent_gone(self) -> None:
        """The agent's process ended: a guard that holds goes on, one that only waits ends."""
        self._lacks = ()
        if self._spare is not None:
            self._spare = None
            self.hardware.guard_gone()

    def power_off(self) -> bool:
        """True when a guard ended with it."""
        ran = self.guard is not None or self.undead
        self.agent_gone()
        self._gone()
        self.undead = False
        self.hardware.power_off()
        return ran


def works_on(host: SimHost, post: GuardPost, act: Callable[[], None]) -> None:
    """What runs does something again and again, as long as what this guard keeps is there."""
    guard = post.guard

    def work() -> None:
        if guard is not None and post.guard is guard and not guard.emptied:
            act()
            host.guest.after(EFFECT_EVERY_NS, work)

    work()
