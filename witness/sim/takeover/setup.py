"""One timing to be tried: drawn from a seed, and sound by the product's own rules.

Everything is at the edge of what the bound assumes: every clock that delays the takeover runs as slow as `drift_max`
allows, every message and every sync takes as long as it ever does, the site's steps take their budget.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from proto.groups import GroupConfig
from proto.health import DataChecks
from proto.lease import LeaseConstants
from proto.timing import check_constants, check_site, default_budgets
from proto.units import NS_PER_MS, GroupId, SiteId, WitnessId
from witness.raft.space import SpaceLimits
from witness.raft.timers import PROFILES, CompactionLimits, RaftTimers
from witness.sim.raft.setup import LARGE_TUNING
from witness.sim.setup import Setup, draw_raft

GROUP = GroupId("erp")
HOLDER, OTHER = SiteId("dc-a"), SiteId("dc-b")
WITNESSES = (WitnessId("w1"), WitnessId("w2"), WitnessId("w3"))
TTLS_MS = (500, 700, 1_000, 1_000, 1_500, 2_000, 3_000, 5_000)
DRIFTS_PPM = (100, 1_000, 10_000, 10_000, 30_000, 50_000, 100_000)
ACTIVATIONS_MS = (100, 300, 1_000, 2_500)


@dataclass(frozen=True, slots=True)
class Timing:
    """What one configuration consists of."""

    seed: int
    constants: LeaseConstants
    activation_ms: int
    raft: RaftTimers
    witness_delay_ns: int
    """One way, between witnesses."""
    site_delay_ns: int
    """One way, between a site and a witness."""
    sync_ns: int
    store_ns: int


def drawn(seed: int) -> Timing:
    """Sound: what the product would refuse is drawn again."""
    rng = random.Random(f"thirdsite/takeover/{seed}")  # noqa: S311  # a simulation, not a secret
    while True:
        profile = rng.choice(("fast", "standard", "standard"))
        constants = LeaseConstants(rng.choice(TTLS_MS), rng.choice(DRIFTS_PPM), rng.choice((0, 0, 0, 500)))
        timing = Timing(
            seed=seed,
            constants=constants,
            activation_ms=rng.choice(ACTIVATIONS_MS),
            raft=PROFILES[profile],
            witness_delay_ns=rng.choice(
                (50_000, 200_000, NS_PER_MS) if profile == "fast" else (200_000, 5 * NS_PER_MS)
            ),
            site_delay_ns=rng.choice((NS_PER_MS // 2, 2 * NS_PER_MS, 10 * NS_PER_MS)),
            sync_ns=rng.choice((200_000, NS_PER_MS)),
            store_ns=rng.choice((2, 10)) * NS_PER_MS,
        )
        broken = [*check_constants(constants), *check_site(constants, default_budgets(constants.ttl_ms))]
        if not broken:
            return timing


def setup_of(timing: Timing) -> Setup:
    group = GroupConfig(group=GROUP, sites=(HOLDER, OTHER), constants=timing.constants, cooldown_ms=0)
    raft = replace(
        draw_raft(timing.seed),
        witnesses=WITNESSES,
        timers=timing.raft,
        compaction=CompactionLimits(),
        tuning=LARGE_TUNING,
        space=SpaceLimits(0, 0),
        delay_ns=timing.witness_delay_ns,
        sync_ns=timing.sync_ns,
        cpu_ns=50_000,
        early=True,
        cold=False,
    )
    return Setup(
        seed=timing.seed,
        sites=(HOLDER, OTHER),
        groups=(group,),
        kinds=("takeover",),
        safety_s=0,
        data_checks=DataChecks.PASSED,
        drift_extreme=True,
        raft=raft,
    )
