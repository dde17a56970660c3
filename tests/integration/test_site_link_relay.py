"""A site that is cut off from the witnesses alone goes on through the other site; cut off from both it is fenced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from two_sites import A, B, TwoSites

TTL_MS = 6_000
KEEP_S = 20.0
"""A relay ends five seconds after a direct stream is back; opening one may take three."""

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[TwoSites]:
    made = TwoSites(tmp_path, TTL_MS)
    try:
        await made.begin()
        yield made
    finally:
        await made.end()


async def test_a_site_without_witnesses_goes_on_through_the_other_site(
    sites: TwoSites, record_property: pytest.RecordProperty
) -> None:
    epoch = sites.look(A)["epoch"]

    def goes_on() -> bool:
        one = sites.look(A)
        return one["active"] is True and one["epoch"] == epoch and sites.look(B)["state"] == "standby"

    sites.cut(*sites.to_witnesses(A))
    took_ms = await sites.until(lambda: sites.via(A) == B, "renewals go through dc-b", TTL_MS / 1_000)
    record_property("first_relayed_renewal_ms", took_ms)
    print(f"first relayed renewal {took_ms} ms after the cut, ttl {TTL_MS} ms")
    await sites.throughout(goes_on, "dc-a is active in its epoch, dc-b stands by", 2 * TTL_MS / 1_000)
    (peer,) = sites.status(B)["site_link"]["peers"]
    assert sorted(peer["carried"]) == ["w1", "w2", "w3"]
    code, shown = await sites.cluster.ctl("status", "shop")
    assert code == 0
    assert (shown["holder"], shown["epoch"]) == (A, epoch), shown

    sites.mend(*sites.to_witnesses(A))
    await sites.until(lambda: sites.via(A) is None, "the witnesses answer directly again")
    await sites.until(lambda: not sites.status(A)["relay"]["streams"], "the relay is over", KEEP_S)
    assert goes_on()

    sites.cut(*sites.to_witnesses(A), f"{A} {B}", f"{B} {A}")
    await sites.until(lambda: sites.look(B)["active"] is True, "dc-b takes over")
    assert sites.look(A)["state"] in ("fenced", "standby", "fencing")
    assert sites.look(B)["epoch"] > epoch
    assert max(sites.signs(A)) < min(sites.signs(B)), "never both at once"
