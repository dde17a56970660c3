"""Between an operator's word that no permit is in use at a site, and the next grant: the lock delay.

Rule: the operator may have cut that site's power a moment before, and nobody tells how what ran there ended: a license
server keeps its session for the lock delay (found by simulation, seed 151200). So the word begins a wait, for the
longest delay that what ran there can have gone by, and while it lasts nothing is granted and nothing claimed; what is
adopted or granted in place goes on. As with a lease, each witness counts it on its own timer in full, from when it
applied the word, and a majority ends it: one mad clock cannot. A further word begins it anew.
Rejected: the leader's clock alone, counting from when it leads (one clock too fast, and every restart of a witness made
a later handover wait again); the calendar, which may run ahead of time; a barred lease, which takes a ttl more.
"""

from __future__ import annotations

from proto.commands import Vote, Votes
from proto.decisions import Blocker, Reason
from proto.lease import LeaseConstants, longest
from proto.units import SiteId
from witness.core.changes import Scope
from witness.core.state import GroupState, SessionWait, majority


def begin(scope: Scope, group: GroupState) -> None:
    """At the word; `floor` is that word's. Without a lock delay anywhere there is nothing to wait for."""
    held = group.permits.session
    lease = None if group.lease is None else group.lease.constants
    wait = _longest(lease, group.hold_wait, group.permits.known, None if held is None else held.constants, group=group)
    if wait.lock_delay_ms:
        group.permits.session = SessionWait(group.permits.floor, wait)
        scope.changes.counted.add(group.config.group)


def _longest(*several: LeaseConstants | None, group: GroupState) -> LeaseConstants:
    return longest(group.config.constants, *(one for one in several if one is not None))


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
