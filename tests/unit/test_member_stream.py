"""The member's stream to its lead: another instance speaks over a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from agents.client.backoff import Backoff
from agents.member.stream import LeadStream
from proto.member_codec import LEAD_MESSAGES, MEMBER_MESSAGES
from proto.member_messages import MEMBER_PROTOCOL, LeadMessage, LeadWelcome, MemberAsk, MemberHello, MemberMessage
from proto.units import ClusterId, MemberName, Nonce, SiteId, WitnessId

SITE, CLUSTER = SiteId("dc-a"), ClusterId("0" * 32)


class Wire:
    """One connection to a lead that greets, and then listens."""

    def __init__(self, welcome: asyncio.Event) -> None:
        self.heard: list[MemberMessage] = []
        self.closed = False
        self._welcome = welcome
        self._greeted = False

    async def send(self, frame: bytes) -> None:
        self.heard.append(MEMBER_MESSAGES.decode(frame))

    async def receive(self) -> bytes:
        if self._greeted:
            await asyncio.Event().wait()
        await self._welcome.wait()
        self._greeted = True
        return LEAD_MESSAGES.encode(LeadWelcome(SITE, CLUSTER))

    async def close(self) -> None:
        self.closed = True


class Wires:
    def __init__(self) -> None:
        self.made: list[Wire] = []
        self.welcome = asyncio.Event()
        self.welcome.set()

    async def connect(self, _witness: WitnessId) -> Wire:
        self.made.append(Wire(self.welcome))
        return self.made[-1]

    async def close(self) -> None:
        self.welcome.set()


class World:
    """Implements LeadEvents."""

    def __init__(self) -> None:
        self.instance = b"a" * 16
        self.events: list[str] = []
        self.wires = Wires()
        self.stream = LeadStream("lead", self.wires, self.hello, self, lambda: 0.0)

    def hello(self) -> MemberHello:
        return MemberHello(MEMBER_PROTOCOL, SITE, MemberName("db1"), CLUSTER, Nonce(self.instance), "1", (), 1)

    def stream_opened(self) -> None:
        self.events.append("opened")

    def stream_closed(self) -> None:
        self.events.append("closed")

    def received(self, message: LeadMessage) -> None:
        self.events.append(type(message).__name__)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what the stream does by itself has no event here
            await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda _self, *, refused: 0.0)


async def test_another_instance_speaks_over_a_new_connection_alone() -> None:
    world = World()
    running = asyncio.create_task(world.stream.run())
    await until(lambda: world.events == ["opened"])
    world.instance = b"b" * 16
    world.stream.reopen()
    assert not world.stream.send(MemberAsk(Nonce(bytes(16)), ()))
    await until(lambda: world.events == ["opened", "closed", "opened"])
    former, present = world.wires.made
    assert former.closed
    assert former.heard == [
        MemberHello(MEMBER_PROTOCOL, SITE, MemberName("db1"), CLUSTER, Nonce(b"a" * 16), "1", (), 1)
    ]
    assert present.heard == [world.hello()]
    running.cancel()


async def test_a_connection_that_was_greeted_as_the_former_instance_never_opens() -> None:
    world = World()
    world.wires.welcome.clear()
    running = asyncio.create_task(world.stream.run())
    await until(lambda: world.wires.made and world.wires.made[0].heard)
    world.instance = b"b" * 16
    world.stream.reopen()
    world.wires.welcome.set()
    await until(lambda: world.events == ["opened"])
    former, present = world.wires.made
    assert former.closed
    assert present.heard == [world.hello()]
    running.cancel()
