"""With what the sites of a schedule are fitted out beside signals and the kernel's timer.

Drawn apart from everything else, so that a seed without any of it stays what it was. A kind of fault that needs a
part brings it along. Parts that need a longer lease lengthen it; where operators change leases at will there are none.
"""

from __future__ import annotations

from dataclasses import replace

from agents.components.spec import ComponentRole
from agents.core.settings import GroupSettings, LicenseSettings
from proto.groups import GroupConfig
from proto.lease import LeaseConstants
from proto.license import EscrowPolicy
from proto.timing import SiteBudgets
from witness.sim.setup import NOTHING, Fitting, Setup, rng_for

ACTIVATION_MS = 5_000
DEACTIVATION_MS = 3_000
TTL_MS_MIN = 4_000
"""The shortest lease that an address or a watchdog can follow, by proto.timing."""
BUDGETS = SiteBudgets(stop_budget_ms=1_900, kill_budget_ms=1_500)
RESET_BEFORE_MS = 150
RESOURCE_KINDS = frozenset({"keeper-kill", "keeper-late", "resource-stuck"})
COMPONENT_KINDS = frozenset({"component-wakes", "component-clings"})
GUARDS_STAND = frozenset({"guard-kill", "site-freeze", "site-starved", "guest-freeze", "site-suspend"})
"""Beside these no rung that a guard must climb is certain."""


def drawn_fitting(seed: int) -> Fitting:
    rng = rng_for(seed, "fitting")
    if rng.random() < 0.5:
        return NOTHING
    fitting = Fitting(
        address=rng.random() < 0.3,
        ports=rng.random() < 0.6,
        watchdog=rng.random() < 0.3,
        required=rng.random() < 0.5,
        reset=rng.random() < 0.15,
        component=rng.choice((None, None, *ComponentRole)),
    )
    return replace(fitting, required=fitting.watchdog and fitting.required)


def fitted(setup: Setup) -> Setup:
    """With what the seed draws and its kinds need."""
    return with_fitting(setup, _with_kinds(drawn_fitting(setup.seed), setup))


def _with_kinds(fitting: Fitting, setup: Setup) -> Fitting:
    kinds = set(setup.kinds)
    if kinds & RESOURCE_KINDS:
        fitting = replace(fitting, ports=True, address=fitting.address or setup.seed % 2 == 0)
    if kinds & COMPONENT_KINDS and fitting.component is None:
        fitting = replace(fitting, component=list(ComponentRole)[setup.seed % 2])
    if "watchdog-missing" in kinds:
        fitting = replace(fitting, watchdog=True, required=True)
    if "undead" in kinds:
        by_reset = not kinds & (GUARDS_STAND | {"watchdog-missing"}) and setup.seed % 2 == 0
        fitting = replace(fitting, watchdog=not by_reset, required=not by_reset, reset=by_reset)
    if "reconfigure" in kinds:
        fitting = replace(fitting, address=False, watchdog=False, required=False, reset=False)
    return fitting


def with_fitting(setup: Setup, fitting: Fitting) -> Setup:
    if not fitting.slow:
        return replace(setup, fitting=fitting)
    groups = setup.groups[:1]  # one watchdog, one reset line: of one group
    groups = tuple(replace(config, constants=_long(config.constants)) for config in groups)
    return replace(setup, fitting=fitting, groups=groups)


def _long(constants: LeaseConstants) -> LeaseConstants:
    return replace(constants, ttl_ms=max(constants.ttl_ms, TTL_MS_MIN))


def group_settings(config: GroupConfig, fitting: Fitting) -> GroupSettings:
    return GroupSettings(
        config.group,
        enforce=True,
        budgets=BUDGETS if fitting.slow else None,
        activation_timeout_ms=ACTIVATION_MS,
        deactivation_timeout_ms=DEACTIVATION_MS,
        probes=(),
        addresses=fitting.address,
        watchdog=fitting.watchdog,
        reset_before_ms=RESET_BEFORE_MS if fitting.reset else None,
        licenses=license_settings(config),
    )


def license_settings(config: GroupConfig) -> tuple[LicenseSettings, ...]:
    return tuple(
        LicenseSettings(one.name, one.escrow is EscrowPolicy.REQUIRED, 0, one.escrow is not EscrowPolicy.NONE)
        for one in config.licenses
    )
