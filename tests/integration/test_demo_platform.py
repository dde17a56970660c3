"""The demo's vendor and platform as real processes: what they prove rests on them being sound."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from witness.demo.layout import HOST, PROGRAM, Ports

WAIT_S = 20.0
pytestmark = pytest.mark.process


async def run(*arguments: object, env: dict[str, str] | None = None) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        str(PROGRAM),
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=env,
    )
    async with asyncio.timeout(WAIT_S):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


class Vendor:
    """The license server, and looks at its verdict."""

    def __init__(self, session: aiohttp.ClientSession, port: int, log: Path) -> None:
        self.session = session
        self.port = port
        self.log = log

    async def verdict(self) -> dict:
        async with self.session.get(f"http://{HOST}:{self.port}/verdict?key=k") as answer:
            return await answer.json()

    async def post(self, path: str, body: object) -> tuple[int, str]:
        async with self.session.post(f"http://{HOST}:{self.port}/{path}", data=json.dumps(body)) as answer:
            return answer.status, await answer.text()

    async def signs(self, count: int) -> dict:
        """The newest life once it gave so many signs."""
        async with asyncio.timeout(WAIT_S):
            while True:
                lives = (await self.verdict())["lives"]
                if lives and lives[-1]["signs"] >= count:
                    return lives[-1]
                await asyncio.sleep(0.02)


@pytest.fixture
async def vendor(tmp_path):
    ports = Ports()
    port = ports.take()
    ports.release()
    log = tmp_path / "signs.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "witness.demo.license_server", "--port", str(port), "--log", str(log)
    )
    async with aiohttp.ClientSession() as session:
        found = Vendor(session, port, log)
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    try:
                        await found.verdict()
                        break
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.05)
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(WAIT_S):
                assert await process.wait() == 0


@pytest.fixture
async def place(tmp_path):
    """A data directory and a port; whatever still runs there is stopped at the end."""
    ports = Ports()
    port = ports.take()
    ports.release()
    data = tmp_path / "data"
    data.mkdir()
    yield data, port
    await run("stop", data)


async def test_it_serves_gives_signs_and_gives_its_license_back(vendor, place):
    data, port = place
    code, said = await run("start", data, port, vendor.port, "k", "dc-a", 7)
    assert code == 0, said
    life = await vendor.signs(5)
    assert (life["site"], life["epoch"], life["deactivated"]) == ("dc-a", 7, False)
    async with vendor.session.get(f"http://{HOST}:{port}/healthz") as page:
        assert page.headers["X-Epoch"] == "7"
        assert life["instance"] in await page.text()
    assert (await run("stop", data))[0] == 0
    verdict = await vendor.verdict()
    assert verdict["lives"][0]["deactivated"]
    assert verdict["alarms"] == []
    logged = [json.loads(line) for line in vendor.log.read_text(encoding="utf-8").splitlines()]
    assert logged[0]["kind"] == "activate"
    assert logged[-1]["kind"] == "deactivate"
    assert all(one["at_ns"] <= other["at_ns"] for one, other in itertools.pairwise(logged))


async def test_starting_and_stopping_twice_does_no_harm(vendor, place):
    data, port = place
    assert (await run("stop", data)) == (0, "platform: nothing runs\n")
    assert (await run("start", data, port, vendor.port, "k", "dc-a", 1))[0] == 0
    code, said = await run("start", data, port, vendor.port, "k", "dc-a", 1)
    assert (code, said) == (0, "platform: serving already\n")
    code, said = await run("start", data, port, vendor.port, "k", "dc-a", 2)
    assert code == 1, "another epoch is no repetition"
    assert "still runs" in said
    assert (await run("stop", data))[0] == 0
    assert (await run("stop", data))[0] == 0
    assert (await vendor.verdict())["activations"] == 1


async def test_the_epoch_comes_from_the_steps_environment(vendor, place):
    data, port = place
    code, said = await run("start", data, port, vendor.port, "k", "dc-a", env={"THIRDSITE_EPOCH": "42"})
    assert code == 0, said
    assert (await vendor.signs(1))["epoch"] == 42


async def test_a_killed_platform_is_free_to_start_again_elsewhere(vendor, place):
    data, port = place
    assert (await run("start", data, port, vendor.port, "k", "dc-a", 1))[0] == 0
    pid = int((data / "service.lock").read_text(encoding="ascii").split()[0])
    os.kill(pid, signal.SIGKILL)
    for _ in range(100):
        if (await run("start", data, port, vendor.port, "k", "dc-a", 2))[0] == 0:
            break
    assert await vendor.signs(2)
    verdict = await vendor.verdict()
    assert (verdict["activations"], verdict["overlap_s"]) == (2, 0)


async def test_without_its_vendor_it_does_not_start(place):
    data, port = place
    ports = Ports()
    nobody = ports.take()
    ports.release()
    code, said = await run("start", data, port, nobody, "k", "dc-a", 1)
    assert code == 1
    assert said.startswith("platform: ")


async def test_the_vendor_sees_two_at_once(vendor):
    def body(instance: str, site: str, epoch: int) -> dict:
        return {"key": "k", "instance": instance, "site": site, "epoch": epoch}

    assert (await vendor.post("activate", body("one", "dc-a", 1)))[0] == 200
    assert (await vendor.post("activate", body("two", "dc-b", 2)))[0] == 200
    status, said = await vendor.post("alive", body("one", "dc-a", 1))
    assert status == 200, "it records, it does not prevent"
    assert "alive at once" in said
    verdict = await vendor.verdict()
    assert [alarm["kind"] for alarm in verdict["alarms"]] == ["overlap"]


@pytest.mark.parametrize("body", [None, [], {}, {"key": "k", "instance": "", "site": "s", "epoch": 1}])
async def test_the_vendor_refuses_what_is_no_sign(vendor, body):
    assert (await vendor.post("alive", body))[0] == 400


async def test_the_vendor_refuses_an_epoch_that_is_no_number(vendor):
    for epoch in ("1", True, -1, 1.5):
        assert (await vendor.post("alive", {"key": "k", "instance": "i", "site": "s", "epoch": epoch}))[0] == 400
