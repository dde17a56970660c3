"""What checks may look at: the host's files below a root, and the answers of what was tried and asked beforehand.

Rule: a check reads and judges; it tries nothing out, starts nothing and changes nothing, so each can be tested on a
directory. What cannot be read is None, never an error: the doctor also runs without rights, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from agents.settings import GroupSpec, MemberProcessSettings, SiteSettings
from agents.units.starters import Starters
from agents.units.tree import UnitTree

TEXT_BYTES_MAX = 4 * 1024 * 1024


MAY_RUN = ("active", "activating", "deactivating", "fencing", "holding", "starting", "stopping")
"""States of an agent's group, and of a member's."""


def site_of(member: MemberProcessSettings) -> SiteSettings:
    """What checks of a host look at; whom it speaks with is asked elsewhere (agents/doctor/check_live.py)."""
    return SiteSettings(
        cluster=member.cluster,
        site=member.site,
        tls=member.tls,
        state_dir=member.state_dir,
        runtime_dir=member.runtime_dir,
        witnesses=(),
        http=member.http,
        groups=tuple(one.held for one in member.groups),
        log=member.log,
        version=member.version,
    )


@dataclass(frozen=True)
class Host:
    """One look at one host. `trial`: of agents/doctor/trial.py; `status`: of the running agent, None without one."""

    settings: SiteSettings
    root: Path = Path("/")
    trial: Mapping[str, Any] = field(default_factory=dict)
    status: Mapping[str, Any] | None = None
    member: MemberProcessSettings | None = None
    """The host is a member's: `settings` is then what a site of that host alone would have."""
    now_s: float = 0.0
    """Seconds since 1970 UTC."""

    @cached_property
    def units(self) -> UnitTree:
        return UnitTree(self.root)

    @cached_property
    def starters(self) -> Starters:
        return Starters(self.units)

    def text(self, place: str) -> str | None:
        try:
            with (self.root / place).open("rb") as file:
                return file.read(TEXT_BYTES_MAX).decode("utf-8", "replace")
        except OSError:
            return None

    def entries(self, place: str) -> list[Path] | None:
        try:
            return sorted((self.root / place).iterdir())
        except OSError:
            return None

    def enforced(self) -> Iterator[GroupSpec]:
        """Groups whose platform this agent starts and stops; the others are only watched."""
        return (group for group in self.settings.groups if group.enforce)

    def state_of(self, group: str) -> str:
        """As the running agent says; '' without one."""
        groups = () if self.status is None else self.status.get("groups", ())
        return next((str(one["state"]) for one in groups if one["group"] == group), "")

    def dormant(self, group: str) -> bool:
        """Nothing of the group may run here now. Without an agent nothing may run either: nobody holds a lease."""
        return self.state_of(group) not in MAY_RUN
