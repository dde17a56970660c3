"""Runs a plan: one step after the other, judged as it ends. A world in which something broke is not used again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import TypeVar

from chaosrig.chaos_fault import Blow, Kind
from chaosrig.chaos_ground import Ground, Missing, now_ns, pass_time
from chaosrig.chaos_judge import Outcome, measure, too_busy
from chaosrig.chaos_plan import Step, simulator_line

from witness.sim.scenario.command import Command

Planned = TypeVar("Planned")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RECOVER_S = 60.0
QUIET_S = 0.5
"""All must still be well then: what overlaps or falls late is still seen."""


class Interrupted(BaseException):
    """A signal asks for the end; cleaning up is not to be interrupted."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def heed_signals() -> None:
    """From now on the first of them raises Interrupted; cleaning up is bounded, and no further one is heard."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for one in SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        raise Interrupted(number)

    for one in SIGNALS:
        signal.signal(one, interrupt)


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """A world is made whole and taken away whole; a signal that comes meanwhile is heard afterwards."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def world_after_world(plan: list[Planned], in_one_world: Callable[[list[Planned]], list[Planned]]) -> tuple[int, float]:
    """Until nothing of the plan is left: each world goes as far as it does. The signal that ended it, or 0; seconds."""
    began, left, signalled = time.monotonic(), list(plan), 0
    try:
        while left:
            left = in_one_world(left)
    except Interrupted as interrupted:
        signalled = interrupted.number
    return signalled, round(time.monotonic() - began, 1)


@dataclass(slots=True)
class Campaign:
    """Owned by the run. `perform` leaves no process, whatever happened."""

    ttl_ms: int
    make: Callable[[], Ground]
    kinds: dict[str, Kind]
    say: Callable[[str], None]
    keep: bool = False
    peer: bool = False
    """Another product beside ours: what it breaks is measured, and no failure of ours."""
    outcomes: list[Outcome] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    not_tried: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    looks: dict[str, float] = field(default_factory=dict)
    """Of the referees, summed."""
    signalled: int = 0
    wall_s: float = 0.0

    def perform(self, plan: list[Step]) -> None:
        self.signalled, self.wall_s = world_after_world(plan, self._in_one_world)

    def _in_one_world(self, steps: list[Step]) -> list[Step]:
        """As far as it goes; what is left."""
        with signals_wait():
            world = self.make()
        good = False
        left = list(steps)
        try:
            world.begin()
            self.say(f"a world is up: {world.root}")
            while left:
                outcome = self._step(world, left[0])
                left.pop(0)
                if outcome is not None and outcome.unrecovered:
                    return left
            good = not self.failed
            return left
        except (Missing, OSError, subprocess.SubprocessError) as fault:
            where = left.pop(0) if left else None
            self._fail(where, f"{type(fault).__name__}: {fault}")
            return left
        except Interrupted:
            good = True
            raise
        finally:
            with signals_wait():
                self._close(world, good=good)

    def _close(self, world: Ground, *, good: bool) -> None:
        for name, value in _looks(world).items():
            self.looks[name] = (
                max(self.looks.get(name, 0), value) if name == "longest_ms" else self.looks.get(name, 0) + value
            )
        if self.keep or not good:
            world.keep_evidence()
        world.end()
        if self.keep or not good:
            self.kept.append(str(world.root))
            self.say(f"kept: {world.root}")
        else:
            shutil.rmtree(world.root, ignore_errors=True)

    # -- one step -------------------------------------------------------------------------------------------

    def _step(self, world: Ground, step: Step) -> Outcome | None:
        for fault in step.faults:
            why = self.kinds[fault.kind].needs(world)
            if why:
                self.not_tried[fault.kind] = why
                self.say(f"NOT TRIED {fault.kind}: {why}")
                return None
        outcome = Outcome(step, load=os.getloadavg()[0])
        outcome.excuse = too_busy(step, outcome.load, os.cpu_count() or 1)
        before = world.settled()
        outcome.site_before, outcome.epoch_before, outcome.life_before = before.site, before.epoch, before.life
        looks_before = world.referee().looks["dual"]
        pass_time(world, step.wait_ms / 1_000)
        if step.age_ms is not None:
            outcome.lease = world.age_lease(step.age_ms)
        struck_ns = now_ns()
        until_ns = self._strike(world, step, outcome)
        self._recover(world, outcome)
        outcome.epoch_after = max(world.epoch(), outcome.epoch_before)
        outcome.site_after = world.active_site() or ""
        measure(outcome, world.referee(), struck_ns, until_ns, looks_before, self.ttl_ms)
        self.outcomes.append(outcome)
        self._judge(world, outcome)
        return outcome

    def _strike(self, world: Ground, step: Step, outcome: Outcome) -> int:
        """Makes the faults at their instants and ends each after its span; returns when the last one ended."""
        began = time.monotonic()
        due = [(began + fault.after_ms / 1_000, fault) for fault in step.faults]
        ends: list[tuple[float, Blow]] = []
        try:
            while due or ends:
                at = min([one for one, _ in due] + [one for one, _ in ends])
                pass_time(world, at - time.monotonic())
                if due and due[0][0] <= at:
                    _, fault = due.pop(0)
                    blow = self.kinds[fault.kind].strike(world, Command(fault.line))
                    outcome.hit.append(blow.note)
                    outcome.excuse = outcome.excuse or blow.excuse
                    ends.append((time.monotonic() + blow.span_s, blow))
                else:
                    ends.sort(key=lambda pair: pair[0])
                    blow = ends[0][1]
                    if broken := blow.check():
                        outcome.broken.append(broken)
                    blow.heal()
                    ends.pop(0)
        finally:
            for _, blow in ends:
                blow.heal()
        return now_ns()

    def _recover(self, world: Ground, outcome: Outcome) -> None:
        began = time.monotonic()
        try:
            while outcome.recovery_ms is None:
                world.settled(RECOVER_S - (time.monotonic() - began))
                well_ms = round((time.monotonic() - began) * 1_000)
                pass_time(world, QUIET_S)
                outcome.recovery_ms = well_ms if world.is_well() else None
        except Missing as missing:
            outcome.broken.append(str(missing))

    def _judge(self, world: Ground, outcome: Outcome) -> None:
        step = outcome.step
        figures = {"takeover": outcome.takeover_ms, "dead": outcome.dead_ms, "recovery": outcome.recovery_ms}
        said = ", ".join(f"{name} {value:.0f} ms" for name, value in figures.items() if value is not None)
        moved = "moved" if outcome.moved else "stayed"
        dual = f"dual {outcome.dual_alive_ms:.1f}/{outcome.dual_signs_ms:.1f} ms"
        where = f"{step.number} {step.name} [{step.told()}] {'; '.join(outcome.hit)}"
        self.say(f"{where}: {moved}, {said}; {dual}; load {outcome.load:.1f}")
        if self.peer:
            return
        if outcome.dual_alive_ms > 0:
            executed = f"{outcome.dual_signs_ms:.1f} ms executed"
            self._fail(step, f"two places were active at once for {outcome.dual_alive_ms:.1f} ms ({executed})")
        if outcome.false_takeover:
            self._fail(step, f"a false takeover: epoch {outcome.epoch_before} became {outcome.epoch_after}")
        for broken in outcome.broken:
            self._fail(step, broken)

    def _fail(self, step: Step | None, text: str) -> None:
        where = "the beginning" if step is None else f"step {step.number} ({step.name})"
        self.failed.append(f"{where}: {text}")
        self.say(f"FAILED {self.failed[-1]}")
        if step is not None:
            self.say(f"in the simulator: {simulator_line(step, self.ttl_ms)}")

    # -- the result -----------------------------------------------------------------------------------------

    @property
    def ok(self) -> bool:
        return not self.failed and not self.signalled


def _looks(world: Ground) -> dict[str, float]:
    try:
        return dict(world.referee().looks)
    except (OSError, ValueError):
        return {}
