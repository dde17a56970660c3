"""How likely a takeover from a healthy site is, as far as what was measured can say.

Model. A healthy holder begins its stop when a renewal and its answer come later than the lease leaves room for. Each
renewal's lateness is one draw from one distribution that stays as it was while it was measured. Of N draws, k were
too late: the chance p of the next one is at most the one-sided 95 % bound of Clopper and Pearson; with none seen that
is 3/N. Chances a year are p times the renewals of a year.

What the model leaves out: lateness comes in bursts (an outage makes many renewals late and is one takeover, so the
figure is too high then); what was never seen has no chance in it (a network that fails once a year is not in a week's
figures); a lease that did run out ended its epoch, so that very gap is not in the histogram (the ledger has it).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from proto.histogram import Histogram
from proto.takeover import Delays
from proto.units import NS_PER_MS
from witness.timing.timers import Timers

CONFIDENCE = 0.95
YEAR_S = 365.25 * 86_400
EXACT_MAX = 2_000
"""With more than so many too late the normal approximation is used: the timing is hopeless anyway."""


@dataclass(frozen=True, slots=True)
class FalseTakeover:
    site: str
    renewals: int
    too_late: int
    allowed_late_ms: float
    """A renewal may be later than its interval by this."""
    longest_late_ms: float
    chance_max: float
    """Of one renewal, at 95 % confidence; 1 of nothing measured."""
    a_year_max: float

    def words(self) -> str:
        if not self.renewals:
            return f"{self.site}: no renewal was measured yet, so nothing can be said"
        seen = f"{self.too_late} of {self.renewals} renewals" if self.too_late else f"none of {self.renewals} renewals"
        least = f"fewer than 3/N = {self.chance_max:.1e}" if not self.too_late else f"at most {self.chance_max:.1e}"
        late = f"more than {self.allowed_late_ms:g} ms late (the latest: {self.longest_late_ms:g} ms)"
        return f"{self.site}: {seen} came {late}; {least} of renewals, {self.a_year_max:.2g} a year at most (95 %)"


def estimate(site: str, late: Histogram, timers: Timers, delays: Delays) -> FalseTakeover:
    """What is left of the lease after interval, both answers and the stop's budget is room for lateness."""
    room_ms = timers.ttl_ms - timers.renew_ms - timers.stop_budget_ms
    allowed_ns = max(0, room_ms * NS_PER_MS - delays.answer_ns)
    too_late = late.above(allowed_ns)
    chance = chance_max(too_late, late.total)
    return FalseTakeover(
        site=site,
        renewals=late.total,
        too_late=too_late,
        allowed_late_ms=allowed_ns / NS_PER_MS,
        longest_late_ms=late.longest_ns / NS_PER_MS,
        chance_max=chance,
        a_year_max=chance * YEAR_S * 1_000 / timers.renew_ms,
    )


def chance_max(seen: int, total: int) -> float:
    """The one-sided upper bound of Clopper and Pearson for `seen` of `total`."""
    if total == 0 or seen >= total:
        return 1.0
    if seen == 0:
        return -math.expm1(math.log(1 - CONFIDENCE) / total)
    if seen > EXACT_MAX:
        share = seen / total
        return min(1.0, share + 1.645 * math.sqrt(share * (1 - share) / total))
    low, high = seen / total, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(seen, total, middle) > 1 - CONFIDENCE else (low, middle)
    return high


def _at_most(seen: int, total: int, chance: float) -> float:
    """Of `total` draws, `seen` or fewer."""
    log_p, log_q = math.log(chance), math.log1p(-chance) if chance < 1 else -math.inf
    terms = (
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) + k * log_p + (total - k) * log_q
        for k in range(seen + 1)
    )
    return math.fsum(math.exp(term) for term in terms)
