"""Streams over the in-memory transport: handshake, goodbyes, back-off, bounds. No real time is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.client import streams as streams_module
from agents.client.backoff import FIRST_S, MAX_S, REFUSED_S, Backoff
from agents.client.memory import MemoryConnection, MemoryTransport
from agents.client.streams import QUEUE_FRAMES_MAX, WitnessStreams
from proto.codec import AGENT_MESSAGES, WITNESS_MESSAGES
from proto.messages import Goodbye, GoodbyeCode, Hello, Ping, Pong, Welcome, WitnessMessage
from proto.units import ClusterId, GroupId, Incarnation, Nonce, SiteId, WitnessId

W1, W2 = WitnessId("w1"), WitnessId("w2")
CLUSTER = ClusterId("0" * 32)
HELLO = Hello(SiteId("dc-a"), Incarnation(b"i" * 16), "1", CLUSTER, (GroupId("g"),))


class Events:
    def __init__(self) -> None:
        self.seen: asyncio.Queue[tuple[str, WitnessId, object]] = asyncio.Queue()

    def stream_opened(self, witness: WitnessId, leading: bool, via: SiteId | None = None) -> None:
        self.seen.put_nowait(("opened", witness, leading))

    def stream_closed(self, witness: WitnessId, via: SiteId | None = None) -> None:
        self.seen.put_nowait(("closed", witness, None))

    def received(self, witness: WitnessId, message: WitnessMessage, via: SiteId | None = None) -> None:
        self.seen.put_nowait(("received", witness, message))

    async def next(self) -> tuple[str, WitnessId, object]:
        return await asyncio.wait_for(self.seen.get(), 10)


class World:
    def __init__(self, *witnesses: WitnessId) -> None:
        self.transport = MemoryTransport()
        self.events = Events()
        self.streams = WitnessStreams(
            {witness: f"{witness}:1" for witness in witnesses},
            self.transport,
            lambda: HELLO,
            self.events,
            lambda: 0.0,
        )

    async def accept(self, witness: WitnessId, *, welcome: bool = True) -> MemoryConnection:
        end = await asyncio.wait_for(self.transport.accept(witness), 10)
        assert AGENT_MESSAGES.decode(await end.receive()) == HELLO
        if welcome:
            await end.send(WITNESS_MESSAGES.encode(Welcome(witness, CLUSTER, leading=True)))
            assert await self.events.next() == ("opened", witness, True)
        return end


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(W1)
    running = asyncio.create_task(made.streams.run())
    yield made
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_messages_go_both_ways(world: World) -> None:
    end = await world.accept(W1)
    ping = Ping(Nonce(b"n" * 16))
    assert world.streams.send(W1, ping)
    assert AGENT_MESSAGES.decode(await end.receive()) == ping
    pong = Pong(ping.nonce, leading=True, has_quorum=True)
    await end.send(WITNESS_MESSAGES.encode(pong))
    assert await world.events.next() == ("received", W1, pong)
    assert world.streams.status()["w1"]["state"] == "open"


async def test_a_lost_stream_comes_back(world: World) -> None:
    end = await world.accept(W1)
    await end.close()
    assert await world.events.next() == ("closed", W1, None)
    assert not world.streams.send(W1, Ping(Nonce(b"n" * 16)))
    await world.accept(W1)
    assert world.streams.status()["w1"]["opened"] == 2


@pytest.mark.parametrize("code", list(GoodbyeCode))
async def test_a_goodbye_is_shown_word_for_word(world: World, code: GoodbyeCode) -> None:
    end = await world.accept(W1, welcome=False)
    await end.send(WITNESS_MESSAGES.encode(Goodbye(code, "dc-a is another's name")))
    with pytest.raises(streams_module.ConnectionLost):
        await end.receive()
    await asyncio.sleep(0)
    status = world.streams.status()["w1"]
    assert "dc-a is another's name" in str(status["problem"])
    assert status["goodbye"] == code.value
    assert status["remedy"]
    assert world.events.seen.empty(), "a stream that was never welcome was never open"


async def test_a_witness_of_another_cluster_is_refused(world: World) -> None:
    end = await world.accept(W1, welcome=False)
    await end.send(WITNESS_MESSAGES.encode(Welcome(W2, CLUSTER, leading=False)))
    with pytest.raises(streams_module.ConnectionLost):
        await end.receive()
    await asyncio.sleep(0)
    assert "leads to witness w2" in str(world.streams.status()["w1"]["problem"])


async def test_a_bad_frame_ends_the_stream_only(world: World) -> None:
    end = await world.accept(W1)
    await end.send(b"\xc1 no frame")
    assert await world.events.next() == ("closed", W1, None)
    assert "not a frame" in str(world.streams.status()["w1"]["problem"])
    await world.accept(W1)


async def test_a_witness_that_takes_nothing_loses_its_stream(world: World) -> None:
    await world.accept(W1)
    sent = 0
    while world.streams.send(W1, Ping(Nonce(b"n" * 16))):
        sent += 1
        assert sent <= QUEUE_FRAMES_MAX
    assert await world.events.next() == ("closed", W1, None)
    assert "wait to be sent" in str(world.streams.status()["w1"]["problem"])


async def test_silence_ends_the_stream(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "IDLE_S", 0.01)
    await world.accept(W1)
    assert await world.events.next() == ("closed", W1, None)
    assert "nothing was heard" in str(world.streams.status()["w1"]["problem"])


async def test_an_unreachable_witness_disturbs_nobody() -> None:
    world = World(W1, W2)
    world.transport.down.add(W1)
    running = asyncio.create_task(world.streams.run())
    await world.accept(W2)
    assert world.streams.status()["w1"]["problem"] == "connection refused"
    world.transport.down.clear()
    await world.accept(W1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_violation_in_the_core_is_not_kept_quiet() -> None:
    from proto.invariants import InvariantViolation, require

    class Strict(Events):
        def received(self, witness: WitnessId, message: WitnessMessage, via: SiteId | None = None) -> None:
            require(False, "broken")

    world = World(W1)
    world.streams.events = Strict()
    running = asyncio.create_task(world.streams.run())
    end = await asyncio.wait_for(world.transport.accept(W1), 10)
    await end.receive()
    await end.send(WITNESS_MESSAGES.encode(Welcome(W1, CLUSTER, leading=False)))
    await end.send(WITNESS_MESSAGES.encode(Pong(Nonce(b"n" * 16), leading=False, has_quorum=True)))
    with pytest.raises(BaseExceptionGroup) as caught:
        await asyncio.wait_for(running, 10)
    assert caught.value.split(InvariantViolation)[0] is not None


@given(st.lists(st.booleans(), max_size=40), st.floats(0, 1, exclude_max=True))
def test_backoff_is_quick_first_and_bounded(refusals: list[bool], jitter: float) -> None:
    backoff = Backoff(lambda: jitter)
    waits = [backoff.next_s(refused=refused) for refused in refusals]
    if waits and not refusals[0]:
        assert waits[0] <= FIRST_S
    for refused, wait in zip(refusals, waits, strict=True):
        assert FIRST_S / 2 <= wait <= (REFUSED_S if refused else MAX_S)
    backoff.succeeded()
    assert backoff.next_s() <= FIRST_S
