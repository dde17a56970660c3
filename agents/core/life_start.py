"""What one life of a group begins with, beside its settings (agents/core/group_life.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agents.core.license import KeptKeys
from agents.core.permit_record import PermitRecord
from agents.core.promise import Promise
from proto.clock import ClockReading
from proto.messages import GroupSites
from proto.units import Incarnation, LicenseName


@dataclass(frozen=True, slots=True)
class GroupLifeStart:
    started: ClockReading
    incarnation: Callable[[], Incarnation]
    """Of the agent, now."""
    promise: Promise | None
    sites: GroupSites | None
    number_first: int
    permit: PermitRecord = PermitRecord()  # noqa: RUF009 - frozen
    sealed: Mapping[LicenseName, KeptKeys] = field(default_factory=dict)
    """What is kept of the group's licenses."""
