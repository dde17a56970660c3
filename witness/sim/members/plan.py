"""Which sites of a schedule have members, and what their leads' plans place on them; drawn apart from all else."""

from __future__ import annotations

from dataclasses import dataclass

from proto.units import MemberName


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """One further host of a site."""

    name: MemberName
    required: bool = True
    steps: tuple[str, ...] = ()
    """That the lead's activation places on it, before its own."""
    programs: bool = True
    """It has programs under `site-agent exec`, which start by themselves as soon as it holds."""

    def host_of(self, lead: str) -> str:
        return f"{lead}.{self.name}"
