"""At a start: which guards of a former process still hold for its incarnation, and what is kept for the next one.

Called with the locks of both directories held, so there is no other agent. A guard that cannot be taken over is
left as it is here; the verification that every group begins with ends it (agents/actions/proof.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agents.actions.plan_journal import PlanJournal
from agents.core.effects import KeepAuthority
from agents.core.settings import AgentSettings, GroupSettings
from agents.core.takeover import (
    AdoptedGroup,
    HeldLease,
    KeptGroup,
    KeptIncarnation,
    Machine,
    Takeover,
    adopt_group,
    incarnation_problem,
)
from agents.fencing.base import GuardError, GuardStatus
from agents.fencing.guard_client import GuardHandle
from agents.incarnation_file import IncarnationFile
from agents.incarnations import Incarnations
from proto.clock import Clock, ClockReading
from proto.edge.logs import get_logger
from proto.errors import DurabilityLost
from proto.timing import LocalDeadlines
from proto.units import Epoch, GroupId, Incarnation, InstantNs

PHASE_ARMED = "armed"

log = get_logger("agents.take_over")


@dataclass(frozen=True, slots=True)
class Found:
    """What a new process starts with."""

    takeover: Takeover | None = None
    guards: Mapping[GroupId, GuardHandle] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    settings: AgentSettings
    runtime_dir: Path
    machine: Machine
    clock: Clock
    journals: Mapping[GroupId, PlanJournal]
    bounds: Mapping[GroupId, tuple[Epoch, Epoch]]
    incarnations: Incarnations


async def take_over(place: Place) -> Found:
    """Nothing found, or nothing that may go on: an empty Found, which means a cold start."""
    file = IncarnationFile(place.runtime_dir)
    kept = file.load()
    if isinstance(kept, str):
        log.info("cold_start", why=kept)
        return Found()
    problem = incarnation_problem(kept, place.settings, place.machine, place.incarnations.begun)
    if problem:
        log.warning("cold_start", why=problem)
        return Found()
    guards: dict[GroupId, GuardHandle] = {}
    groups: dict[GroupId, AdoptedGroup] = {}
    for group in place.settings.groups:
        if group.enforce and group.group in kept.groups:
            await _try_group(place, kept, group, guards, groups)
    if not groups:
        return Found()
    ours = dataclasses.replace(kept, life=kept.life + 1)
    try:
        file.store(ours)  # before the first heartbeat of this process: the next one counts from above it
    except DurabilityLost as error:
        log.warning("cold_start", why=str(error))
        for guard in guards.values():
            guard.close()
        return Found()
    return Found(Takeover(ours, groups), guards)


async def _try_group(
    place: Place,
    kept: KeptIncarnation,
    group: GroupSettings,
    guards: dict[GroupId, GuardHandle],
    groups: dict[GroupId, AdoptedGroup],
) -> None:
    name = group.group
    try:
        guard = await GuardHandle.attach(name, place.runtime_dir)
    except GuardError as error:
        log.info("group_starts_cold", group=name, why=str(error))
        return
    adopted = await _judged(place, kept, name, guard)
    if isinstance(adopted, str):
        log.warning("group_starts_cold", group=name, why=adopted)
        guard.close()
        return
    log.info("taken_over", group=name, epoch=adopted.epoch, state=adopted.state.value)
    guards[name], groups[name] = guard, adopted


async def _judged(place: Place, kept: KeptIncarnation, name: GroupId, guard: GuardHandle) -> AdoptedGroup | str:
    try:
        status = await guard.status()
    except GuardError as error:
        return str(error)
    held = held_lease(status)
    if held is None:
        return f"its guard is {status.phase}"
    return adopt_group(
        kept.groups[name],
        kept.incarnation,
        held,
        place.journals[name].progress,
        place.bounds[name],
        place.machine,
        place.clock.read(),
    )


def held_lease(status: GuardStatus) -> HeldLease | None:
    """None for a guard that holds nothing, or is at its end."""
    rungs = (status.term_at_ns, status.kill_at_ns, status.deadline_ns)
    if status.phase != PHASE_ARMED or status.epoch is None or status.since_ns is None or None in rungs:
        return None
    term, kill, deadline = (InstantNs(at or 0) for at in rungs)
    boot, raw, wall = status.since_ns
    deadlines = LocalDeadlines(term, kill, deadline)
    return HeldLease(Epoch(status.epoch), status.holder, deadlines, ClockReading(InstantNs(boot), raw, wall))


class Keeper:
    """Keeps what the next process needs; called from threads, one call at a time. Owned by the shell."""

    def __init__(self, settings: AgentSettings, runtime_dir: Path, machine: Machine, takeover: Takeover | None) -> None:
        self._file = IncarnationFile(runtime_dir)
        self._settings = settings
        self._machine = machine
        self._kept = None if takeover is None else takeover.kept

    @property
    def life(self) -> int:
        return 0 if self._kept is None else self._kept.life

    def keep(self, incarnation: Incarnation, effect: KeepAuthority) -> None:
        """Not kept is told and otherwise harmless."""
        kept = self._kept
        if kept is None or kept.incarnation != incarnation:
            settings = self._settings
            kept = KeptIncarnation(
                settings.cluster, settings.site, settings.store_id, self._machine, incarnation, 0, {}
            )
        group = KeptGroup(effect.epoch, effect.claim, effect.constants)
        self._kept = dataclasses.replace(kept, groups={**kept.groups, effect.group: group})
        try:
            self._file.store(self._kept)
        except DurabilityLost as error:
            log.warning("not_kept", group=effect.group, why=f"{error}; a new agent process will start cold")
