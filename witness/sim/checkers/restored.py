"""After a restore nothing is granted before every lease of the former life has surely run out (DESIGN section 5).

The checker has its own account of the lease that each group was last granted, whatever a backup or an operator says of
it. A t0 is never later than the loss of the witnesses, so by the slowest clock allowed that lease ends ttl / (1 - r)
after the loss, and its lock delay that much later. What ended earlier is waited for as well: that is the promise.
"""

from __future__ import annotations

from collections.abc import Callable

from proto.events import Event, EventKind
from proto.lease import LeaseConstants, longest
from proto.units import NS_PER_MS, NS_PER_S, PPM, GroupId
from witness.core.machine import Machine
from witness.sim.clock import RATE_ROUNDING_NS
from witness.sim.raft.checkers import Findings


class RestoreChecker:
    def __init__(self, findings: Findings, now: Callable[[], int]) -> None:
        self.restores = 0
        self.waited = 0
        """First grants after a restore."""
        self._found = findings.found
        self._now = now
        self._granted: dict[GroupId, LeaseConstants] = {}
        """Each group's last lease of this life."""
        self._former: dict[GroupId, tuple[int, LeaseConstants]] = {}
        """Until when the leases of former lives may last, for groups that were not granted since."""

    def told(self, event: Event, machine: Machine) -> None:
        """`machine`: as it was left by the entry that the event is of."""
        group = event.group
        state = None if group is None else machine.state.groups.get(group)
        if group is None or event.kind is not EventKind.GRANTED:
            return
        former = self._former.pop(group, None)
        if former is not None:
            self.waited += 1
            early_ns = former[0] - self._now()
            if early_ns > RATE_ROUNDING_NS:
                says = f"{early_ns / NS_PER_S:.6f} s before the last lease of the former life has surely ended"
                self._found("early-grant", f"{group} is granted to {event.site} {says}")
        if state is not None and state.lease is not None:
            self._granted[group] = state.lease.constants

    def restored(self, lost_ns: int) -> None:
        """All witnesses were lost at this true instant, and begin anew."""
        self.restores += 1
        for group, lease in self._granted.items():
            full_ns = (lease.ttl_ms + lease.lock_delay_ms) * NS_PER_MS * PPM // (PPM - lease.drift_max_ppm)
            until_ns, known = self._former.get(group, (0, lease))
            self._former[group] = (max(until_ns, lost_ns + full_ns), longest(known, lease))
        self._granted.clear()

    def in_force(self) -> list[LeaseConstants]:
        """Of the leases that somebody may have now, as an operator knows them who was there all the time."""
        former = [lease for until_ns, lease in self._former.values() if until_ns > self._now()]
        return [*self._granted.values(), *former]
