"""What a lead's plans have to do with its members: deadlines handed on, steps placed there, and those taken back.

As agents.actions.runner, steps and unwind do it over the real desk: the steps on members are the first ones of each
activation, none begins before every required member holds the lease, and each that was begun by an activation which did
not succeed is taken back, newest first, before its site says that it is down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from agents.actions.parts import MemberStep
from agents.core.effects import PlanKind, StartPlan
from agents.core.plan_progress import PlanEnd, PlanProgress, StepInput, StepMark, StepState
from agents.fencing.base import StepResult
from proto.timing import LocalDeadlines
from proto.units import Epoch, GroupId

if TYPE_CHECKING:
    from witness.sim.site import SiteHost

PLACED_MS, UNDO_MS = 2_000, 500
"""For a step on a member, and for what takes it back."""


class Placing:
    """One group's at one site; owned by its shell."""

    def __init__(self, host: SiteHost, group: GroupId) -> None:
        self._host = host
        self._group = group
        self._giving = False

    # -- the lease --------------------------------------------------------------------------------------------

    def begin(self, latest: tuple[Epoch, LocalDeadlines] | None) -> None:
        """From now on each new deadline is handed on, this one first."""
        self._giving = True
        self.extend(latest)

    def extend(self, latest: tuple[Epoch, LocalDeadlines] | None) -> None:
        if self._giving and latest is not None:
            epoch, at = latest
            self._host.house.give(self._group, epoch, at.deadline)

    def fence(self) -> None:
        self.gone()
        self._host.house.fence(self._group)

    def end(self, grace_ns: int, then: Callable[[], None]) -> None:
        """`then`: each is verified down, or out of authority."""
        self.gone()
        self._host.house.end(self._group, grace_ns, then)

    def gone(self) -> None:
        """Nothing is handed on any more; also: the process is."""
        self._giving = False

    def still_out(self) -> list[str]:
        out = self._host.house.still_out(self._group)
        if out:
            self._host.hit("proof-waits-for-members")
        return [out] if out else []

    def awaited(self) -> None:
        """The lead's own part is down."""
        if self._host.house.still_out(self._group):
            self._host.hit("members-awaited")

    def orderly(self) -> bool:
        return self._host.house.orderly(self._group)

    def held(self, plan: StartPlan, then: Callable[[str], None]) -> None:
        """`then`: '' when each required member holds the lease, or why not."""
        self._host.house.armed(self._group, plan.epoch, then)

    # -- steps ------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        return sum(len(member.steps) for member in self._host.house.plans)

    def _step(self, number: int, epoch: Epoch, step_id: str, cause: str, *, undo: bool) -> MemberStep:
        placed = [(member.name, step) for member in self._host.house.plans for step in member.steps]
        member, name = placed[number]
        timeout_ms = UNDO_MS if undo else PLACED_MS
        return MemberStep(member, self._group, epoch, step_id, name, undo, cause, "plan", timeout_ms)

    def run(self, plan: StartPlan, number: int, step_id: str, then: Callable[[StepResult], None]) -> None:
        """Asked for once more when its answer was lost with a former process of this agent."""
        self._host.house.run_step(self._step(number, plan.epoch, step_id, plan.cause, undo=False), then)

    def undo(self, journal: PlanProgress | None, then: Callable[[], None]) -> bool:
        """False: there is nothing to take back. Otherwise `then` follows."""
        if journal is None or journal.header.kind is not PlanKind.ACTIVATE or journal.end is PlanEnd.SUCCEEDED:
            return False
        wanted = journal.to_undo([f"start-{number}" for number in range(self.count)])
        if not wanted:
            return False
        number, header = int(wanted[0].rpartition("-")[2]), journal.header
        journal.note(StepMark(wanted[0], StepInput.UNDO, 0))
        self._host.hit("undo-on-member")

        def undone(result: StepResult) -> None:
            if journal.states[wanted[0]] is StepState.UNDOING:  # or a fence that overtook this plan had its answer
                journal.note(StepMark(wanted[0], StepInput.UNDO_DONE if result.ok else StepInput.UNDO_FAILED, 0))
            if not self.undo(journal, then):
                then()

        step_id = f"undo-{header.plan}-{number}"
        self._host.house.run_step(self._step(number, header.epoch, step_id, "unwind", undo=True), undone)
        return True
