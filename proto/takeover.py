"""How long a takeover may take at most, phase by phase: from a site's death to the other site's activation done.

Rule (promise P4): every wait of the chain has a bound, and the bounds are added. The chain, in true time:

    renewal     the dead site's last renewal was on its way: it is applied after a way in and a commit
    lease       every witness counts D = ttl (1+r)/(1-r) from that apply; on the slowest clock D / (1-r)
    drift       what of that the clocks cost; `lock delay` what the license server's wait costs
    wake        the timer's process gets the processor late
    vote        the vote waits for the witness's entry in flight, then it is committed
    grant       so does the grant; the decision between them is part of the apply
    notice      the hint to the new site
    claim       it stores the epoch, sends its claim, which is committed and answered
    election    the leading witness dies at the worst instant of all this, and one vote is split
    repeat      what died with the leader is done again
    promise     what of an outstanding promise to another site (DESIGN section 6) is left after all that
    activation  the site's own steps, by their budget

Each delay is a bound that was assumed or measured (`Delays`), not an average. `promise` is mostly 0: a promise is as
long as a lease and was asked for by a site that still lived, so it runs out beside the lease (docs/adr/0016), later by
what a request takes longer over the site link than all that comes between a renewal and the notice. Not in the sum,
and not bounded by anybody: a second leader's death, a candidate that is not eligible, a network that is slower than
`Delays` says.
Rejected: a flat allowance of four seconds for "four Raft rounds" (too long for a lease of a second, and it hid that an
election was not in it); percentiles added up (a sum of p99s is a p99 of nothing).
"""

from __future__ import annotations

from dataclasses import dataclass

from proto.lease import LeaseConstants, takeover_wait_max
from proto.timing import URGENT_SPACING_NS, answer_wait_ns
from proto.units import NS_PER_MS, PPM, DurationNs

COMMITS_A_STEP = 2
"""A command waits at most for the entry in flight, then for its own."""
SPLIT_VOTES_MAX = 1
"""Two candidates within one way of each other, once; twice in a row is left out, as a second death is."""


@dataclass(frozen=True, slots=True)
class Delays:
    """The longest that each thing takes, in nanoseconds of whoever measured it."""

    commit_ns: DurationNs
    """From a witness's proposal to its own apply, by way of the leader; both machines' syncs are in it."""
    round_trip_ns: DurationNs
    """Between an agent and a witness, there and back."""
    wake_ns: DurationNs
    """A timer's process is late by this."""
    store_ns: DurationNs
    """A site makes an epoch durable."""
    election_ns: DurationNs
    """The longest election timeout: configured, and as far as round trips stretch it (witness/raft/pace.py)."""
    link_ns: DurationNs = DurationNs(50 * NS_PER_MS)  # noqa: RUF009 - an int under a name
    """Between the agents of two sites, there and back: a round of holds waits for it, a promise begins that late."""

    @property
    def answer_ns(self) -> DurationNs:
        """A heartbeat's, from before it is sent to its answer."""
        return DurationNs(self.round_trip_ns + COMMITS_A_STEP * self.commit_ns)


ASSUMED = Delays(
    commit_ns=DurationNs(20 * NS_PER_MS),
    round_trip_ns=DurationNs(50 * NS_PER_MS),
    wake_ns=DurationNs(50 * NS_PER_MS),
    store_ns=DurationNs(50 * NS_PER_MS),
    election_ns=DurationNs(600 * NS_PER_MS),
)
"""Where nothing was measured: witnesses in one location, sites within some hundred kilometres, ordinary disks."""


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    ns: DurationNs
    words: str


def slowest(duration_ns: int, drift_max_ppm: int) -> DurationNs:
    """True time that a duration takes at most on a clock within the bound (rounded up)."""
    return DurationNs(-(-duration_ns * PPM // (PPM - drift_max_ppm)))


def takeover_phases(constants: LeaseConstants, delays: Delays, activation_ms: int) -> tuple[Phase, ...]:
    """The whole chain, in order; their sum is takeover_max. `activation_ms`: the new site's budget for its steps."""
    r = constants.drift_max_ppm
    plain = LeaseConstants(constants.ttl_ms, r, 0)
    ttl_ns, unlocked_ns = constants.ttl_ns, takeover_wait_max(plain)
    step_ns = COMMITS_A_STEP * slowest(delays.commit_ns, r)
    way_ns = slowest(delays.round_trip_ns, r)
    elections = SPLIT_VOTES_MAX + 1
    election_ns = elections * (slowest(delays.election_ns, r) + step_ns)
    wake_ns, renewal_ns = slowest(delays.wake_ns, r), way_ns + step_ns
    promise_ns = max(0, slowest(delays.link_ns, r) - (renewal_ns + wake_ns + 2 * step_ns + way_ns))
    claim_ns = slowest(delays.store_ns + URGENT_SPACING_NS, r) + way_ns + step_ns
    rows = (
        ("renewal", renewal_ns, "the last renewal's way in and its commit"),
        ("lease", ttl_ns, "what may be left of the lease"),
        ("drift", unlocked_ns - ttl_ns, f"clocks off by {r / 10_000:g} %: D, on the slowest clock"),
        ("lock delay", takeover_wait_max(constants) - unlocked_ns, "for license servers that keep a session"),
        ("wake", wake_ns, "a witness's timer is served late"),
        ("vote", step_ns, "the expiry votes of a majority are committed"),
        ("grant", step_ns, "the decision and its commit"),
        ("notice", way_ns, "the hint to the new site"),
        ("claim", claim_ns, "the epoch is stored, claimed, committed, answered"),
        ("election", election_ns, f"the leader dies at the worst instant; {SPLIT_VOTES_MAX} split vote"),
        ("repeat", step_ns + slowest(answer_wait_ns(delays.round_trip_ns, 0), r), "what died with the leader, again"),
        ("promise", promise_ns, "what is left of a promise then: it runs beside the lease"),
        ("activation", slowest(activation_ms * NS_PER_MS, r), "the new site's own steps"),
    )
    return tuple(Phase(name, DurationNs(ns), words) for name, ns, words in rows)


def takeover_max_ns(constants: LeaseConstants, activation_ms: int, delays: Delays = ASSUMED) -> DurationNs:
    """From a site's death to the other site's activation done, with one witness's death in the same moments."""
    return DurationNs(sum(phase.ns for phase in takeover_phases(constants, delays, activation_ms)))
