"""Operators who break the glass, by the book (docs/operating/break-glass.md): the key, the permits, and who is stopped.

Rule: a permit is used only after every other site was stopped with all its hosts and copies. One that starts by itself
later is what the witnesses handle, so it may. What was lost under a permit is vouched for only while it is kept without
power, and permits that were made and not used are destroyed: nobody offers them again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proto.commands import Author, Reconcile
from proto.decisions import Reason
from proto.edge.permit_file import sign_permit
from proto.permit import AFTER_MS_MIN, EPOCH_LEAP, PERMIT_ID_BYTES, Permit
from proto.units import NS_PER_MS, Epoch, GroupId, SiteId, WallMs
from witness.core.effects import Outcome
from witness.sim.clock import WALL_AT_START_NS
from witness.sim.raft.setup import CLUSTER
from witness.sim.setup import Setup, rng_for

if TYPE_CHECKING:
    from witness.sim.machine import SimHost
    from witness.sim.site import SiteHost
    from witness.sim.world import World

AUTHOR = Author("operator-3", "the third location is gone")
LIFETIME_MS = 3_600_000


def with_permits(setup: Setup, after_ms: int = AFTER_MS_MIN) -> Setup:
    """Every group takes permits of this seed's key."""
    raw = _key(setup.seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    groups = (replace(one, break_glass_key=raw.hex(), break_glass_after_ms=after_ms) for one in setup.groups)
    return replace(setup, groups=tuple(groups))


def _key(seed: int, name: str = "key") -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(rng_for(seed, f"break-glass/{name}").randbytes(32))


class KeyHolder:
    """Owned by the world: `witness pki break-glass permit`, with a right key and with another one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._key = _key(world.setup.seed)
        self._other = _key(world.setup.seed, "other key")
        self._signed: dict[GroupId, int] = {}
        self.last = ""
        """The newest permit."""
        self._rng = rng_for(world.setup.seed, "break-glass/permits")

    def wall_ms(self) -> int:
        return (WALL_AT_START_NS + self._world.events.now_ns) // NS_PER_MS

    def permit(
        self, group: GroupId, site: SiteId, *, lifetime_ms: int = LIFETIME_MS, age_ms: int = 0, forged: bool = False
    ) -> str:
        """Above every epoch that any site shows, and above all that was signed before."""
        shown = [host.disk.bounds[group][0] for host in self._world.sites if group in host.disk.bounds]
        epoch = max(max(shown, default=0) + EPOCH_LEAP, self._signed.get(group, 0) + 1)
        self._signed[group] = epoch
        made_ms = self.wall_ms() - age_ms
        permit = Permit(
            cluster=CLUSTER,
            group=group,
            site=site,
            permit=self._rng.randbytes(PERMIT_ID_BYTES),
            epoch=Epoch(epoch),
            made_at_ms=WallMs(made_ms),
            use_by_ms=WallMs(made_ms + lifetime_ms),
        )
        self.last = sign_permit(permit, self._other if forged else self._key)
        return self.last


def machines_of(world: World, site: SiteHost) -> list[SimHost]:
    return [*world.members_of(site), site]


def stop(world: World, site: SiteHost) -> None:
    """All its hosts lose their power, and nobody but an operator gives it back."""
    for machine in machines_of(world, site):
        machine.kept_off = True
        if not machine.off:
            machine.power_off()


def start(world: World, site: SiteHost) -> None:
    for machine in machines_of(world, site):
        machine.kept_off = False
        if machine.off:
            machine.power_on()


def reconcile(world: World, group: GroupId, told: list[Reason]) -> None:
    """An operator asks the witness that leads to go on; what it answered is appended."""

    def answered(outcome: Outcome) -> None:
        told.append(outcome.reason)

    for host in world.witnesses.values():
        if host.node is not None and host.node.consensus.leading:
            host.submit(Reconcile(group, AUTHOR), answered)
