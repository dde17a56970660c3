"""Nothing expires early: the last renewal was applied nowhere later than D before, by any sound clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from proto.events import Event, EventKind
from proto.lease import LeaseConstants, witness_wait
from proto.units import NS_PER_MS, PPM, GroupId
from witness.core.machine import Machine
from witness.sim.clock import RATE_ROUNDING_NS
from witness.sim.raft.checkers import Findings

LEAP_COUNTS_NS = 200 * NS_PER_MS
"""proto.limits.TIMER_STEP_MAX_NS as promised, not as the code under test has it."""


class ExpiryChecker:
    def __init__(self, findings: Findings, now: Callable[[], int]) -> None:
        self._found = findings.found
        self._now = now
        self._since: dict[GroupId, tuple[tuple[int, int], int, LeaseConstants]] = {}
        self._leaps: dict[GroupId, Counter[str]] = {}

    def applied(self, machine: Machine) -> None:
        for name, group in machine.state.groups.items():
            lease = group.lease
            if lease is None:
                continue
            number = (lease.epoch, lease.renewal)
            known = self._since.get(name)
            if known is None or known[0] < number:
                self._since[name] = (number, self._now(), lease.constants)
                self._leaps[name] = Counter()

    def restored(self) -> None:
        """All witnesses begin anew: the leases of their former life are nobody's to expire."""
        self._since.clear()
        self._leaps.clear()

    def leapt(self, witness: str) -> None:
        """Its clock jumped ahead: it may have counted one capped step too much, and no more."""
        for leaps in self._leaps.values():
            leaps[witness] += 1

    def expired(self, event: Event, majority: int) -> None:
        known = None if event.group is None else self._since.get(event.group)
        if known is None or event.group is None or event.kind is not EventKind.EXPIRED:
            return
        (epoch, renewal), since_ns, constants = known
        counted_ns = witness_wait(constants) - self._leaps_that_count(event.group, majority) * LEAP_COUNTS_NS
        shortest_ns = counted_ns * PPM // (PPM + constants.drift_max_ppm)
        gone_ns = self._now() - since_ns
        if epoch == event.epoch and gone_ns < shortest_ns - RATE_ROUNDING_NS:
            says = f"renewal {renewal} of epoch {epoch} expired after {gone_ns} ns, {shortest_ns} ns must pass"
            self._found("early-expiry", f"{event.group}: {says}")

    def _leaps_that_count(self, group: GroupId, majority: int) -> int:
        """It takes a majority's votes: the steps of the one among them that leapt least."""
        most = sorted(self._leaps[group].values(), reverse=True)
        return most[majority - 1] if len(most) >= majority else 0
