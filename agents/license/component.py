"""A license as a component of its platform: while the site must be dormant it is not activated, or it is ended.

Rule: the probe's clear yes counts as up. No answer does not, unlike with other components: a probe that asks the
vendor must not keep a site from being proven down when the network is gone; what runs is proven down by the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.components.spec import ComponentKind, ComponentSpec
from agents.license.spec import SiteLicense
from agents.probes.command import CommandResult, run_command

ACTIVATED, NOT_ACTIVATED = 0, 1
PROBE_FAILED = "probe-failed"


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    activated: bool | None
    problem: str = ""
    words: str = ""


async def ask_probe(spec: SiteLicense, environment: dict[str, str]) -> ProbeAnswer:
    """Exit code 0: activated here; 1: not; anything else is no answer."""
    result = await run_command(spec.probe, spec.timeout_ms, environment)
    if result.exit_code in (ACTIVATED, NOT_ACTIVATED):
        return ProbeAnswer(result.exit_code == ACTIVATED)
    return ProbeAnswer(None, PROBE_FAILED, _said(result))


class LicenseComponent:
    """Implements agents.components.base.Component."""

    def __init__(self, spec: SiteLicense, environment: dict[str, str]) -> None:
        self.spec = ComponentSpec(f"license {spec.name}", ComponentKind.DATABASE, timeout_ms=spec.timeout_ms)
        self._license = spec
        self._environment = environment

    async def still_up(self) -> str:
        answer = await ask_probe(self._license, self._environment)
        return "it is activated here" if answer.activated else ""

    async def end(self) -> str:
        if not self._license.deactivate:
            return "it has no deactivate command: only the end of the platform deactivates it"
        result = await run_command(self._license.deactivate, self._license.timeout_ms, self._environment)
        return "" if result.exit_code == 0 else f"its deactivate command: {result.words}"


def _said(result: CommandResult) -> str:
    """Without its output, which may hold anything."""
    return f"the probe gives no answer: {result.words}; 0 means activated here, 1 means not"
