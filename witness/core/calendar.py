"""Time by the entries' wall clocks, counted so that doubt makes it longer: for calendar rules, never for a lease.

Rule: each witness that proposes writes its wall clock into the entry. Between two entries of one proposer at least as
much time has passed as its own clock says, whatever the others' clocks show, so the count goes on to the furthest of
these bounds and never back: a constant difference between two witnesses' clocks adds nothing. A proposer whose clock
went back by more than 2 s proves nothing any more, and counts as the longest time that any rule asks for (DESIGN
section 6: doubt counts as long). A proposer that was never seen is compared with the newest entry of all.
What remains: one whose clock was set back while all were away, by less than they were, and that leads first. The next
entry of any other witness shows it.
Rejected: the difference of neighbouring entries alone (two witnesses 3 s apart would be in doubt with each entry).
"""

from __future__ import annotations

from proto.permit import AFTER_MS_MAX, CALENDAR_SLACK_MS
from proto.units import WallMs, WitnessId
from witness.core.state import Calendar, CalendarMark

SINCE_LEVEL = 2
"""The feature level from which on it is counted, and agents' answers are known."""
DOUBT_MS = AFTER_MS_MAX


def pass_time(calendar: Calendar, proposer: WitnessId, wall_ms: WallMs) -> None:
    """Takes in one entry, before its commands."""
    mark = calendar.marks.get(proposer)
    if mark is not None:
        base_ms, passed_ms = mark.counted_ms, wall_ms - mark.wall_ms
    else:
        base_ms, passed_ms = calendar.counted_ms, wall_ms - calendar.wall_ms if calendar.marks else 0
    calendar.wall_ms = wall_ms
    if passed_ms < -CALENDAR_SLACK_MS:
        calendar.counted_ms += DOUBT_MS
    elif passed_ms < 0 and mark is not None:
        return  # within the slack: measured on from the same mark, so that small steps back add up to a doubt
    else:
        calendar.counted_ms = max(calendar.counted_ms, base_ms + max(0, passed_ms))
    calendar.marks[proposer] = CalendarMark(calendar.counted_ms, wall_ms)
