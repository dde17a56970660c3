"""A release that is on its way: sent again until the witnesses answered it, or until it no longer matters.

Sent only after verified down and a durable `finished`; whatever it is answered, the epoch is over here (DESIGN 3).
"""

from __future__ import annotations

from dataclasses import dataclass

from proto.messages import ReleaseKind
from proto.units import NS_PER_MS, Claim, Epoch, InstantNs

RELEASE_AGAIN_NS = 300 * NS_PER_MS


@dataclass(slots=True)
class PendingRelease:
    epoch: Epoch
    claim: Claim
    kind: ReleaseKind
    text: str
    give_up_at: InstantNs
    again_at: InstantNs
    not_before: InstantNs
    """After a fence the lock delay passes first: a license server may keep the killed session open."""
