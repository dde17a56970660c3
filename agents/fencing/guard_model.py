"""A guard's rules in simulated time: the real authority and ladder, scripted processes, a kernel that is on time.

Rule: nothing here reads a clock; `advance(now)` makes happen what is due, in order, each at its own instant. The
kernel's floor ends everything at deadline - GUARD_FLOOR_LEAD_NS also while the guard is `frozen` (a SIGSTOP of
the whole site), which is the promise that the simulator leans on. Pure: events come out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agents.fencing.authority import RUNG_KILL, RUNG_NONE, Authority, Refused, Rungs
from agents.fencing.base import (
    Down,
    DownBy,
    GuardRefused,
    Rung,
    Step,
    StepEnd,
    StepResult,
)
from agents.fencing.guard_clock import Clocks
from agents.fencing.ladder import KILL, TERM, Ladder
from proto.units import NS_PER_MS

KILL_RETRY_NS = 10 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a step acts. With `leaves_running` it starts something that lives until it is ended."""

    takes_ns: int = 10 * NS_PER_MS
    exit_code: int = 0
    hangs: bool = False
    ignores_term: bool = False
    term_takes_ns: int = 5 * NS_PER_MS
    leaves_running: bool = False
    survives_kill: bool = False
    """In a call of the kernel that no signal ends."""


@dataclass(slots=True)
class _Process:
    behaviour: Behaviour
    step: Step | None
    """None once the step has reported and only what it left behind runs."""
    ends_ns: int | None
    why: StepEnd = StepEnd.EXITED


GuardEvent = StepResult | Down


class GuardModel:
    """Owned by the simulator or by a MemoryGuard; the caller passes a `now` that never goes back."""

    def __init__(
        self, behave: Callable[[Step], Behaviour], epoch_finished: int = 0, ladder: Ladder | None = None
    ) -> None:
        """`ladder`: with its simulated keeper; without one the guard has signals and its kernel timer alone."""
        self.authority = Authority(epoch_finished)
        self.down: Down | None = None
        self.frozen = False
        """Every process of the site, guard included, is stopped: only the kernel acts."""
        self.holder = ""
        self.ended: dict[str, StepResult] = {}
        """Every step that has ended; a real guard keeps the last ones."""
        self.ladder = ladder
        self._behave = behave
        self._processes: list[_Process] = []
        self._latest = 0
        self._ending: tuple[str, int, int] | None = None
        """Cause, since when, and when the kill is due."""
        self._raw_ahead_ns = 0
        """By how much MONOTONIC_RAW says that it is later."""
        self._again_at: int | None = None
        """Killed, and not proven yet: when it is tried again."""
        if ladder is not None:
            ladder.before_namespace(_not_watched, _not_forgotten)

    @property
    def running(self) -> tuple[str, ...]:
        return tuple(sorted(process.step.step_id for process in self._processes if process.step is not None))

    @property
    def alive(self) -> bool:
        """Something protected runs, or no kill has ended it."""
        return bool(self._processes)

    @property
    def stuck(self) -> bool:
        """Killed, and something is left."""
        return self._again_at is not None and bool(self._processes)

    @property
    def emptied(self) -> bool:
        """Killed, and no process is left; the rest of the ladder may be waited for."""
        return self._again_at is not None and not self._processes

    def bind(self, holder: str) -> None:
        if self.holder not in ("", holder):
            raise GuardRefused("bound", "this guard holds for another incarnation, for life")
        self.holder = holder

    def arm(
        self, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int, now: int, clocks: Clocks | None = None
    ) -> None:
        new, clocks = Rungs(epoch, term_at_ns, kill_at_ns, deadline_ns), clocks or Clocks(now, now, now)
        self.look(clocks)
        self._check(lambda: self.authority.check(new, clocks))
        self.authority.take(new, clocks)
        unfit = "" if self.ladder is None else self.ladder.renewed(new)
        if unfit:
            self._begin(unfit, now, now)
            raise GuardRefused("unfit", unfit)

    def look(self, clocks: Clocks) -> None:
        """Do its clocks agree, and is a rung due by one of them? A real guard asks at every wake-up."""
        rung, cause = self.authority.rung_due(clocks)
        self._raw_ahead_ns = self.authority.counted_ns(clocks) - clocks.boot_ns
        rungs = self.authority.rungs
        if rung == RUNG_NONE or rungs is None or self.down is not None:
            return
        self._begin(cause, clocks.boot_ns, clocks.boot_ns if rung == RUNG_KILL else rungs.kill_at_ns)

    def run(self, step: Step, now: int) -> None:
        rungs = self.authority.rungs
        if rungs is None or self._ending is not None or now >= rungs.term_at_ns:
            raise GuardRefused("not-armed", "nothing runs without an armed lease")
        if any(process.step and process.step.step_id == step.step_id for process in self._processes):
            raise GuardRefused("duplicate-step", f"{step.step_id} is running")
        behaviour = self._behave(step)
        self._processes.append(_Process(behaviour, step, None if behaviour.hangs else now + behaviour.takes_ns))

    def cancel(self, step_id: str, now: int) -> None:
        for process in self._processes:
            if process.step is not None and process.step.step_id == step_id:
                process.why = StepEnd.CANCELLED
                process.ends_ns = now + process.behaviour.term_takes_ns
                return
        raise GuardRefused("unknown-step", f"{step_id} is not running")

    def stop(self, grace_ns: int, now: int) -> None:
        if self.down is None and self._ending is None:
            self._begin("stop", now, now + grace_ns)

    def fence(self, now: int) -> None:
        if self.down is None:
            self._begin("fence", now, now)

    def crash(self, now: int) -> list[GuardEvent]:
        """The guard process is killed; its namespace goes with it."""
        return [] if self.down is not None else self._finish("the guard died", now, DownBy.KERNEL)

    def next_deadline(self) -> int | None:
        """When `advance` has something to do next."""
        if self.down is not None:
            return None
        rungs = self.authority.rungs
        if self.frozen:
            return rungs.floor_ns if rungs is not None else None
        if self._again_at is not None:
            return self._again_at if rungs is None else min(self._again_at, rungs.floor_ns)
        instants = [process.ends_ns for process in self._processes if process.ends_ns is not None]
        if rungs is not None:
            instants += [rungs.kill_at_ns] if self._ending is not None else [rungs.term_at_ns]
        if self._ending is not None:
            instants.append(self._ending[1] if not self._processes else self._ending[2])
        return min(instants, default=None)

    def advance(self, now: int) -> list[GuardEvent]:
        """Everything due up to `now`, in order."""
        events: list[GuardEvent] = []
        while self.down is None:
            due = self.next_deadline()
            if due is None or due > now:
                break
            # What a freeze delayed happens at the thaw, not in the past.
            events += self._happen(max(due, self._latest))
        self._latest = max(self._latest, now)
        return events

    def _happen(self, at: int) -> list[GuardEvent]:
        rungs = self.authority.rungs
        if rungs is not None and at >= rungs.floor_ns:
            return self._finish("deadline: the kernel's timer ended the guard", at, DownBy.KERNEL)
        if self._again_at is not None:
            return self._kill(at)
        events = self._end_processes(at)
        if rungs is not None and self._ending is None and at >= rungs.term_at_ns:
            self._begin("deadline: term_at reached", at, rungs.kill_at_ns)
        if self._ending is not None:
            kill_at = min(self._ending[2], rungs.kill_at_ns if rungs is not None else self._ending[2])
            if not self._processes or at >= kill_at:
                events += self._kill(at)
        return events

    def _kill(self, at: int) -> list[GuardEvent]:
        """As agents.fencing.warden does it: again and again, until everything is proven."""
        ladder, cause = self.ladder, "" if self._ending is None else self._ending[0]
        stuck = any(process.behaviour.survives_kill for process in self._processes)
        if ladder is not None:
            ladder.kill()
            if self._processes:
                ladder.began(KILL)
        if not stuck and (ladder is None or ladder.settled()):
            return self._finish(cause, at, DownBy.GUARD)
        self._again_at = at + KILL_RETRY_NS
        events = self._drop_killed()
        if ladder is not None:
            ladder.reset_if_due(at + self._raw_ahead_ns)
        return events

    def _drop_killed(self) -> list[GuardEvent]:
        killed = [one for one in self._processes if not one.behaviour.survives_kill]
        self._processes = [one for one in self._processes if one.behaviour.survives_kill]
        return [StepResult(one.step.step_id, StepEnd.GUARD_DOWN) for one in killed if one.step is not None]

    def _end_processes(self, at: int) -> list[GuardEvent]:
        events: list[GuardEvent] = []
        for process in [one for one in self._processes if one.ends_ns is not None and one.ends_ns <= at]:
            step, process.step, process.ends_ns = process.step, None, None
            if step is not None:
                events.append(self._result(step, process))
            if step is None or process.why is not StepEnd.EXITED or not process.behaviour.leaves_running:
                self._processes.remove(process)
        return events

    def _result(self, step: Step, process: _Process) -> StepResult:
        code = process.behaviour.exit_code if process.why is StepEnd.EXITED else None
        self.ended[step.step_id] = StepResult(step.step_id, process.why, code)
        return self.ended[step.step_id]

    def _begin(self, cause: str, at: int, kill_at: int) -> None:
        self.authority.end()
        if self._ending is not None:
            self._ending = (self._ending[0], self._ending[1], min(self._ending[2], kill_at))
            return
        self._ending = (cause, at, kill_at)
        if self.ladder is not None and kill_at > at:
            self.ladder.began(TERM)
        for process in self._processes:
            if not process.behaviour.ignores_term:
                process.why = StepEnd.SIGNALLED
                process.ends_ns = at + process.behaviour.term_takes_ns

    def _finish(self, cause: str, at: int, by: DownBy) -> list[GuardEvent]:
        self.authority.end()
        began = at if self._ending is None else self._ending[1]
        climbed = [] if self.ladder is None else self.ladder.climbed
        rungs = tuple(Rung(name, (when - began) // NS_PER_MS, found) for name, when, found in climbed)
        self.down = Down(cause, (at - began) // NS_PER_MS, by, rungs)
        return [*self._drop_killed(), self.down]

    def _check(self, rule: Callable[[], None]) -> None:
        try:
            rule()
        except Refused as refused:
            raise GuardRefused(refused.code, refused.text) from None


def _not_watched(_fd: int, _handler: Callable[[int], None]) -> None:
    """A simulated keeper is heard at once."""


def _not_forgotten(_fd: int) -> None: ...
