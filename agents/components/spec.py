"""What a group's platform consists of, as plain values: each component's kind, its role, and what proves it down.

Exclusive: it runs only while the site is active. Dual-role: it also runs as a replica; then "down" means dead, or
out of the active role with a next start that is in the standby role.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

ENGINE_SOCKET = Path("/run/docker.sock")


class ComponentKind(Enum):
    PROCESS = "process"
    """Started by an activation step, or by `site-agent exec`."""
    UNIT = "unit"
    """A service of systemd."""
    CONTAINER = "container"
    """Of an engine that speaks Docker's API (Docker, Podman)."""
    DATABASE = "database"
    """Known by its commands alone."""


class ComponentRole(Enum):
    EXCLUSIVE = "exclusive"
    DUAL_ROLE = "dual-role"


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """Checked by agents/config_components.py: what a kind and a role need is there, everything else is empty."""

    name: str
    kind: ComponentKind
    role: ComponentRole = ComponentRole.EXCLUSIVE
    under_exec: bool = False
    """Its command is wrapped by `site-agent exec`: a drop-in of the unit, the entrypoint of the container."""
    unit: str = ""
    container: str = ""
    engine: Path = ENGINE_SOCKET
    down: tuple[str, ...] = ()
    """Exits with 0 when it is down (an exclusive database)."""
    out_of_role: tuple[str, ...] = ()
    """Exits with 0 when it is not in the active role: dead, read-only, or following."""
    standby_start: tuple[str, ...] = ()
    """Exits with 0 when its next start, whoever makes it, is in the standby role."""
    rejoined: tuple[str, ...] = ()
    """Exits with 0 when a former primary follows the new one again."""
    end: tuple[str, ...] = ()
    """Takes a database down, or out of its role, at once."""
    timeout_ms: int = 5_000

    @property
    def dual_role(self) -> bool:
        return self.role is ComponentRole.DUAL_ROLE
