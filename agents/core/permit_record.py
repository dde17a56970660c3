"""(11) What an agent keeps of one group's break-glass permits, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from proto.lease import LeaseConstants
from proto.permit import PermitMark
from proto.units import WallMs


@dataclass(frozen=True, slots=True)
class PermitRecord:
    """What is on disk of one group."""

    used: tuple[bytes, ...] = ()
    current: PermitMark | None = None
    """The one that this site is active under, or was when its process ended."""
    wall_seen_ms: WallMs = WallMs(0)  # noqa: RUF009 - a NewType of an int
    damaged: str = ""
    """Why nobody can tell what was used: no permit is taken then."""
    constants: LeaseConstants | None = None
    """Of the lease under `current`; None: not known, as in a record from before they were kept."""
