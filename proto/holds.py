"""Holds: how long a promise lasts, and the chain by which both ends name the same rounds of them (docs/adr/0016).

Rule (DESIGN section 6): the promiser counts D from *after it received* the request, the holder ttl from *before it
sent* it, by the arithmetic of proto.lease: a promise is to the holder what a witness's timer is, so the holder's
authority is always over first. No absolute time of one machine is ever read on another.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from proto.lease import LeaseConstants, witness_wait
from proto.units import Chain, Claim, DurationNs, Epoch

CHAIN_BYTES: Final = 16
NO_CHAIN: Final = Chain(bytes(CHAIN_BYTES))
"""Before the first round of an epoch."""


class HoldMark(NamedTuple):
    """One round of holds, as the holder and its promisers report it to the witnesses."""

    epoch: Epoch
    number: int
    chain: Chain


def promise_wait(constants: LeaseConstants) -> DurationNs:
    """For how long the promiser begins nothing, counted from the receipt of the request; lock_delay is in it."""
    return witness_wait(constants)


def chain_next(chain: Chain, epoch: Epoch, claim: Claim, number: int) -> Chain:
    """The chain with one more round. It binds what was asked for, so that a round cannot be told in two ways."""
    body = chain + epoch.to_bytes(8, "big") + claim + number.to_bytes(8, "big")
    return Chain(hashlib.sha256(body).digest()[:CHAIN_BYTES])
