"""What a real guard times in the kernel: addresses and ports come with its lease, go at the deadline and its stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator

import pytest
from guard_world import GROUP, MS, World, arm, in_namespace_of, now_ns, until, until_ns
from net_world import needs_network, network_namespace

from agents.fencing import process_table
from agents.fencing.base import Containment, DownBy
from agents.fencing.guard_client import GuardHandle
from agents.fencing.kernel_address import KernelAddress
from agents.fencing.port_table import PortTable

pytestmark = [pytest.mark.process, pytest.mark.root, needs_network]

ADDRESS = KernelAddress("192.0.2.10", 24, "site0")
PORTS = PortTable(GROUP, [("tcp", 7443)])
OPTIONS = json.dumps({"addresses": [["192.0.2.10", 24, "site0"]], "ports": [["tcp", 7443]]})
KINDS = [Containment.PID_NAMESPACE, Containment.PROCESS_GROUP]
NO_PORT = 40 * MS
"""A packet that was on its way when the port closed."""


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    with network_namespace():
        yield


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


def answers() -> bool:
    """Something listens on the port and a packet reaches it."""
    with socket.socket() as client:
        client.settimeout(0.02)
        with contextlib.suppress(OSError):
            client.connect(("127.0.0.1", 7443))
            return True
    return False


def listener() -> socket.socket:
    server = socket.socket()
    server.bind(("0.0.0.0", 7443))
    server.listen(512)
    return server


async def held(guard: GuardHandle) -> None:
    for _ in range(2_000):
        resources = (await guard.status()).resources
        if resources:
            assert [one.problem for one in resources] == ["", ""]
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the keeper said nothing")


def children(pid: int) -> list[int]:
    return process_table.descendants(pid)


async def test_they_come_with_the_lease_and_go_with_a_stop_which_proves_it(world: World) -> None:
    guard = await world.spawn(options=OPTIONS)
    assert (await guard.status()).missing == ()
    assert (ADDRESS.interfaces(), PORTS.still_open()) == ([], "")
    with listener():
        assert not answers(), "a dormant site's port is closed, whoever listens"
        await arm(guard, 20_000)
        await held(guard)
        assert ADDRESS.interfaces()
        assert answers()
        down = await guard.stop(1_000 * MS)
        assert (ADDRESS.interfaces(), PORTS.still_open()) == ([], "")
        assert not answers()
    assert ("ports", "closed") in [(rung.name, rung.found) for rung in down.rungs]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
async def test_they_are_gone_at_the_deadline_with_every_process_of_the_site_stopped(
    world: World, kind: Containment
) -> None:
    guard = await world.spawn(kind, options=OPTIONS)
    deadline = await arm(guard, 4_000)
    await world.victim(guard, "daemon", "daemon", "stubborn")
    await held(guard)
    inside = in_namespace_of(guard.init_pid) if kind is Containment.PID_NAMESPACE else []
    site = [guard.guard_pid, *children(guard.guard_pid), *inside]
    with listener():
        assert answers()
        for pid in site:
            os.kill(pid, signal.SIGSTOP)
        last_answer = await watched_until(deadline)
        assert last_answer < deadline + NO_PORT
        assert now_ns() >= deadline
        assert (ADDRESS.interfaces(), PORTS.still_open()) == ([], "")
        for pid in site:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        assert (await guard.wait_down()).by in (DownBy.KERNEL, DownBy.GUARD)
        assert (ADDRESS.interfaces(), PORTS.still_open()) == ([], ""), "the resume prolongs nothing"


async def watched_until(deadline: int) -> int:
    """Asks the port all the time; when it answered last."""
    last = 0
    while now_ns() < deadline:
        if answers():
            last = now_ns()
        await asyncio.sleep(0.002)
    assert last, "it answered while the lease ran"
    return last


async def test_renewals_extend_them(world: World) -> None:
    guard = await world.spawn(options=OPTIONS)
    first = await arm(guard, 3_200)
    await held(guard)
    await until_ns(first - 1_500 * MS)
    await arm(guard, 6_000)
    await until_ns(first + 50 * MS)
    assert ADDRESS.interfaces()
    assert PORTS.still_open() != ""


async def test_a_keeper_that_is_killed_is_replaced_with_the_next_renewal(world: World) -> None:
    guard = await world.spawn(options=OPTIONS)
    await arm(guard, 20_000)
    await held(guard)
    keeper = keeper_of(guard)
    os.kill(keeper, signal.SIGKILL)
    await until(lambda: process_table.start_time(keeper) is None, "the guard reaped its keeper")
    ADDRESS.remove()
    PORTS.lay()
    await arm(guard, 20_000)
    await until(ADDRESS.interfaces, "the new keeper holds the address")
    await until(PORTS.still_open, "and the ports")
    assert keeper_of(guard) not in in_namespace_of(guard.init_pid), "it belongs to the host"
    await guard.fence()
    assert (ADDRESS.interfaces(), PORTS.still_open()) == ([], "")


def keeper_of(guard: GuardHandle) -> int:
    (found,) = [pid for pid in children(guard.guard_pid) if pid != guard.init_pid]
    return found


async def test_a_keeper_that_is_stopped_past_the_send_by_prolongs_nothing(world: World) -> None:
    """It is stopped, hears of a renewal, goes on after the end that it should have been given, and is killed."""
    guard = await world.spawn(options=OPTIONS)
    await arm(guard, 3_300)
    await held(guard)
    keeper = keeper_of(guard)
    os.kill(keeper, signal.SIGSTOP)
    second = await arm(guard, 4_000)
    await until_ns(second + 10 * MS)
    assert (ADDRESS.interfaces(), PORTS.still_open()) == ([], "")
    with contextlib.suppress(ProcessLookupError):
        os.kill(keeper, signal.SIGCONT)
    await guard.wait_down()
    assert (ADDRESS.interfaces(), PORTS.still_open()) == ([], "")


async def test_the_death_of_the_guard_takes_the_keeper_along_and_they_run_out(world: World) -> None:
    guard = await world.spawn(options=OPTIONS)
    deadline = await arm(guard, 3_300)
    await held(guard)
    keeper = keeper_of(guard)
    os.kill(guard.guard_pid, signal.SIGKILL)
    await guard.wait_down()
    await until(lambda: process_table.start_time(keeper) is None, "the keeper is gone")
    assert PORTS.still_open() != "", "nobody closed them: only the kernel will"
    await until_ns(deadline)
    assert (ADDRESS.interfaces(), PORTS.still_open()) == ([], "")


async def test_what_cannot_be_held_here_is_said_at_the_start(world: World) -> None:
    guard = await world.spawn(options=json.dumps({"addresses": [["192.0.2.10", 24, "nosuch0"]]}))
    (missing,) = (await guard.status()).missing
    assert missing == "address 192.0.2.10 on nosuch0: there is no interface nosuch0"


async def test_neighbours_hear_of_an_ipv6_address_too(world: World) -> None:
    capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
    capture.bind(("peer0", 0x86DD))
    capture.settimeout(5)
    address = socket.inet_pton(socket.AF_INET6, "2001:db8::10")
    with capture:
        guard = await world.spawn(options=json.dumps({"addresses": [["2001:db8::10", 64, "site0"]]}))
        await arm(guard, 20_000)
        frames = [await asyncio.to_thread(capture.recv, 128)]
        while (frames[-1][54], frames[-1][22:38]) != (136, address):
            frames.append(await asyncio.to_thread(capture.recv, 128))
    assert frames[-1][38:54] == socket.inet_pton(socket.AF_INET6, "ff02::1")
    assert (frames[-1][62:78], frames[-1][21]) == (address, 255)


async def test_neighbours_hear_of_a_new_place_of_the_address(world: World) -> None:
    capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    capture.bind(("peer0", 0x0806))
    capture.settimeout(5)
    with capture:
        guard = await world.spawn(options=OPTIONS)
        await arm(guard, 20_000)
        frames = [await asyncio.to_thread(capture.recv, 64) for _ in range(2)]
    for frame in frames:
        assert frame[:6] == b"\xff" * 6
        assert frame[28:32] == ADDRESS.packed
    assert {frame[21] for frame in frames} == {1, 2}


async def test_a_flushed_firewall_is_put_back_with_the_next_renewal(world: World) -> None:
    guard = await world.spawn(options=OPTIONS)
    await arm(guard, 20_000)
    await held(guard)
    await asyncio.to_thread(subprocess.run, ["nft", "flush", "ruleset"], check=True)
    assert PORTS.still_open() == "the table is not there"
    await arm(guard, 20_000)
    await until(lambda: PORTS.still_open().startswith("open for"), "the table is back")
