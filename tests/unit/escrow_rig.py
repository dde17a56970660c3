"""A group with one license in escrow, at feature level 2: who puts what, and what each site says that it holds."""

from __future__ import annotations

from dataclasses import replace

from core_rig import AUTHOR, A, B, G, Rig, config, report, token

from proto.commands import ConfigureGroup, PutEscrow, RaiseFeatureLevel, WaiveEscrow
from proto.health import HealthReport, SiteState
from proto.license import EscrowPolicy, EscrowVersion, LicenseReport, LicenseSpec, SealedKey
from proto.units import Claim, Epoch, Incarnation, LicenseName, SiteId
from witness.core.effects import Outcome

KEY = LicenseName("fingerprint")
REQUIRED = (LicenseSpec(KEY),)


def version(epoch: int, number: int) -> EscrowVersion:
    return EscrowVersion(Epoch(epoch), number)


def sealed(epoch: int, number: int, box: bytes = b"box") -> SealedKey:
    return SealedKey(version(epoch, number), "0a1b2c3d", b"n" * 12, box.ljust(40, b"."))


def licensed(held: EscrowVersion | None = None, *, active: bool | None = None, problem: str = "") -> LicenseReport:
    return LicenseReport(KEY, held, active, problem)


class EscrowRig(Rig):
    """A holds epoch `self.epoch`; both sites know the license and hold nothing."""

    def __init__(self, policy: EscrowPolicy = EscrowPolicy.REQUIRED, *sites: SiteId, hold: bool = True) -> None:
        super().__init__()
        assert self.one(RaiseFeatureLevel(2)).ok
        wanted = config(licenses=(LicenseSpec(KEY, policy),), sites=sites or (A, B))
        assert self.one(ConfigureGroup(wanted, 1, AUTHOR)).ok
        self.held: dict[SiteId, EscrowVersion | None] = dict.fromkeys(wanted.sites)
        for site in wanted.sites:
            self.say(site)
        if hold:
            self.take(A)

    @property
    def epoch(self) -> int:
        return int(self.group.epoch)

    def said(self, site: SiteId, *licenses: LicenseReport, **fields) -> HealthReport:
        told = licenses or (licensed(self.held[site]),)
        base = {"group_version": self.group.version, "store_id": token(f"store-{site}"), "licenses": told}
        return report(**{**base, **fields})

    def say(self, site: SiteId, *licenses: LicenseReport, epoch: int = 0, **fields):
        """Dormant, unless it names an epoch."""
        where = {"state": SiteState.ACTIVE, "epoch_bound": Epoch(epoch)} if epoch else {}
        told = self.said(site, *licenses, **{"finished_epoch": Epoch(0 if epoch else self.epoch), **where, **fields})
        claim = token(f"claim-{site}-{epoch}") if epoch else bytes(16)
        return self.beat(site, epoch=epoch, claim=claim, said=told)

    def take(self, site: SiteId) -> int:
        """Granted and claimed."""
        assert self.one(self.grant_command(site)).ok
        assert self.say(site, epoch=self.epoch).renewal == 1
        return self.epoch

    def put_command(self, value: SealedKey, site: SiteId = A, **changes) -> PutEscrow:
        claim = Claim(token(f"claim-{site}-{value.version.epoch}"))
        return replace(PutEscrow(G, site, Incarnation(token("i1")), claim, KEY, value), **changes)

    def put(self, value: SealedKey, site: SiteId = A, **changes) -> Outcome:
        return self.one(self.put_command(value, site, **changes))

    def kept(self) -> SealedKey | None:
        record = self.group.escrow.kept.get(KEY)
        return None if record is None else record.sealed

    def end(self, site: SiteId = A) -> None:
        """Released, verified down."""
        claim = Claim(token(f"claim-{site}-{self.epoch}"))
        assert self.one(self.release_command(site=site, claim=claim)).ok

    def waive(self, newest: EscrowVersion, reason: str = "the key was lost") -> Outcome:
        return self.one(WaiveEscrow(G, KEY, newest, replace(AUTHOR, reason=reason)))
