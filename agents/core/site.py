"""(11) The site's life cycle for one group: one table, from which the docs' diagram is generated.

Rule: a site starts by assuming the worst; it becomes dormant only by proof (a plan that verified everything down,
or a proven fence), and active only through ACTIVATING, which only an authority starts; or where a former process of
the same incarnation left it, when the guard proves that. A pair that is not in the table changes nothing.
"""

from __future__ import annotations

from enum import Enum

from proto.health import SiteState


class SiteInput(Enum):
    VERIFIED_DOWN = "verified-down"
    """VERIFY_DOWN proved that nothing runs."""
    AUTHORITY = "authority"
    """The first answer of a claimed epoch arrived in time."""
    ACTIVATED = "activated"
    STOP = "stop"
    """Handover, failed activation, shutdown, or the lease runs out: deactivate in order."""
    STOPPED = "stopped"
    """DEACTIVATE proved that nothing is left."""
    FENCE = "fence"
    """Authority or trust is gone: kill now. Also of a dormant site whose license is seen activated."""
    FENCED = "fenced"
    """The fence is proven."""
    TAKEN_ACTIVATING = "taken-over-activating"
    """The guard proves that this incarnation still holds (agents/core/takeover.py): its activation goes on."""
    TAKEN_ACTIVE = "taken-over-active"
    TAKEN_DEACTIVATING = "taken-over-deactivating"


_S, _I = SiteState, SiteInput

SITE_TRANSITIONS: dict[tuple[SiteState, SiteInput], SiteState] = {
    (_S.UNKNOWN, _I.VERIFIED_DOWN): _S.STANDBY,
    (_S.UNKNOWN, _I.TAKEN_ACTIVATING): _S.ACTIVATING,
    (_S.UNKNOWN, _I.TAKEN_ACTIVE): _S.ACTIVE,
    (_S.UNKNOWN, _I.TAKEN_DEACTIVATING): _S.DEACTIVATING,
    (_S.STANDBY, _I.AUTHORITY): _S.ACTIVATING,
    (_S.FENCED, _I.AUTHORITY): _S.ACTIVATING,
    (_S.ACTIVATING, _I.ACTIVATED): _S.ACTIVE,
    (_S.ACTIVATING, _I.STOP): _S.DEACTIVATING,
    (_S.ACTIVE, _I.STOP): _S.DEACTIVATING,
    (_S.DEACTIVATING, _I.STOPPED): _S.STANDBY,
    (_S.ACTIVATING, _I.FENCE): _S.FENCING,
    (_S.ACTIVE, _I.FENCE): _S.FENCING,
    (_S.DEACTIVATING, _I.FENCE): _S.FENCING,
    (_S.STANDBY, _I.FENCE): _S.FENCING,
    (_S.FENCED, _I.FENCE): _S.FENCING,
    (_S.FENCING, _I.FENCED): _S.FENCED,
}

TAKEN_OVER = {
    _S.ACTIVATING: _I.TAKEN_ACTIVATING,
    _S.ACTIVE: _I.TAKEN_ACTIVE,
    _S.DEACTIVATING: _I.TAKEN_DEACTIVATING,
}
"""The input that leads a new process to where the one before it was."""

LIVE_STATES = frozenset({_S.ACTIVATING, _S.ACTIVE, _S.DEACTIVATING})
"""Something may run in the active role and the agent wants its authority extended."""


def site_after(state: SiteState, site_input: SiteInput) -> SiteState | None:
    """The next state, or None when the input means nothing in this state."""
    return SITE_TRANSITIONS.get((state, site_input))
