"""When a key in place may be sealed: only while the site is active, with the newest key restored under this epoch."""

from __future__ import annotations

from typing import NamedTuple

from proto.health import SiteState
from proto.units import Epoch


class Stance(NamedTuple):
    """How a group stands at this moment; a look or a read that another one interrupts says nothing."""

    role: int
    """Changes whenever the site begins or ends being active."""
    epoch: Epoch
    """Held with the license's key restored under it; NO_EPOCH while a key in place must not be sealed."""


def may_seal(state: SiteState, *, restored: bool, read: bool) -> bool:
    """`restored`: the running activation put the newest key in place. `read`: under this epoch a look was taken before.

    An activation that failed before its restore leaves a copy of unknown age in place, also while it is taken back.
    """
    if state is SiteState.ACTIVE:
        return True
    if state is SiteState.ACTIVATING:
        return restored
    return state is SiteState.DEACTIVATING and read
