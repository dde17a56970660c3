"""Does this heartbeat's speaker count? Only a site's newest incarnation does, and of that only its newest heartbeat.

Newest is who was heard first after the others; whoever was superseded is so for good. But the last words of an ended
incarnation may have lain behind a slow disk or a slow link, and then it is heard first long after the next one was. So
an incarnation names those of its own agent that ended before it began (Heartbeat.ended): from then on they count no
more, also when they were never heard; and when one of them was heard before that, the one that names it is told to
begin anew (docs/adr/0025).
Rejected: to let a superseded incarnation speak again: an older heartbeat of it could come after a newer one.
"""

from __future__ import annotations

from proto import limits
from proto.decisions import Reason
from proto.events import EventKind
from proto.messages import Heartbeat
from proto.units import Incarnation, SiteId
from witness.core import permits
from witness.core.changes import Scope
from witness.core.state import AgentRecord


def wrong(beat: Heartbeat) -> str:
    """'' or what no agent says."""
    if len(beat.ended) > limits.ENDED_NAMED_MAX:
        return f"ended: {len(beat.ended)} incarnations are named, at most {limits.ENDED_NAMED_MAX} may be"
    if beat.incarnation in beat.ended:
        return "ended: an incarnation that speaks names itself"
    return ""


def heard(scope: Scope, beat: Heartbeat) -> Reason | None:
    """None when it counts. Nothing about it is `wrong`."""
    record = scope.state.agents.get(beat.site)
    if record is None:
        scope.state.agents[beat.site] = AgentRecord(beat.incarnation, beat.seq, ended=list(beat.ended))
        scope.ledger.append(EventKind.SITE_JOINED, "its agent was heard for the first time", site=beat.site)
        return None
    if record.incarnation == beat.incarnation:
        if beat.seq <= record.seq:
            return Reason.STALE_HEARTBEAT
        record.seq = beat.seq
    elif beat.incarnation in record.superseded or beat.incarnation in record.ended:
        return _superseded(scope, record, beat)
    else:
        _begins(scope, record, beat)
    if beat.ended:
        record.ended = list(beat.ended)
    return None


def _superseded(scope: Scope, record: AgentRecord, beat: Heartbeat) -> Reason:
    if record.incarnation in beat.ended and not _holds(scope, beat.site, record.incarnation):
        return Reason.SUPERSEDED_BY_ENDED
    if not record.clash_told:
        record.clash_told = True
        text = "an older incarnation speaks again: two agents run for this site"
        if beat.incarnation in record.ended:
            text = "an incarnation that its agent calls ended was heard: its word came late, or a copy of its disk runs"
        scope.ledger.append(EventKind.SECOND_AGENT, text, site=beat.site)
    return Reason.INCARNATION_SUPERSEDED


def _holds(scope: Scope, site: SiteId, incarnation: Incarnation) -> bool:
    """It claimed a lease, so it was no late word: whoever names it has a copy of its disk, and does not replace it."""
    leases = (group.lease for group in scope.state.groups.values())
    return any(
        lease is not None and lease.claim is not None and (lease.site, lease.incarnation) == (site, incarnation)
        for lease in leases
    )


def _begins(scope: Scope, record: AgentRecord, beat: Heartbeat) -> None:
    record.superseded.append(record.incarnation)
    del record.superseded[: -limits.SUPERSEDED_KEPT_MAX]
    record.incarnation, record.seq, record.clash_told = beat.incarnation, beat.seq, False
    permits.started_anew(record)
    scope.ledger.append(EventKind.SITE_RESTARTED, "a new incarnation of its agent speaks", site=beat.site)
