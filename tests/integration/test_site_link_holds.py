"""The third location is gone: the active site goes on by the other site's holds, and ends when those end too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from two_sites import A, B, TwoSites

TTL_MS = 12_000

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[TwoSites]:
    made = TwoSites(tmp_path, TTL_MS)
    try:
        await made.begin()
        known = [A, B]
        await made.until(lambda: made.look(A)["sites"] == made.look(B)["sites"] == known, "the sites are known")
        yield made
    finally:
        await made.end()


def third_location(sites: TwoSites) -> tuple[str, ...]:
    return (*sites.to_witnesses(A), *sites.to_witnesses(B))


def lives_on_holds(sites: TwoSites, epoch: int) -> bool:
    one = sites.look(A)
    return one["active"] is True and one["epoch"] == epoch and one["holds"]["on"] is True


async def test_holds_keep_the_site_active_and_a_new_epoch_comes_in_place(sites: TwoSites) -> None:
    epoch = sites.look(A)["epoch"]
    sites.cut(*third_location(sites))
    await sites.until(
        lambda: lives_on_holds(sites, epoch) and sites.holds(A)["round"] > 0, "dc-b holds", TTL_MS / 1_000
    )
    await sites.throughout(lambda: lives_on_holds(sites, epoch), "dc-a lives on holds", 2 * TTL_MS / 1_000)
    assert sites.holds(A)["said"] == {B: "held"}
    promised = sites.look(B)
    assert (promised["state"], promised["holds"]["promised_to"], promised["holds"]["promised_epoch"]) == (
        "standby",
        A,
        epoch,
    )
    assert 0 < promised["holds"]["claims_in_ms"] <= 2 * TTL_MS

    sites.mend(*third_location(sites))
    await sites.until(lambda: sites.look(A)["epoch"] > epoch, "dc-a is granted a new epoch in place")
    assert sites.look(A)["active"] is True
    assert not sites.holds(A)["on"]
    assert sites.signs(B) == [], "nothing ever ran at dc-b"
    gaps = [late - early for early, late in zip(sites.signs(A), sites.signs(A)[1:], strict=False)]
    assert max(gaps) < TTL_MS * 1_000_000, "the platform was not stopped"


async def test_without_witnesses_and_other_site_it_is_fenced_in_time(sites: TwoSites) -> None:
    epoch = sites.look(A)["epoch"]
    sites.cut(*third_location(sites))
    await sites.until(
        lambda: lives_on_holds(sites, epoch) and sites.holds(A)["round"] > 0, "dc-b holds", TTL_MS / 1_000
    )
    sites.cut(f"{A} {B}", f"{B} {A}")
    took_ms = await sites.until(
        lambda: sites.look(A)["active"] is not True, "dc-a is no longer active", TTL_MS / 1_000 + 1
    )
    print(f"no longer active {took_ms} ms after the link was cut, ttl {TTL_MS} ms")
    await sites.until(lambda: sites.look(A)["state"] in ("fenced", "standby"), "dc-a is verified down")
    assert sites.look(B)["state"] == "standby"

    sites.mend(*sites.paths)
    active = await sites.until(
        lambda: sites.look(A)["active"] is True or sites.look(B)["active"] is True, "one is active"
    )
    print(f"one active {active} ms after everything is back")
    await sites.throughout(
        lambda: not (sites.look(A)["active"] and sites.look(B)["active"]), "never two", TTL_MS / 1_000
    )
    if sites.signs(B):
        assert max(sites.signs(A)) < min(sites.signs(B)), "never both at once"
