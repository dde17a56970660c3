"""What a simulated site has around it: its disk, and whatever of its world it needs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agents.core.ended import BEGUN_KEPT_MAX
from agents.core.members import Handed
from agents.core.permit_record import PermitRecord
from agents.core.promise import Promise
from proto.messages import GroupSites
from proto.units import NS_PER_MS, Epoch, GroupId, Incarnation, LicenseName, WitnessId
from witness.sim.clock import Events
from witness.sim.judges import Judges
from witness.sim.licenses.place import KeyPlace
from witness.sim.network import Network
from witness.sim.resource import Resource
from witness.sim.setup import Fitting
from witness.sim.witness import WitnessHost

DISK_NS_MAX = 5 * NS_PER_MS


@dataclass(slots=True)
class Disk:
    """What survives a power failure."""

    bounds: dict[GroupId, tuple[Epoch, Epoch]] = field(default_factory=dict)
    promises: dict[GroupId, Promise] = field(default_factory=dict)
    sites: dict[GroupId, GroupSites] = field(default_factory=dict)
    permits: dict[GroupId, PermitRecord] = field(default_factory=dict)
    handed: dict[GroupId, Handed] = field(default_factory=dict)
    """Of a lead: to whom authority was handed out."""
    keys: dict[tuple[GroupId, LicenseName], KeyPlace] = field(default_factory=dict)
    incarnations: list[Incarnation] = field(default_factory=list)
    """Those of the agent that began, the newest last."""
    write_ns_max: int = DISK_NS_MAX

    def begins(self, incarnation: Incarnation) -> None:
        if incarnation not in self.incarnations:
            self.incarnations.append(incarnation)
            del self.incarnations[:-BEGUN_KEPT_MAX]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a site needs of its world."""

    events: Events
    network: Network
    judges: Judges
    resource: Resource
    witnesses: Mapping[WitnessId, WitnessHost]
    hit: Callable[[str], None]
    note: Callable[[str, str], None]
    """A line for the trace: who, what."""
    parts: Callable[[str], random.Random]
    """A stream of its own for each part of the world."""
    fitting: Fitting
