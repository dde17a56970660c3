"""Between an operator's word that no permit is in use at a site, and the next grant: the lock delay.

Rule: the operator may have cut that site's power a moment before, and nobody tells how what ran there ended: a license
server keeps its session for the lock delay (found by simulation, seed 151200). So the word begins a wait, for the
longest delay that the group ever had, and while it lasts nothing is granted, handed over or claimed. What is adopted or
granted in place goes on, and has the longest delay from then on: its session was opened before. As with a lease, each
witness counts the wait on its own timer in full, from when it applied the word, and a majority ends it: one mad clock
cannot. A further word begins it anew.
Rejected: the leader's clock alone, counting from when it leads (one clock too fast, and every restart of a witness made
a later handover wait again); the calendar, which may run ahead of time; a barred lease, which takes a ttl more.
"""

from __future__ import annotations

from dataclasses import replace

from proto.commands import Vote, Votes
from proto.decisions import Blocker, Reason
from proto.groups import GroupConfig
from proto.lease import LeaseConstants, longest
from proto.units import SiteId
from witness.core.calendar import SINCE_LEVEL
from witness.core.changes import Scope
from witness.core.state import ClusterState, GroupState, SessionWait, majority


def noted(state: ClusterState, group: GroupState, before: GroupConfig | None) -> None:
    """The group has another configuration: the longest lock delay stays known, for good.

    A site that says it knows the new one goes by the lease in force all the same, and takes a permit by that; one that
    was removed may come back. A delay that was once too long by mistake costs a longer wait behind a rare word.
    """
    if state.feature_level < SINCE_LEVEL:
        return
    several = [group.config.constants, *([] if before is None else [before.constants])]
    several += [one for one in (_of_lease(group), group.hold_wait) if one is not None]
    permits = group.permits
    permits.lock_delay_ms = max(permits.lock_delay_ms, *(one.lock_delay_ms for one in several))


def created(state: ClusterState, group: GroupState) -> None:
    """A former life of it may have had a longer one."""
    group.permits.lock_delay_ms = state.lock_delays.pop(group.config.group, 0)
    noted(state, group, None)


def deleted(state: ClusterState, group: GroupState) -> None:
    if group.permits.lock_delay_ms:
        state.lock_delays[group.config.group] = group.permits.lock_delay_ms


def _of_lease(group: GroupState) -> LeaseConstants | None:
    return None if group.lease is None else group.lease.constants


def in_place(group: GroupState) -> LeaseConstants:
    """Of the lease of a site that goes on without a stop: its session was opened under what was known before."""
    noted_ms = max(group.permits.lock_delay_ms, 0 if group.hold_wait is None else group.hold_wait.lock_delay_ms)
    constants = group.config.constants
    return replace(constants, lock_delay_ms=max(constants.lock_delay_ms, noted_ms))


def begin(scope: Scope, group: GroupState) -> str:
    """At the word, for people; `floor` is that word's. Without a lock delay anywhere there is nothing to wait for."""
    noted(scope.state, group, None)
    constants = longest(group.config.constants, *([] if (lease := _of_lease(group)) is None else [lease]))
    constants = replace(constants, lock_delay_ms=group.permits.lock_delay_ms)
    if not constants.lock_delay_ms:
        return ""
    group.permits.session = SessionWait(group.permits.floor, constants)
    scope.changes.counted.add(group.config.group)
    return f"; nothing is granted for the lock delay of {constants.lock_delay_ms / 1_000:g} s"


def cast(scope: Scope, command: Votes, vote: Vote) -> bool:
    """One witness has counted it out; False for a vote that is stale."""
    group = scope.state.groups.get(vote.group)
    session = None if group is None else group.permits.session
    if group is None or session is None or (vote.epoch, vote.number) != (session.floor, 0):
        return False
    session.votes.add(command.witness)
    if len(session.votes) >= majority(len(scope.state.witnesses)):
        group.permits.session = None
        scope.changes.counted.add(vote.group)
        scope.changes.dirty.add(vote.group)
    return True


def blockers(group: GroupState, site: SiteId) -> list[Blocker]:
    session = group.permits.session
    if session is None:
        return []
    return [Blocker(site, Reason.SESSION_MAY_LIVE, f"{session.constants.lock_delay_ms / 1_000:g} s from the word on")]
