"""The journal of one group's plans on a simulated disk, and the moments between its marks at which an agent may die."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.core.effects import StartPlan
from agents.core.plan_progress import PlanEnd, PlanHeader, PlanProgress, StepInput, StepMark
from proto.units import NS_PER_MS
from witness.sim.platform import Platform

if TYPE_CHECKING:
    from witness.sim.site import SiteHost


class Notes:
    """Owned by the group's shell."""

    def __init__(self, host: SiteHost, platform: Platform) -> None:
        self.progress: PlanProgress | None = None
        self._host = host
        self._platform = platform

    @property
    def incarnation(self) -> str:
        agent = self._host.agent
        return "" if agent is None else agent.incarnation.hex()

    def begin(self, plan: StartPlan, steps: tuple[str, ...]) -> None:
        now, boot = self._host.clock.now(), self._host.machine().boot_id
        header = PlanHeader(plan.plan, plan.kind, plan.epoch, plan.cause, self.incarnation, boot, now, steps)
        self.progress = PlanProgress(header)

    def note(self, step: int, what: StepInput) -> bool:
        """False: the agent died before it, or just after it (FAULTS A1)."""
        if self._crashes():
            return False
        if self.progress is not None:
            self.progress.note(StepMark(self.progress.header.steps[step], what, 0))
        return not self._crashes()

    def ended(self, *, ok: bool) -> None:
        if self.progress is not None and self.progress.end is PlanEnd.RUNNING:
            self.progress.note(PlanEnd.SUCCEEDED if ok else PlanEnd.FAILED)

    def _crashes(self) -> bool:
        if not self._platform.crashes_agent():
            return False
        self._host.crash_and_restart(self._host.rng.randint(5, 1_500) * NS_PER_MS)
        return True
