"""(2) Folds single looks at the platform into what the site says about itself, with hysteresis.

Rule: a probe changes its verdict only after `rise` passes or `fall` failures in a row, and counts as failing
until its first verdict: a site that has not looked yet is not ready. A service that was just started is an exception:
while the site was dormant its probes failed, as they should, so it is unfit only once they fail in a row again.
A role without a probe passes; without a data probe the data checks are NONE and without a lag probe nothing is
measured. The words of a blocker change only when what was seen changes, because a report is compared as bytes on its
way to the witnesses.
Rejected: averages and scores (nobody can say afterwards why a site was not ready).
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.core.settings import ProbeRole, ProbeSettings
from proto.health import DataChecks
from proto.invariants import require
from proto.limits import BLOCKERS_MAX
from proto.messages import LAG_UNKNOWN_MS

DETAIL_CHARS_MAX = 160
"""Blockers travel in every report; a longer detail is in the log."""
NOT_PROBED = "not probed yet"


@dataclass(frozen=True, slots=True)
class HealthSummary:
    ready: bool
    healthy: bool
    data_checks: DataChecks
    lag_ms: int
    """The largest of the lag probes; LAG_UNKNOWN_MS when there is none or one of them fails."""
    blockers: tuple[str, ...] = ()
    """What fails, in words; the service probes last, because they mean nothing while the site is dormant."""
    service_blockers: int = 0
    """How many of the last blockers are about the service."""

    def blockers_while(self, *, active: bool) -> tuple[str, ...]:
        return self.blockers if active else self.blockers[: len(self.blockers) - self.service_blockers]


class _ProbeFold:
    """One probe's verdict; owns the count of equal results in a row."""

    __slots__ = ("detail", "passing", "row", "settings", "value_ms")

    def __init__(self, settings: ProbeSettings, *, passing: bool) -> None:
        self.settings = settings
        self.passing = passing
        self.row = 0
        """Results in a row that speak against the present verdict."""
        self.detail = NOT_PROBED
        self.value_ms = LAG_UNKNOWN_MS

    def observe(self, *, passed: bool, detail: str, value_ms: int | None) -> None:
        if passed and value_ms is not None:
            self.value_ms = max(0, value_ms)
        if not passed:
            self.detail = detail[:DETAIL_CHARS_MAX]
        if passed == self.passing:
            self.row = 0
            return
        self.row += 1
        if self.row >= (self.settings.rise if passed else self.settings.fall):
            self.passing = passed
            self.row = 0
        elif passed and self.detail == NOT_PROBED:
            self.detail = f"waiting for {self.settings.rise} passes in a row"

    @property
    def words(self) -> str:
        return f"{self.settings.role.value} probe {self.settings.name}: {self.detail}"


class HealthFold:
    """All probes of one group."""

    def __init__(self, probes: tuple[ProbeSettings, ...], *, passing: bool = False) -> None:
        """`passing`: a former process looked until now, so that only failures in a row change the verdict."""
        self._probes = {settings.name: _ProbeFold(settings, passing=passing) for settings in probes}
        require(len(self._probes) == len(probes), "two probes of one group share a name")

    def service_began(self) -> None:
        """It has just been started, so what was seen before says nothing: failures in a row decide from here on."""
        for fold in self._with(ProbeRole.SERVICE):
            fold.passing, fold.row = True, 0

    def observe(self, name: str, passed: bool, detail: str, value_ms: int | None = None) -> None:
        """`detail` says why it failed, without figures that change at every look."""
        fold = self._probes.get(name)
        require(fold is not None, f"a result of the unknown probe {name!r}")
        if fold is not None:
            fold.observe(passed=passed, detail=detail, value_ms=value_ms)

    def summary(self) -> HealthSummary:
        failing = [fold for fold in self._probes.values() if not fold.passing]
        service = [fold.words for fold in failing if fold.settings.role is ProbeRole.SERVICE]
        others = [fold.words for fold in failing if fold.settings.role is not ProbeRole.SERVICE]
        shown = (others + service)[:BLOCKERS_MAX]
        return HealthSummary(
            ready=self._passes(ProbeRole.READY),
            healthy=not service,
            data_checks=self._data_checks(),
            lag_ms=self._lag_ms(),
            blockers=tuple(shown),
            service_blockers=max(0, len(shown) - len(others)),
        )

    def probes(self) -> dict[str, tuple[bool, str]]:
        """For the status: each probe's verdict and what stands against it."""
        return {name: (fold.passing, "" if fold.passing else fold.detail) for name, fold in self._probes.items()}

    def _with(self, role: ProbeRole) -> list[_ProbeFold]:
        return [fold for fold in self._probes.values() if fold.settings.role is role]

    def _passes(self, role: ProbeRole) -> bool:
        return all(fold.passing for fold in self._with(role))

    def _data_checks(self) -> DataChecks:
        if not self._with(ProbeRole.DATA):
            return DataChecks.NONE
        return DataChecks.PASSED if self._passes(ProbeRole.DATA) else DataChecks.FAILED

    def _lag_ms(self) -> int:
        folds = self._with(ProbeRole.LAG)
        if not folds or not self._passes(ProbeRole.LAG):
            return LAG_UNKNOWN_MS
        return max(fold.value_ms for fold in folds)
