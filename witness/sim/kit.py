"""What `make sim` brings to the shared campaign (witness.sim.campaign)."""

from __future__ import annotations

from witness.sim.campaign.kit import Counts, Kit
from witness.sim.catalogue import CATALOGUE
from witness.sim.faults import FAULTS
from witness.sim.run import drawn, run_chosen, told

OVERLAP = frozenset({"overlap"})
"""Two sites active at one true instant: the promise above all others."""


def _more(counts: Counts) -> dict[str, object]:
    return {"overlaps": counts(OVERLAP)}


KIT = Kit(
    name="sim",
    run=run_chosen,
    story=told,
    drawn=lambda seed, kinds: drawn(seed, kinds).kinds,
    kinds=frozenset(FAULTS),
    catalogue=CATALOGUE,
    schedules_default=100,
    judged_from=2_000,  # the rarest counter rises once in some 300 schedules; each one is produced in the tests
    more=_more,
)
