"""What load balancers see: 200 only with authority on a fresh reading of the clock."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agents.local.client import AgentUnreachable, agent_status
from agents.local.endpoint import Looks, build_app
from agents.local.server import LocalServer
from agents.settings import Endpoint
from proto.errors import BadValue
from proto.units import GroupId

ACTIVE = {"state": "active", "active": True, "epoch": 7, "remaining_ms": 1_500}


class World:
    def __init__(self, directory: Path) -> None:
        self.views: dict[GroupId, dict[str, Any]] = {GroupId("shop"): dict(ACTIVE)}
        self.socket = directory / "status.sock"
        self.asked: list[tuple[str, ...]] = []
        looks = Looks(
            group=self.views.get,
            groups=lambda: tuple(self.views),
            status=lambda: {"site": "dc-a"},
            metrics=lambda: (b"one 1\n", "text/plain; version=0.0.4; charset=utf-8"),
            use_permit=self.use_permit,
            end_permit=lambda group: self.asked.append((group,)) or "",
        )
        self.server = LocalServer(build_app(looks), Endpoint("127.0.0.1", 0), self.socket)

    async def use_permit(self, group: GroupId, text: str, phrase: str) -> str:
        self.asked.append((group, text, phrase))
        return "" if phrase == "yes" else "the phrase is wrong"

    async def post(self, body: bytes, *, unix: bool = True) -> tuple[int, str]:
        connector = aiohttp.UnixConnector(str(self.socket)) if unix else aiohttp.TCPConnector()
        host = "localhost" if unix else f"127.0.0.1:{self.port}"
        url = f"http://{host}/v1/groups/shop/break-glass"
        async with aiohttp.ClientSession(connector=connector) as session, session.post(url, data=body) as answer:
            return answer.status, await answer.text()

    @property
    def port(self) -> int:
        return int(self.server._servers[1].sockets[0].getsockname()[1])

    async def ask(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
            return answer.status, dict(answer.headers), await answer.text()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.server.start()
    yield made
    await made.server.close()
    assert not made.socket.exists()


async def test_active_is_200_with_epoch_and_what_is_left(world: World) -> None:
    for path in ("/", "/v1/groups/shop"):
        status, headers, body = await world.ask(path)
        assert (status, headers["Thirdsite-Epoch"], headers["Thirdsite-Remaining-Ms"]) == (200, "7", "1500")
        assert headers["Cache-Control"] == "no-store"
        assert headers["Thirdsite-Authority"] == "lease"
        assert json.loads(body) == {"group": "shop", "active": True, "state": "active", "authority": "lease"}
    assert (await world.ask("/", "HEAD"))[0] == 200


@pytest.mark.parametrize(
    "view",
    [
        ACTIVE | {"active": False},
        ACTIVE | {"remaining_ms": 0},
        ACTIVE | {"state": "activating", "active": False},
        ACTIVE | {"active": None},
    ],
)
async def test_everything_else_is_503(world: World, view: dict[str, Any]) -> None:
    world.views[GroupId("shop")] = view
    status, headers, body = await world.ask("/")
    assert (status, headers["Thirdsite-Epoch"], headers["Thirdsite-Remaining-Ms"]) == (503, "0", "0")
    assert json.loads(body)["active"] is False


async def test_authority_by_a_permit_is_said(world: World) -> None:
    world.views[GroupId("shop")] = ACTIVE | {"permit": {"under": {"permit": "00", "epoch": 7}}}
    status, headers, body = await world.ask("/")
    assert (status, headers["Thirdsite-Authority"], json.loads(body)["authority"]) == (200, "permit", "permit")
    world.views[GroupId("shop")] |= {"active": False}
    assert (await world.ask("/"))[1]["Thirdsite-Authority"] == "none"


async def test_a_permit_is_taken_on_the_unix_socket_alone(world: World) -> None:
    body = json.dumps({"permit": "text", "confirm": "yes"}).encode()
    assert (await world.post(body, unix=False))[0] == 404
    assert world.asked == []
    assert (await world.post(body))[0] == 200
    assert (await world.post(json.dumps({"end": True}).encode()))[0] == 200
    assert world.asked == [("shop", "text", "yes"), ("shop",)]
    refused = await world.post(json.dumps({"permit": "text", "confirm": "no"}).encode())
    assert (refused[0], json.loads(refused[1])["error"]) == (409, "the phrase is wrong")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"permit": 1, "confirm": "yes"}', b"x" * 5_000])
async def test_what_is_no_permit_is_refused_before_it_reaches_anybody(world: World, body: bytes) -> None:
    assert (await world.post(body))[0] in (400, 413)
    assert world.asked == []


async def test_what_is_not_there_is_404(world: World) -> None:
    assert (await world.ask("/v1/groups/other"))[0] == 404
    assert (await world.ask("/v1/groups/shop", "POST"))[0] == 405
    world.views[GroupId("other")] = dict(ACTIVE)
    status, _, body = await world.ask("/")
    assert (status, "serves 2 groups" in body) == (404, True)


async def test_metrics_and_status(world: World) -> None:
    assert (await world.ask("/metrics"))[2] == "one 1\n"
    assert json.loads((await world.ask("/status"))[2]) == {"site": "dc-a"}


async def test_the_socket_is_for_this_user_alone(world: World) -> None:
    import asyncio

    assert stat.S_IMODE(world.socket.stat().st_mode) == 0o600
    assert await asyncio.to_thread(agent_status, world.socket) == {"site": "dc-a"}


def test_no_agent_is_told(tmp_path: Path) -> None:
    with pytest.raises(AgentUnreachable, match="is it running"):
        agent_status(tmp_path / "status.sock")


async def test_an_address_that_is_taken_is_refused_with_the_field(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    other.socket.parent.mkdir()
    other.server._http = Endpoint("127.0.0.1", world.port)
    with pytest.raises(BadValue, match=r"local\.http"):
        await other.server.start()
    await other.server.close()


async def test_a_site_that_lives_on_holds_says_so(world: World) -> None:
    world.views[GroupId("shop")] |= {"holds": {"on": True}}
    status, headers, body = await world.ask("/")
    assert (status, headers["Thirdsite-On-Holds"], json.loads(body)["on_holds"]) == (200, "1", True)
    world.views[GroupId("shop")] |= {"holds": {"on": False}}
    _, headers, body = await world.ask("/")
    assert "Thirdsite-On-Holds" not in headers
    assert "on_holds" not in json.loads(body)
