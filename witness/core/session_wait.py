"""Between an operator's word that no permit is in use at a site, and the next grant: the lock delay.

The operator may have cut that site's power a moment before, and nobody tells how what ran there ended: a license server
keeps its session for the lock delay (found by simulation, seed 151200). The leader counts on its own clock from when it
saw the word; one that was restarted since counts anew. Once something was granted, the wait is over for good.
Rejected: counting on the calendar, which may run ahead of time; a barred lease, which would take a ttl more.
"""

from __future__ import annotations

from proto.decisions import Blocker, Reason
from proto.lease import lock_delay_wait, longest
from proto.units import NS_PER_S, InstantNs, SiteId
from witness.core.permits import vouched_since_grant
from witness.core.sight import GroupSight
from witness.core.state import GroupState
from witness.core.transitions import Phase


def blockers(group: GroupState, site: SiteId, sight: GroupSight, now: InstantNs) -> list[Blocker]:
    if group.phase is not Phase.VACANT or not vouched_since_grant(group):
        return []
    constants = group.config.constants
    known = constants if group.hold_wait is None else longest(constants, group.hold_wait)
    left_ns = lock_delay_wait(known) - sight.vouched_ns(group, now)
    return [Blocker(site, Reason.SESSION_MAY_LIVE, f"{left_ns / NS_PER_S:.1f} s left")] if left_ns > 0 else []
