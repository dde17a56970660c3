"""What one schedule is made of, drawn from its seed before anything runs.

Swarm style (Groce et al. 2012): each schedule has its own few kinds of faults and its own constants. A schedule with
all kinds at once rarely gets anywhere; one with two or three drives each of them deep. One in ten has none, and
must then be perfectly quiet.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.components.spec import ComponentRole
from proto.groups import Failback, GroupConfig, WitnessLoss
from proto.health import DataChecks
from proto.lease import LeaseConstants
from proto.units import NS_PER_MS, GroupId, SiteId, WitnessId
from witness.raft.messages import BATCH_BYTES, CHUNK_BYTES_MAX, ENTRIES_PER_MESSAGE_MAX
from witness.raft.space import SpaceLimits
from witness.raft.timers import PROFILES, CompactionLimits, RaftTimers
from witness.sim.members.plan import MemberPlan
from witness.sim.raft import setup as raft_setup
from witness.sim.raft.setup import Tuning

KINDS_MAX = 8
CALM_DRIFT_PPM = 50
"""What crystals do."""
FREE_OF_FAULTS = 0.1
LINKED = 0.3
OF_THE_LINK = frozenset({"lose-third", "lose-third-and-link", "cut-site-link", "hold-then-grant"})
"""Kinds of faults that mean nothing without a link between sites."""
RAFT_KIND = "witness-"
"""Before the Raft fuzz's name of a kind of fault: sites have disks, networks and processes too."""
IMAGE_BYTES, ENTRY_BYTES = 500_000, 8_000
"""What the cores' images and entries stay below here; the judges bound a turn's messages by it."""
TIMERS = (
    PROFILES["standard"],
    PROFILES["standard"],
    PROFILES["fast"],
    PROFILES["wide"],
    RaftTimers(append_period_ms=100, election_min_ms=400, election_max_ms=800, leader_fallback_ms=1_600),
)
COMPACTIONS = (CompactionLimits(), CompactionLimits(64, 1024 * 1024, 3), CompactionLimits(200, 1024 * 1024, 20))


@dataclass(frozen=True, slots=True)
class Fitting:
    """What sites have beside signals and the kernel's timer (witness.sim.host)."""

    address: bool = False
    ports: bool = False
    watchdog: bool = False
    required: bool = False
    """The watchdog is."""
    reset: bool = False
    component: ComponentRole | None = None

    @property
    def anything(self) -> bool:
        return self != NOTHING

    @property
    def slow(self) -> bool:
        """Needs a long lease and a long budget for its kill."""
        return self.address or self.watchdog or self.reset


NOTHING = Fitting()


@dataclass(frozen=True, slots=True)
class Setup:
    seed: int
    sites: tuple[SiteId, ...]
    groups: tuple[GroupConfig, ...]
    kinds: tuple[str, ...]
    safety_s: float
    data_checks: DataChecks
    drift_extreme: bool
    """Clocks run as fast or as slow as the bound allows, instead of like crystals."""
    raft: raft_setup.Setup
    """The witnesses and their engine."""
    fitting: Fitting = NOTHING
    site_link: bool = False
    """Agents reach each other, and carry each other's streams."""
    members: tuple[tuple[SiteId, MemberPlan], ...] = ()
    """Further hosts of sites (witness.sim.members)."""

    def members_of(self, site: SiteId) -> tuple[MemberPlan, ...]:
        return tuple(plan for name, plan in self.members if name == site)


def rng_for(seed: int, name: str) -> random.Random:
    """A stream of its own for each part of the world: a draw more in one moves nothing in another."""
    return random.Random(f"thirdsite/{seed}/{name}")  # noqa: S311  # a simulation, not a secret


def draw(seed: int, kinds_known: Sequence[str]) -> Setup:
    rng = rng_for(seed, "setup")
    sites = tuple(SiteId(name) for name in ("dc-a", "dc-b", "dc-c")[: 3 if rng.random() < 0.2 else 2])
    names = (GroupId("erp"), GroupId("mail"))[: 2 if rng.random() < 0.2 else 1]
    count = 0 if rng.random() < FREE_OF_FAULTS else rng.randint(1, KINDS_MAX)
    # A stream of its own: a kind more moves nothing else of a seed, and `--kinds` replays it for ever.
    kinds = tuple(sorted(rng_for(seed, "kinds").sample(sorted(kinds_known), min(count, len(kinds_known)))))
    linked = rng_for(seed, "site-link").random() < LINKED or any(kind in OF_THE_LINK for kind in kinds)
    groups = tuple(draw_group(rng, name, sites) for name in names)
    return Setup(
        seed=seed,
        sites=sites,
        groups=tuple(replace(one, witness_loss=WitnessLoss.HOLD) for one in groups) if linked else groups,
        site_link=linked,
        kinds=kinds,
        safety_s=rng.uniform(8, 40),
        data_checks=rng.choice(list(DataChecks)[:2]),
        drift_extreme=count > 0 and rng.random() < 0.5,
        raft=draw_raft(seed),
    )


def raft_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Those that strike witnesses, as the fuzz calls them."""
    return tuple(kind.removeprefix(RAFT_KIND) for kind in kinds if kind.startswith(RAFT_KIND))


def draw_raft(seed: int) -> raft_setup.Setup:
    """Three witnesses mostly; their kinds of faults are the schedule's (raft_kinds)."""
    rng = rng_for(seed, "raft")
    tiny = rng.random() < 0.3
    plain = raft_setup.draw(seed, (), frozenset())
    names = tuple(WitnessId(f"w{number}") for number in range(1, rng.choices((3, 5), (90, 10))[0] + 1))
    return replace(
        plain,
        witnesses=names,
        timers=rng.choice(TIMERS),
        space=rng.choice((SpaceLimits(0, 0), SpaceLimits(100_000, 20_000))),
        compaction=rng.choice(COMPACTIONS),
        tuning=Tuning(
            entries_per_message=rng.choice((1, 2, 7)) if tiny else ENTRIES_PER_MESSAGE_MAX,
            batch_bytes=BATCH_BYTES,
            chunk_bytes=rng.choice((700, 3_000)) if tiny else CHUNK_BYTES_MAX,
        ),
        ballast_bytes=IMAGE_BYTES,
        entry_bytes=ENTRY_BYTES,
        delay_ns=rng.choice((NS_PER_MS // 5, NS_PER_MS, 5 * NS_PER_MS)),
        restart_ns=rng.choice((50, 500, 2_000)) * NS_PER_MS,
    )


def draw_group(rng: random.Random, name: GroupId, sites: tuple[SiteId, ...]) -> GroupConfig:
    order = list(sites)
    rng.shuffle(order)
    return GroupConfig(
        group=name,
        sites=tuple(order),
        constants=LeaseConstants(
            ttl_ms=rng.choice((800, 1_000, 1_500, 2_000, 3_000)),
            drift_max_ppm=rng.choice((1_000, 10_000, 10_000, 50_000, 100_000)),
            lock_delay_ms=rng.choice((0, 0, 0, 500)),
        ),
        unhealthy_for_ms=rng.choice((500, 2_000)),
        failback=rng.choice(list(Failback)),
        failback_after_ms=rng.choice((1_000, 5_000)),
        cooldown_ms=rng.choice((0, 1_000, 5_000)),
        moves_max=rng.choice((2, 1_000)),
        moves_window_ms=20_000,
        handover_timeout_ms=rng.choice((1_000, 6_000)),
        activation_backoff_ms=rng.choice((500, 3_000)),
        max_replication_lag_ms=rng.choice((None, None, 1_000)),
    )
