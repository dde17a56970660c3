"""One group on a member's machine: its guard's process, its programs, and what the checkers are told of them.

Rule: programs under `site-agent exec` start as soon as the guard is armed and need nobody for it; in the simulation
they run in the group's own guard. What a step of the lead's plan starts runs there, too. Only here is known what really
runs, and it is told when it begins and ends, not when somebody noticed. The runner is the product's own (process.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agents.fencing.base import Down, DownBy, GuardError, GuardRefused, Step, StepResult
from agents.fencing.guard_model import Behaviour, GuardEvent, GuardModel
from proto.timing import LocalDeadlines
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs
from witness.sim.guards import GuardPost, works_on
from witness.sim.plans import CLOCKS
from witness.sim.platform import Platform

if TYPE_CHECKING:
    from witness.sim.members.guard import SimGuard
    from witness.sim.members.host import MemberHost

PROGRAM = "exec-"
FIRST_NS = (1 * NS_PER_MS, 30 * NS_PER_MS)
"""From an armed guard to what `site-agent exec` starts."""


class MemberShell:
    """Owned by the member's host."""

    def __init__(self, host: MemberHost, group: GroupId, platform: Platform) -> None:
        self.host = host
        self._group = group
        self._platform = platform
        self._post = GuardPost(host, group, self._behave, self._heard, self._emptied)
        self.handle: SimGuard | None = None
        """Of the process that is there now."""
        self._programs: list[Behaviour] = []
        self._started = 0
        self._ran = False
        self._orderly = False
        self._epoch = Epoch(0)

    @property
    def group(self) -> GroupId:
        return self._group

    @property
    def platform(self) -> Platform:
        return self._platform

    @property
    def post(self) -> GuardPost:
        return self._post

    # -- what its runner asks of the guard ----------------------------------------------------------------------

    def prepare(self, over: Epoch) -> GuardModel:
        """A new guard, which refuses every epoch up to this one."""
        return self.post.prepared(over)

    def bound(self, model: GuardModel, holder: str) -> None:
        if self.post.guard is not model:
            if self.post.guard is not None:
                self.host.judges.found("guard", f"{self.host.name} activates {self.group} over a living guard")
            self.post.take(model)
            self._ran = False
            self._programs, self._started = [], 0
        model.bind(holder)

    def arm(self, model: GuardModel, epoch: Epoch, term_at: int, kill_at: int, deadline: int) -> tuple[str, ...]:
        """Returns what is required and missing. Raises GuardError."""
        first = model.authority.rungs is None
        self.post.latest = (epoch, LocalDeadlines(InstantNs(term_at), InstantNs(kill_at), InstantNs(deadline)))
        self.post.armed()
        if self.host.judges.moved(self.group, self.host.name, epoch):
            self._epoch = epoch
        if first:
            self._epoch = epoch
            if self.host.plan.programs:
                self._programs = self.platform.start_steps()
                self.host.guest.after(self.host.rng.randint(*FIRST_NS), lambda: self._next_program(model))
        return () if model.ladder is None else tuple(model.ladder.lacks())

    def _next_program(self, model: GuardModel) -> None:
        number = self._started
        if self.post.guard is not model or number >= len(self._programs) or model.frozen or self.host.suspended:
            return
        self._started += 1
        try:
            self.run(model, Step(f"{PROGRAM}{self._epoch}-{number}", ("program",), {}, Path("/dev/null")))
        except GuardError:
            return  # its end has begun

    def run(self, model: GuardModel, step: Step) -> None:
        """Raises GuardError."""
        if self.post.guard is not model:
            raise GuardRefused("down", "it is spent")
        model.run(step, self.host.clock.now())
        if not self._ran:
            self._ran = True
            self.host.judges.begun(self.group, self.host.name, self._epoch)
            self.host.judges.held.begun(self.group, self.host.name, unwatched=self.post.hardware.unwatched)
            works_on(self.host, self.post, self.act)
        self.post.wake()

    def _behave(self, step: Step) -> Behaviour:
        number = step.step_id.rpartition("-")[2]
        if step.step_id.startswith(PROGRAM) and int(number) < len(self._programs):
            return self._programs[int(number)]
        self.host.hit("member-step")
        return self.platform.placed_step()

    def asked_to_end(self, model: GuardModel) -> None:
        if self.post.guard is model:
            self.post.wake()
        else:
            self.post.let_spare_go(model)

    def end_leftovers(self) -> str:
        """What a former process left armed is killed; '' when nothing is left."""
        guard = self.post.guard
        if guard is not None:
            if guard.down is None and not guard.frozen:
                guard.fence(self.host.clock.now())
                self.post.wake()
            return "a former guard lives"
        return "something that no kill ends is left" if self.post.undead else ""

    # -- what the guard says ------------------------------------------------------------------------------------

    def _heard(self, event: GuardEvent) -> None:
        if isinstance(event, Down):
            self._went_down(event)
        elif event.step_id.startswith(PROGRAM):
            self._program_ended(event)
        if self.handle is not None:
            self.handle.heard(event)

    def _program_ended(self, result: StepResult) -> None:
        model = self.post.guard
        if model is not None and result.ok:
            self.host.guest.after(NS_PER_MS, lambda: self._next_program(model))

    def _emptied(self) -> None:
        self.host.judges.down(self.group, self.host.name, clean=False)

    def _went_down(self, down: Down) -> None:
        host = self.host
        host.note(host.name, f"{self.group}'s guard ended it, by {down.by.value}: {down.cause}")
        if self._ran and not self.post.undead:
            host.judges.down(self.group, host.name, clean=down.stopped)
        if down.by is DownBy.GUARD:
            host.judges.held.proven(self.group, host.name, active=False)
        host.hit(f"member-down-by-{'clocks' if down.cause.startswith(CLOCKS) else down.by.value}")
        self._ran = False

    # -- what runs ----------------------------------------------------------------------------------------------

    def act(self) -> None:
        guard = self.post.guard
        if guard is not None and guard.alive and not guard.frozen and not self.host.suspended:
            self.host.resource.effect(self.group, self.host.name, self._epoch)

    def runs(self) -> bool:
        return self.post.guard is not None and self._ran and not self.post.guard.emptied

    def may_run(self, epoch: Epoch) -> bool:
        """Under an epoch up to this one, something runs, or could be started at any moment."""
        guard = self.post.guard
        if guard is None or guard.down is not None:
            return False
        rungs = guard.authority.rungs
        if rungs is None or rungs.epoch > epoch:
            return False
        left = self.host.clock.now() < rungs.floor_ns
        if self.host.suspended and not left:
            return False  # the kernel ends it before anything else runs
        return guard.alive or (left and not guard.authority.ended)

    # -- life ---------------------------------------------------------------------------------------------------

    def agent_gone(self) -> None:
        self.handle = None
        self.post.agent_gone()

    def power_off(self) -> None:
        self.agent_gone()
        ran = self._ran
        if self.post.power_off() and ran:
            self.host.judges.down(self.group, self.host.name, clean=False)
        self._ran = False
