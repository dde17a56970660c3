"""The stand-in for Navixy on its real database: slow to be up, its key changes, and an old key is the end of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from free_ports import free_ports
from maria_rig import DEPLOY, MariaServer, forget_seed, needs_mariadb, two_servers
from navixy_vendor import Vendor

__all__ = ["forget_seed"]  # a fixture

pytestmark = [pytest.mark.process, needs_mariadb]
STAND_IN = Path(__file__).with_name("navixy_stand_in.py")
START_S = 1.5
WAIT_S = 30.0


class StandIn:
    """One site's platform."""

    def __init__(self, directory: Path, site: str, server: MariaServer, vendor: Vendor) -> None:
        self.directory = directory / site
        self.directory.mkdir()
        ports = dict(zip(("api-server", "sms-server", "tcp-server"), free_ports(3), strict=True))
        said = {"db": str(server.navixy_db), "vendor": vendor.url, "site": site, "ports": ports}
        (self.directory / "platform.json").write_text(json.dumps({**said, "start_s": START_S, "exchange_s": 600}))

    async def run(self, verb: str) -> str:
        command = [sys.executable, str(STAND_IN), verb, str(self.directory)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=WAIT_S)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    async def up(self, wait_s: float) -> tuple[int, str]:
        """By the product's own check."""
        command = [sys.executable, str(DEPLOY / "navixy_check.py"), "--wait", str(wait_s), "--need", "tcp-server", "--"]
        command += [sys.executable, str(STAND_IN), "check", str(self.directory)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=WAIT_S)
        return done.returncode, str(done.stdout + done.stderr).strip()

    def log(self, name: str = "api-server") -> str:
        return (self.directory / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[MariaServer, MariaServer]]:
    with two_servers() as made:
        for server in made:
            assert server.db("promote", 1)[0] == 0
        yield made


@pytest.fixture
def servers(started: tuple[MariaServer, MariaServer]) -> tuple[MariaServer, MariaServer]:
    """Two that know nothing of each other: the second is a copy of before the first exchange."""
    for server in started:
        server.sql("UPDATE google.variables SET value = 'key-1' WHERE var = 'fingerprint'")
    return started


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    made = Vendor("key-1")
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def until(condition: object, what: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await asyncio.to_thread(condition):  # type: ignore[arg-type]  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def test_it_starts_slowly_changes_its_key_and_is_dead_with_an_old_one(
    tmp_path: Path, servers: tuple[MariaServer, MariaServer], vendor: Vendor
) -> None:
    first, copy = (StandIn(tmp_path, site, server, vendor) for site, server in zip("ab", servers, strict=True))
    try:
        await first.run("start")
        code, said = await first.up(0)
        assert code == 1, "it is not up yet"
        assert "stopped" in said
        assert await first.up(WAIT_S) == (0, "up")
        assert (vendor.exchanges, [site for site, _ in vendor.activations]) == (1, ["a"])
        assert servers[0].key() == vendor.key != "key-1"
        (first.directory / "exchange").touch()
        await until(lambda: vendor.exchanges == 2, "asked, it exchanges")
        await until(lambda: servers[0].key() == vendor.key, "the new key is in the row")
        await first.run("stop")
        assert vendor.violations == []
        # A copy of the database from before the exchanges: what a replica that fell behind is.
        await copy.run("start")
        await until(lambda: vendor.violations == ["old key from b"], "the vendor saw it")
        await until(lambda: "no longer valid" in copy.log(), "the platform ended")
        code, said = await copy.up(0)
        assert (code, "api-server: stopped" in said) == (1, True)
        assert vendor.dead, "and the good key is dead as well"
    finally:
        await first.run("stop")
        await copy.run("stop")


async def test_the_vendor_sees_a_second_instance_though_its_key_is_the_newest(
    tmp_path: Path, servers: tuple[MariaServer, MariaServer], vendor: Vendor
) -> None:
    first, second = (StandIn(tmp_path, site, server, vendor) for site, server in zip("ab", servers, strict=True))
    try:
        await first.run("start")
        await until(lambda: servers[0].key() == vendor.key != "key-1", "the new key is in the row")
        servers[1].sql(f"UPDATE google.variables SET value = '{vendor.key}'")
        await second.run("start")
        await until(lambda: vendor.violations == ["second instance at b"], "the vendor saw it")
        await until(lambda: "no longer valid" in first.log(), "the first one is ended by its vendor, too")
        await until(lambda: "no longer valid" in second.log(), "and so is the second one")
        assert vendor.dead
        assert [site for site, _ in vendor.activations] == ["a"], "only the first one was ever let in"
    finally:
        await first.run("stop")
        await second.run("stop")
