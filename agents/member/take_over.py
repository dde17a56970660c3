"""At a member's start: which guards of a former process still hold for its instance (docs/adr/0013).

The rules are an agent's (agents/core/takeover.py), without claim and journal: the lead has those. The instance goes on
with its guards, so that the lead knows the process that it handed authority to; when nothing goes on it is a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from agents.core.member_group import Held
from agents.core.settings import AgentSettings
from agents.core.takeover import KeptIncarnation, Machine, Takeover, adopted_authority, incarnation_problem
from agents.fencing.base import GuardError
from agents.fencing.guard_client import GuardHandle
from agents.incarnation_file import IncarnationFile
from agents.runtime.take_over import held_lease
from agents.settings import MemberProcessSettings
from agents.store import AgentStore
from proto.clock import Clock
from proto.edge.logs import get_logger
from proto.errors import DurabilityLost
from proto.timing import LocalDeadlines
from proto.units import GroupId

log = get_logger("agents.member")


@dataclass(slots=True)
class FoundGuards:
    takeover: Takeover | None = None
    """Of the former process; None: a new instance."""
    held: dict[GroupId, Held] = field(default_factory=dict)
    guards: dict[GroupId, tuple[GuardHandle, LocalDeadlines]] = field(default_factory=dict)


def kept_as(settings: MemberProcessSettings, store: AgentStore) -> AgentSettings:
    """What the file of a former process must be of."""
    return AgentSettings(settings.site, settings.cluster, settings.version, store.store_id, (), ())


async def take_over_guards(
    settings: MemberProcessSettings, store: AgentStore, machine: Machine, clock: Clock
) -> FoundGuards:
    found = FoundGuards()
    file = IncarnationFile(settings.runtime_dir)
    kept = file.load()
    problem = kept if isinstance(kept, str) else incarnation_problem(kept, kept_as(settings, store), machine)
    if isinstance(kept, str) or problem:
        log.info("cold_start", why=problem)
        return found
    for one in settings.groups:
        if one.held.group in kept.groups:
            await _try_group(settings, store, kept, one.held.group, clock, found)
    if not found.guards:
        return found
    ours = replace(kept, life=kept.life + 1)
    try:
        file.store(ours)  # before the first connection of this process: its number is above all of the former one's
    except DurabilityLost as error:
        log.warning("cold_start", why=str(error))
        for guard, _ in found.guards.values():
            guard.close()
        return FoundGuards()
    found.takeover = Takeover(ours, {})
    return found


async def _try_group(
    settings: MemberProcessSettings,
    store: AgentStore,
    kept: KeptIncarnation,
    group: GroupId,
    clock: Clock,
    found: FoundGuards,
) -> None:
    """A guard that cannot be taken over is left as it is; the verification that the group begins with ends it."""
    try:
        guard = await GuardHandle.attach(group, settings.runtime_dir)
    except GuardError as error:
        log.info("group_starts_cold", group=group, why=str(error))
        return
    try:
        held = held_lease(await guard.status())
    except GuardError as error:
        held, why = None, str(error)
    else:
        why = "its guard holds nothing, or is at its end"
    one = kept.groups[group]
    authority = why
    if held is not None:
        judged = adopted_authority(one, kept.incarnation, held, store.bounds()[group], clock.read())
        if not isinstance(judged, str):
            log.info("taken_over", group=group, epoch=one.epoch)
            found.held[group] = Held(one.epoch, one.constants, judged)
            found.guards[group] = guard, held.deadlines
            return
        authority = judged
    log.warning("group_starts_cold", group=group, why=authority)
    guard.close()
