"""What is kept for holds: read back as it was, of another boot without its instants, damaged as if it was missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agents.core.promise import Promise
from agents.holds_store import HoldsStore
from proto.groups import WitnessLoss
from proto.lease import LeaseConstants
from proto.messages import GroupSites
from proto.permit import PermitTerms
from proto.units import Chain, Claim, Epoch, GroupId, Incarnation, InstantNs, SiteId

SHOP, MAIL = GroupId("shop"), GroupId("mail")
CONSTANTS = LeaseConstants(10_000, 10_000, 500)
PROMISE = Promise(
    site=SiteId("dc-a"),
    incarnation=Incarnation(b"i" * 16),
    epoch=Epoch(7),
    claim=Claim(b"c" * 16),
    number=3,
    chain=Chain(b"h" * 16),
    constants=CONSTANTS,
    until=InstantNs(10**12),
    until_raw_ns=10**12 + 1,
)
TERMS = PermitTerms("ab" * 32, 20_000)
SITES = GroupSites(SHOP, 4, (SiteId("dc-a"), SiteId("dc-b")), WitnessLoss.HOLD, CONSTANTS, TERMS, CONSTANTS)


def store(directory: Path, boot: str = "one") -> HoldsStore:
    return HoldsStore(directory, (SHOP, MAIL), boot)


def test_nothing_is_there_at_first(tmp_path: Path) -> None:
    assert (dict(store(tmp_path).promises), dict(store(tmp_path).sites)) == ({}, {})


@pytest.mark.parametrize("promise", [PROMISE, dataclasses.replace(PROMISE, over=True)])
@pytest.mark.parametrize("sites", [SITES, dataclasses.replace(SITES, wait=None, witness_loss=WitnessLoss.FENCE)])
def test_what_was_stored_is_read_back(tmp_path: Path, promise: Promise, sites: GroupSites) -> None:
    written = store(tmp_path)
    written.store_promise(SHOP, promise)
    written.store_sites(SHOP, sites)
    read = store(tmp_path)
    assert dict(read.promises) == {SHOP: promise}
    assert dict(read.sites) == {SHOP: sites}
    assert (tmp_path / "shop.promise").stat().st_mode & 0o777 == 0o600


def test_instants_of_another_boot_mean_nothing(tmp_path: Path) -> None:
    store(tmp_path).store_promise(SHOP, PROMISE)
    read = store(tmp_path, boot="two").promises[SHOP]
    assert read == dataclasses.replace(PROMISE, until=InstantNs(0), until_raw_ns=0)


@pytest.mark.parametrize("kind", ["promise", "sites"])
def test_what_is_damaged_or_of_another_group_is_as_if_it_was_missing(tmp_path: Path, kind: str) -> None:
    written = store(tmp_path)
    written.store_promise(SHOP, PROMISE)
    written.store_sites(SHOP, SITES)
    path = tmp_path / f"shop.{kind}"
    whole = path.read_bytes()
    for data in (b"", b"{}", b"[1]", whole[:-20], whole.replace(b"10000", b"99999"), b"x" * 5_000):
        path.write_bytes(data)
        assert SHOP not in getattr(store(tmp_path), "promises" if kind == "promise" else "sites")
    (tmp_path / f"mail.{kind}").write_bytes(whole)
    assert MAIL not in getattr(store(tmp_path), "promises" if kind == "promise" else "sites")
