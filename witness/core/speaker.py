"""Does this heartbeat's speaker count? Only a site's newest incarnation does, and of that only its newest heartbeat.

Newest is who was heard first after the others, with one exception: an incarnation names those of its own agent that
ended before it began (Heartbeat.ended), because their last words may have lain behind a slow disk or a slow link. They
are superseded from then on, also when they were never heard, and one of them that was heard later gives the word back
(docs/adr/0025). Names cannot go round: each was drawn after those that it names.
"""

from __future__ import annotations

from collections.abc import Iterable

from proto import limits
from proto.decisions import Reason
from proto.events import EventKind
from proto.messages import Heartbeat
from proto.units import Incarnation
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
        record = scope.state.agents[beat.site] = AgentRecord(beat.incarnation, beat.seq)
        _supersede(record, beat.ended)
        scope.ledger.append(EventKind.SITE_JOINED, "its agent was heard for the first time", site=beat.site)
        return None
    if record.incarnation == beat.incarnation:
        if beat.seq <= record.seq:
            return Reason.STALE_HEARTBEAT
        record.seq = beat.seq
        _supersede(record, beat.ended)
        return None
    if beat.incarnation in record.superseded and record.incarnation not in beat.ended:
        if not record.clash_told:
            record.clash_told = True
            text = "an older incarnation speaks again: two agents run for this site"
            scope.ledger.append(EventKind.SECOND_AGENT, text, site=beat.site)
        return Reason.INCARNATION_SUPERSEDED
    _begins(scope, record, beat)
    return None


def _begins(scope: Scope, record: AgentRecord, beat: Heartbeat) -> None:
    if beat.incarnation in record.superseded:
        record.superseded.remove(beat.incarnation)
    _supersede(record, (*beat.ended, record.incarnation))
    record.incarnation, record.seq, record.clash_told = beat.incarnation, beat.seq, False
    permits.started_anew(record)
    scope.ledger.append(EventKind.SITE_RESTARTED, "a new incarnation of its agent speaks", site=beat.site)


def _supersede(record: AgentRecord, incarnations: Iterable[Incarnation]) -> None:
    record.superseded.extend(one for one in dict.fromkeys(incarnations) if one not in record.superseded)
    del record.superseded[: -limits.SUPERSEDED_KEPT_MAX]
