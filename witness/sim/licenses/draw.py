"""Which groups of a schedule have licenses: drawn apart from everything else, and only where a kind of fault is theirs.

So a seed without such a kind stays what it was, and costs no more.
"""

from __future__ import annotations

import random
from dataclasses import replace

from proto.license import EscrowPolicy, LicenseSpec
from proto.units import LicenseName
from witness.sim.setup import Setup, rng_for

LICENSE_KIND = "license-"
NAMES = (LicenseName("fingerprint"), LicenseName("seats"))


def with_licenses(setup: Setup) -> Setup:
    """One license or two of each group, mostly with a required escrow, where a kind asks for them."""
    if not any(kind.startswith(LICENSE_KIND) for kind in setup.kinds):
        return setup
    rng = rng_for(setup.seed, "licenses")
    return replace(setup, groups=tuple(replace(one, licenses=_licenses(rng)) for one in setup.groups))


def _licenses(rng: random.Random) -> tuple[LicenseSpec, ...]:
    return tuple(
        LicenseSpec(name, EscrowPolicy.REQUIRED if rng.random() < 0.8 else EscrowPolicy.OPTIONAL)
        for name in NAMES[: 2 if rng.random() < 0.2 else 1]
    )
