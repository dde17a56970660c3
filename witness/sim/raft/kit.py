"""What `make fuzz` brings to the shared campaign (witness.sim.campaign)."""

from __future__ import annotations

from witness.sim.campaign.kit import Kit
from witness.sim.raft.catalogue import CATALOGUE
from witness.sim.raft.faults import KINDS
from witness.sim.raft.run import run_chosen, setup_of, told

KIT = Kit(
    name="fuzz",
    run=run_chosen,
    story=told,
    drawn=lambda seed, kinds: setup_of(seed, kinds).kinds,
    kinds=KINDS,
    catalogue=CATALOGUE,
    schedules_default=500,
    judged_from=500,
)
