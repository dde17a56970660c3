"""A machine before a restore, and after it."""

from __future__ import annotations

from core_rig import AUTHOR, A, B, C, G, Rig, W, config

from proto.commands import ConfigureGroup, DeleteGroup, SetMaintenance, SetQuarantine, VoteKind
from proto.features import FEATURE_MAX
from proto.lease import LeaseConstants
from proto.units import GroupId, WallMs
from witness.core.machine import Machine
from witness.core.restore import new_lineage, restore
from witness.core.snapshot import encode_image
from witness.core.transitions import Phase

LINEAGE = new_lineage(WallMs(1_760_000_000_000), b"r" * 12)
SHORT = LeaseConstants(1_000, 100, 0)
OTHER = GroupId("other")


def restored(rig: Rig, lineage: bytes = LINEAGE, claimed: LeaseConstants = SHORT) -> Rig:
    """The rig goes on with the restored state."""
    made = restore(rig.machine.state, lineage, claimed, FEATURE_MAX)
    rig.machine = Machine()
    rig.machine.restore(encode_image(made.state))
    rig.index = made.state.applied_index
    return rig


def unbarred(rig: Rig) -> Rig:
    for witness in W[:2]:
        assert rig.vote(witness, epoch=rig.group.epoch).ok
    assert rig.group.phase is Phase.VACANT
    return rig


def busy() -> Rig:
    """A holder, a handover under way with a vote, a quarantined site, a site in maintenance, votes, a tombstone."""
    rig = Rig(config(sites=(A, B, C)))
    assert rig.one(ConfigureGroup(config(group=OTHER), 0, AUTHOR)).ok
    for witness in W[:2]:
        rig.vote(witness, epoch=1, group=OTHER)
    assert rig.one(DeleteGroup(OTHER, AUTHOR)).ok
    rig.hold(A)
    assert rig.one(SetQuarantine(G, C, True, (), AUTHOR)).ok
    assert rig.one(rig.revoke_command(B)).ok
    assert rig.vote(W[0], epoch=2, number=1, kind=VoteKind.REVOKE_DUE).ok
    assert rig.vote(W[2], epoch=2, number=1).ok
    assert rig.one(SetMaintenance(G, B, True, AUTHOR)).ok
    return rig
