"""A license whose key changes under two real sites and three real witnesses: restored, never dead, never twice.

The vendor's server is a directory: the one valid key, and what ever happened. The platform exchanges its key at each
start, as its vendor wants it. A key that is not the valid one ends the license for good.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from two_sites import A, B, TwoSites

from agents.license.key_file import KeyRing, draw_key, save_ring

TTL_MS = 8_000

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

PLATFORM = """
set -eu
vendor={vendor} place={place} site={site}
exec 9> "$vendor/lock"; flock 9
key=$(cat "$place")
if [ "$key" != "$(cat "$vendor/valid")" ]; then
    echo "$site refused" >> "$vendor/history"; echo DEAD > "$vendor/valid"; exit 1
fi
new="KEY-$site-$(date +%s%N)"
echo "$new" > "$vendor/valid"; echo "$new" > "$place.new"; mv "$place.new" "$place"
echo "$site activated" >> "$vendor/history"
touch {activated}
( exec 9>&-; while :; do date +%s%N >> {stamps}; sleep 0.05; done ) &
"""


class Licensed(TwoSites):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory, TTL_MS)
        self.more = {"licenses": [{"name": "fingerprint", "escrow": "required"}]}
        self.vendor = directory / "vendor"
        self.vendor.mkdir()
        (self.vendor / "valid").write_text("KEY-0\n")
        self._ring = KeyRing((draw_key(),))

    def place(self, site: str) -> Path:
        return self.directory / f"{site}-place" / "key"

    def activated(self, site: str) -> Path:
        return self.directory / f"{site}-activated"

    async def _configure(self, site: str, other: str, listen: dict[str, int]) -> None:
        await super()._configure(site, other, listen)
        self.place(site).parent.mkdir()
        self.place(site).write_text("KEY-0\n")
        key_file = self.directory / f"{site}.sealing"
        save_ring(key_file, self._ring)
        path = self.directory / f"{site}.yaml"
        config = json.loads(path.read_text())
        script = PLATFORM.format(
            vendor=self.vendor,
            place=self.place(site),
            site=site,
            activated=self.activated(site),
            stamps=self.stamps(site),
        )
        where = {"kind": "file", "path": str(self.place(site))}
        (group,) = config["groups"]
        group["activation"]["steps"] = [{"name": "start", "command": ["/bin/sh", "-c", script]}]
        group["licenses"] = [
            {
                "name": "fingerprint",
                "key_file": str(key_file),
                "source": where,
                "sink": where,
                "watch": "200ms",
                "deactivate": ["/bin/rm", "-f", str(self.activated(site))],
                "probe": {"command": ["/usr/bin/test", "-e", str(self.activated(site))], "interval": "500ms"},
            }
        ]
        path.write_text(json.dumps(config), encoding="utf-8")

    def exchange(self, site: str) -> str:
        """What the running platform does every few days."""
        key = f"KEY-{site}-later"
        (self.vendor / "valid").write_text(key + "\n")
        self.place(site).write_text(key + "\n")
        return key

    def license(self, site: str) -> dict:
        (one,) = self.look(site).get("licenses") or ({"held": "", "problem": "", "unsent": True},)
        return dict(one)

    def history(self) -> list[str]:
        path = self.vendor / "history"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[Licensed]:
    made = Licensed(tmp_path)
    try:
        await made.begin()
        yield made
    finally:
        await made.end()


async def test_the_key_that_changed_just_before_goes_with_the_lease(sites: Licensed) -> None:
    await sites.until(lambda: sites.license(B)["held"] == sites.license(A)["held"] != "none", "dc-b holds the key")
    assert sites.history() == [f"{A} activated"]

    key = sites.exchange(A)
    before = sites.license(B)["held"]
    await sites.until(lambda: sites.license(B)["held"] > before, "dc-b holds the new key", 20)
    assert sites.place(B).read_text().strip() == "KEY-0", "its replica is behind"

    sites.cut(*sites.to_witnesses(A), f"{A} {B}", f"{B} {A}")
    await sites.until(lambda: sites.look(B)["state"] == "active", "dc-b is active")
    assert sites.history()[:2] == [f"{A} activated", f"{B} activated"]
    await sites.until(lambda: sites.signs(B), "dc-b runs")
    assert max(sites.signs(A)) < min(sites.signs(B)), "never both at once"
    assert key not in (sites.directory / f"{B}.log").read_text()

    sites.mend(*sites.paths)
    await sites.until(lambda: sites.look(A)["state"] in ("fenced", "standby"), "dc-a is verified down")
    assert not sites.activated(A).exists(), "its end deactivated the license"
    await sites.until(
        lambda: sites.license(A)["held"] == sites.license(B)["held"] and not sites.license(B)["unsent"], "both know it"
    )

    sites.activated(A).touch()
    await sites.until(lambda: not sites.activated(A).exists(), "dc-a fenced what was activated while dormant", 20)
    await sites.until(lambda: "activated here though nothing may run" in sites.log(A), "it was told", 5)
    await sites.until(lambda: sites.look(A)["ready"] is True and not sites.look(A)["blockers"], "dc-a is ready again")
    assert sites.look(B)["state"] == "active"

    for _ in range(100):
        code, said = await sites.cluster.ctl("switchover", "shop", "--to", A, "--reason", "back")
        if code == 0:
            break
        await asyncio.sleep(0.2)
    assert code == 0, json.dumps(said)
    await sites.until(lambda: sites.look(A)["state"] == "active", "dc-a is active again")
    assert sites.history()[-1] == f"{A} activated"
    assert not [line for line in sites.history() if "refused" in line], "the vendor saw no dead key"
    for path in sites.directory.rglob("*"):
        if path.is_file() and "KEY-dc-" in path.read_bytes().decode("utf-8", "replace"):
            assert path.parent in (sites.vendor, sites.place(A).parent, sites.place(B).parent), path
