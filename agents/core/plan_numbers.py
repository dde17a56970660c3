"""(11) Which plan of a group runs: its number, and that there is at most one. A plan that was overtaken is nobody's."""

from __future__ import annotations

from collections.abc import Callable

from agents.core.effects import Effect, PlanKind, StartPlan
from agents.core.settings import GroupSettings
from agents.core.takeover import AdoptedGroup
from proto.health import SiteState
from proto.invariants import require
from proto.timing import LocalDeadlines
from proto.units import Epoch, GroupId


class PlanNumbers:
    """Owned by one group. Numbers go on over the processes of an incarnation: steps are told apart by them."""

    def __init__(self, group: GroupId, emit: Callable[[Effect], None]) -> None:
        self._group = group
        self._emit = emit
        self._running: tuple[int, PlanKind] | None = None
        self._last = 0

    def start(
        self,
        kind: PlanKind,
        epoch: Epoch,
        cause: str,
        deadlines: LocalDeadlines | None,
        timeout_ms: int,
        *,
        resumed: bool = False,
    ) -> None:
        require(self._running is None, f"{self._group}: {kind} while {self._running} runs")
        self._last += 1
        self._running = (self._last, kind)
        self._emit(StartPlan(self._group, self._last, kind, epoch, cause, deadlines, timeout_ms, resumed))

    def go_on(self, adopted: AdoptedGroup, settings: GroupSettings, deadlines: LocalDeadlines | None) -> None:
        """What a former process had under way goes on under its number, with what is left of its time."""
        self._last = adopted.plan
        if adopted.state is SiteState.ACTIVE:
            return
        activating = adopted.state is SiteState.ACTIVATING
        kind = PlanKind.ACTIVATE if activating else PlanKind.DEACTIVATE
        timeout_ms = settings.activation_timeout_ms if activating else settings.deactivation_timeout_ms
        resumed = adopted.resumes is kind
        if resumed:
            self._last -= 1
            timeout_ms = max(1, timeout_ms - adopted.elapsed_ms)
        self.start(kind, adopted.epoch, adopted.cause, deadlines, timeout_ms, resumed=resumed)

    def ended(self, plan: int) -> PlanKind | None:
        """The kind of the plan that ended, or None for one that was overtaken."""
        if self._running is None or self._running[0] != plan:
            return None
        kind = self._running[1]
        self._running = None
        return kind

    @property
    def running(self) -> bool:
        return self._running is not None

    def drop(self) -> None:
        self._running = None
