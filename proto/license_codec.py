"""What a sealed key is bound to, in bytes: the associated data of its box."""

from __future__ import annotations

from typing import Final

from proto.codec import pack
from proto.license import EscrowVersion
from proto.units import ClusterId, GroupId, LicenseName

_CONTEXT: Final = "thirdsite-escrow-1"


def associated_data(
    cluster: ClusterId, group: GroupId, name: LicenseName, version: EscrowVersion, key_id: str
) -> bytes:
    """Of another license, group, cluster or version, or said to be of another sealing key, a box does not open."""
    return pack([_CONTEXT, cluster, group, name, version.epoch, version.version, key_id])
