"""Which sites of a schedule have members: drawn apart from everything else, and only where a kind of fault is theirs.

So a seed without such a kind stays what it was, and costs no more.
"""

from __future__ import annotations

import random
from dataclasses import replace

from proto.units import MemberName
from witness.sim.members.plan import MemberPlan
from witness.sim.setup import Setup, rng_for

MEMBER_KIND = "member-"
NAMES = (MemberName("db"), MemberName("web"))
STEPS = ("prepare", "start-db")


def with_members(setup: Setup) -> Setup:
    """One or two on at least one site, where a kind asks for them."""
    if not any(kind.startswith(MEMBER_KIND) for kind in setup.kinds):
        return setup
    rng = rng_for(setup.seed, "members")
    chosen = [site for site in setup.sites if rng.random() < 0.6] or [rng.choice(setup.sites)]
    plans = tuple((site, plan) for site in chosen for plan in _plans(rng))
    return replace(setup, members=plans)


def _plans(rng: random.Random) -> tuple[MemberPlan, ...]:
    return tuple(_plan(rng, name) for name in NAMES[: 2 if rng.random() < 0.3 else 1])


def _plan(rng: random.Random, name: MemberName) -> MemberPlan:
    """Steps of the lead's plan, programs of its own, or both."""
    steps = STEPS[: rng.randint(0, len(STEPS))]
    return MemberPlan(name, rng.random() < 0.85, steps, not steps or rng.random() < 0.6)
