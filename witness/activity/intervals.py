"""From the event ledger to intervals of activity: when which site may have had a group's licenses active.

Rule: an interval begins with a grant, which is before any authority, and ends with a release (it is sent after verified
down), with an expiry (voted after every authority had run out) or with a site's word that it is down. So each interval
is an outer bound of what was active. Two intervals of one group never overlap *in the order of the ledger*: that is
judged, because the order is fixed by the log and the hash chain, and no clock has to be believed. Wall times stand
beside it for people, with an uncertainty; a grant follows an end within milliseconds, and no wall clock proves that.

What needs no ledger's word: holds and permits, by which a site is active without the witnesses, are told afterwards.
Such an interval goes on, or begins, when it was told of, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from proto.commands import Cause
from proto.decisions import REASON_TEXT, Reason
from proto.events import Event, EventKind
from proto.health import DORMANT_STATES
from proto.units import Epoch, GroupId, SiteId, WallMs


class By(Enum):
    LEASE = "lease"
    HOLDS = "holds"
    """A lease that ran out while its holder went on by holds of the other sites."""
    PERMIT = "permit"
    """A break-glass permit; its beginning is when it was told of, and was earlier."""


class End(Enum):
    OPEN = "open"
    RELEASED = "released"
    EXPIRED = "expired"
    UNCLAIMED = "never-claimed"
    """Granted and not claimed: there never was authority."""
    DOWN = "verified-down"
    HOLDS_OVER = "holds-over"
    """It went on by holds and was not heard again; the other sites' promises had run out when the next was granted."""
    PERMIT_ENDED = "permit-ended"
    RESTORED = "witnesses-restored"
    """Not known here: it was before the end of the wait that follows a restore."""


@dataclass(frozen=True, slots=True)
class Mark:
    """An entry of the ledger, and its proposer's wall clock."""

    seq: int
    wall_ms: WallMs


@dataclass(slots=True)
class Interval:
    site: SiteId
    by: By
    cause: str
    begin: Mark
    epochs: list[Epoch]
    claimed: Mark | None = None
    end: End = End.OPEN
    ended: Mark | None = None
    lapsed: Mark | None = None
    """Its lease had run out then, and its holder goes on by holds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What contradicts that only one site at a time was active; `seq` names the entry."""

    seq: int
    words: str


@dataclass(slots=True)
class Activity:
    """One group's whole story, or its part from where the ledger begins."""

    group: GroupId
    intervals: list[Interval] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    since: int | None = None
    """The entry that the story begins with; None: the ledger tells nothing of the group."""
    whole: bool = False
    """It begins with the group's creation."""
    barred: bool = False
    """One full lease must pass before anything is granted."""
    clocks_apart_ms: int = 0
    """The most that wall clocks contradict the order of entries: so far apart were the witnesses' clocks at least."""

    @property
    def last(self) -> Interval | None:
        return self.intervals[-1] if self.intervals else None


def activity_of(events: Iterable[Event], group: GroupId) -> Activity:
    """`events` are those of the whole cluster, in order; that they are is proved elsewhere (witness.core.ledger)."""
    found = Activity(group)
    latest = 0
    for event in events:
        found.clocks_apart_ms = max(found.clocks_apart_ms, latest - event.wall_ms)
        latest = max(latest, event.wall_ms)
        if event.group == group:
            if found.since is None:
                found.since = event.seq
            found.whole = found.whole or (found.since == event.seq and event.kind is EventKind.GROUP_CREATED)
            _RULES.get(event.kind, _nothing)(found, event)
    return found


def _nothing(found: Activity, event: Event) -> None:
    """What does not concern who is active."""


def _granted(found: Activity, event: Event) -> None:
    site, last = _site(event), found.last
    cause = event.text.split(":")[0]
    if last is not None and last.end is End.OPEN:
        if last.site == site and last.by is By.PERMIT and cause == Cause.ADOPTED.value:
            last.epochs.append(event.epoch)
            return
        if last.by is By.HOLDS and last.lapsed is not None:
            _end(last, End.HOLDS_OVER, event)
        else:
            _overlap(found, event, last)
    if found.barred:
        text = f"{site} is granted before the wait after a creation or a restore is over"
        found.findings.append(Finding(event.seq, text))
    found.intervals.append(Interval(site, By.LEASE, cause, _mark(event), [event.epoch]))


def _regranted(found: Activity, event: Event) -> None:
    """In place: the same activity goes on under another epoch."""
    last = found.last
    if last is None or last.site != event.site or last.end not in (End.OPEN, End.EXPIRED):
        if found.whole or last is not None:
            _overlap(found, event, last)
        found.intervals.append(Interval(_site(event), By.HOLDS, "regrant", _mark(event), [event.epoch]))
        return
    last.lapsed = last.lapsed or last.ended
    last.end, last.ended, last.by = End.OPEN, None, By.HOLDS
    last.epochs.append(event.epoch)


def _claimed(found: Activity, event: Event) -> None:
    last = found.last
    if last is None or last.end is not End.OPEN or last.site != event.site or event.epoch not in last.epochs:
        if last is not None or found.whole:
            found.findings.append(Finding(event.seq, f"{event.site} claims epoch {event.epoch} without a grant"))
        return
    last.claimed = last.claimed or _mark(event)
    if last.by is By.HOLDS:
        last.by, last.lapsed = By.LEASE, None


def _lease_ended(found: Activity, event: Event) -> None:
    last = found.last
    if last is None or last.end is not End.OPEN or event.epoch not in last.epochs:
        if last is not None or found.whole:
            found.findings.append(Finding(event.seq, f"epoch {event.epoch} ends and had not begun, or had ended"))
        return
    if event.kind is EventKind.RELEASED:
        _end(last, End.RELEASED, event)
    elif last.by is By.PERMIT:
        return  # an adopted lease may run out unanswered: the permit goes on
    elif last.by is By.HOLDS:
        last.lapsed = _mark(event)
    elif last.claimed is None and event.text.startswith(REASON_TEXT[Reason.NEVER_CLAIMED]):
        _end(last, End.UNCLAIMED, event)
    else:
        _end(last, End.EXPIRED, event)


def _holds_began(found: Activity, event: Event) -> None:
    """Told by a holder that is back: its lease ran out, and it did not stop."""
    last = found.last
    if last is None or last.site != event.site or event.epoch not in last.epochs:
        if last is not None and last.end is End.OPEN:
            _overlap(found, event, last)
        return
    if last.end is End.EXPIRED:
        last.end, last.ended, last.lapsed = End.OPEN, None, last.ended
    last.by = By.HOLDS


def _holds_ended(found: Activity, event: Event) -> None:
    last = found.last
    if last is not None and last.site == event.site and last.by is By.HOLDS and last.lapsed is None:
        last.by = By.LEASE  # it was answered again before its lease had run out


def _permit_used(found: Activity, event: Event) -> None:
    last = found.last
    if last is not None and last.end is End.OPEN and last.site != event.site:
        _overlap(found, event, last)
    if last is not None and last.end is End.OPEN and last.site == event.site:
        _end(last, End.EXPIRED, event)  # its own older lease, which nobody answered any more
    found.intervals.append(Interval(_site(event), By.PERMIT, "break-glass", _mark(event), [event.epoch]))


def _permit_ended(found: Activity, event: Event) -> None:
    last = found.last
    if last is None or last.site != event.site or last.by is not By.PERMIT or last.end is not End.OPEN:
        return
    if len(last.epochs) > 1:
        last.by = By.LEASE  # adopted: it goes on by the lease
    else:
        _end(last, End.PERMIT_ENDED, event)


def _site_state(found: Activity, event: Event) -> None:
    """A site's own word that it is down ends what only it can end: holds, and a permit."""
    last = found.last
    down = event.text.split(":")[0].split(" ")[-1] in {state.value for state in DORMANT_STATES}
    if last is not None and down and last.end is End.OPEN and last.site == event.site and last.by is not By.LEASE:
        _end(last, End.DOWN, event)


def _restored(found: Activity, event: Event) -> None:
    last = found.last
    found.barred = True
    if last is not None and last.end is End.OPEN:
        _end(last, End.RESTORED, event)


def _created(found: Activity, event: Event) -> None:
    if found.last is not None and found.last.end is End.OPEN:
        _overlap(found, event, found.last)
    found.barred = True


def _unbarred(found: Activity, event: Event) -> None:
    """What the restore cut off was over by then at the latest."""
    last = found.last
    if last is not None and last.end is End.RESTORED and found.barred:
        last.ended = _mark(event)
    found.barred = False


def _contradicted(found: Activity, event: Event) -> None:
    found.findings.append(Finding(event.seq, f"{event.kind.value} at {event.site}: {event.text}"))


_RULES = {
    EventKind.GRANTED: _granted,
    EventKind.REGRANTED: _regranted,
    EventKind.CLAIMED: _claimed,
    EventKind.RELEASED: _lease_ended,
    EventKind.EXPIRED: _lease_ended,
    EventKind.HOLDS_BEGAN: _holds_began,
    EventKind.HOLDS_ENDED: _holds_ended,
    EventKind.PERMIT_USED: _permit_used,
    EventKind.PERMIT_ENDED: _permit_ended,
    EventKind.SITE_STATE: _site_state,
    EventKind.GROUP_CREATED: _created,
    EventKind.RESTORED: _restored,
    EventKind.UNBARRED: _unbarred,
    EventKind.BOTH_ACTIVE: _contradicted,
    EventKind.PERMIT_CLASH: _contradicted,
}


def _site(event: Event) -> SiteId:
    return event.site or SiteId("?")


def _mark(event: Event) -> Mark:
    return Mark(event.seq, event.wall_ms)


def _end(interval: Interval, how: End, event: Event) -> None:
    interval.end, interval.ended = how, _mark(event)


def _overlap(found: Activity, event: Event, last: Interval | None) -> None:
    before = "nothing that it goes on from" if last is None else f"{last.site} since entry {last.begin.seq}"
    found.findings.append(Finding(event.seq, f"{event.kind.value} at {event.site} overlaps: {before} has not ended"))
