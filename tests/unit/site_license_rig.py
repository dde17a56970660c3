"""A license with memory places and real sealing keys, for tests of agents/license and of the core's rules."""

from __future__ import annotations

from pathlib import Path

from agents.license.by_file import FilePlace
from agents.license.keeper import LicenseKeeper
from agents.license.key_file import KeyRing, draw_key, save_ring
from agents.license.spec import PlaceKind, PlaceSpec, SiteLicense
from proto.license import EscrowPolicy, EscrowVersion, SealedKey
from proto.units import ClusterId, Epoch, GroupId, LicenseName, SiteId

G, L = GroupId("shop"), LicenseName("fingerprint")
CLUSTER, SITE = ClusterId("c" * 32), SiteId("dc-a")


def version(epoch: int, number: int) -> EscrowVersion:
    return EscrowVersion(Epoch(epoch), number)


def sealed(epoch: int, number: int, key_id: str = "0a1b2c3d") -> SealedKey:
    """For the core, which opens nothing."""
    return SealedKey(version(epoch, number), key_id, b"n" * 12, bytes([number % 256]) * 20)


class SiteOf:
    """One site's directory: its state, its key file, and the key in place as a file."""

    def __init__(self, root: Path, ring: KeyRing | None = None, **fields) -> None:
        self.root, self.cluster = root, CLUSTER
        root.mkdir(mode=0o700, exist_ok=True)
        self.ring = ring or KeyRing((draw_key(),))
        self.key_file = root / "sealing.key"
        save_ring(self.key_file, self.ring)
        self.place = root / "license"
        where = PlaceSpec(PlaceKind.FILE, 2_000, path=self.place)
        shape = {"source": where, "sink": where, "key_file": self.key_file, "step_timeout_ms": 3_000} | fields
        self.spec = SiteLicense(L, fields.pop("escrow", EscrowPolicy.REQUIRED), **shape)
        self.source = FilePlace(self.place, 2_000)

    def keeper(self) -> LicenseKeeper:
        """As after a start of the process."""
        return LicenseKeeper(self.cluster, G, self.spec, self.root)

    def put(self, key: str | None) -> None:
        if key is None:
            self.place.unlink(missing_ok=True)
        else:
            self.place.write_text(key + "\n")

    @property
    def key(self) -> str | None:
        return self.place.read_text().strip() if self.place.exists() else None
