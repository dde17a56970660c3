"""A real agent with an address and ports: they follow its lease, its proof of down includes them, and it says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from net_world import needs_network, network_namespace
from test_agent_life import World, witness

from agents.fencing.kernel_address import KernelAddress
from agents.fencing.port_table import PortTable
from agents.settings import AddressSpec, PortSpec, ResourceSpec
from proto.health import SiteState
from proto.messages import NoticeKind, RevokePhase

pytestmark = [pytest.mark.process, pytest.mark.root, needs_network]

ADDRESS = KernelAddress("192.0.2.10", 24, "site0")
PORTS = PortTable("shop", [("tcp", 8443)])
RESOURCES = ResourceSpec((AddressSpec("192.0.2.10", 24, "site0"),), (PortSpec("tcp", 8443),))


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    with network_namespace():
        yield


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.resources = RESOURCES
    made.lease.ttl_ms = 4_000
    return made


def open_now() -> tuple[bool, bool]:
    return ADDRESS.interfaces() != [], PORTS.still_open().startswith("open for")


def closed() -> bool:
    return (ADDRESS.interfaces(), PORTS.still_open()) == ([], "")


async def test_they_follow_the_lease_and_what_was_left_behind_is_taken_away(world: World) -> None:
    ADDRESS.set(600)
    PORTS.open_for(600_000)
    async with witness(world) as w1, world.running(w1) as agent:
        await world.until_state(SiteState.STANDBY)
        assert closed(), "what a former life left was taken away before the site called itself down"
        await world.activate(3)
        await world.until(lambda: open_now() == (True, True), "never open")
        rows = agent.driver.status()["groups"][0]["resources"]
        assert [row["name"] for row in rows] == ["address 192.0.2.10 on site0", "ports 8443/tcp"]
        renewed = world.lease.renewal
        await world.until(lambda: world.lease.renewal >= renewed + 2, "no renewals")
        rows = agent.driver.status()["groups"][0]["resources"]
        assert all(row["held"] and 0 < row["at_most_ms"] <= 4_000 and row["problem"] == "" for row in rows)
        world.lease.revoke = RevokePhase.REVOKING
        await w1.notice(NoticeKind.REVOKED)
        await world.until(lambda: world.lease.releases != [], "never released")
        assert closed(), "a site releases only when its address and ports are proven gone"


async def test_a_killed_guard_leaves_nothing_open_once_the_site_is_fenced(world: World) -> None:
    async with witness(world) as w1, world.running(w1) as agent:
        await world.activate(3)
        await world.until(lambda: open_now() == (True, True), "never open")
        os.kill(agent.driver.runners["shop"]._guards.guard.guard_pid, signal.SIGKILL)  # type: ignore[attr-defined]  # to kill
        await world.until(lambda: world.lease.releases != [], "never released")
        assert closed()


async def test_a_host_without_the_interface_is_not_ready_and_says_why(world: World) -> None:
    world.resources = ResourceSpec((AddressSpec("192.0.2.10", 24, "nosuch0"),))
    async with witness(world) as w1, world.running(w1):
        await world.until_state(SiteState.STANDBY)
        await world.until(lambda: world.lease.reports[-1].blockers != (), "said nothing")
        report = world.lease.reports[-1]
        assert not report.ready
        assert report.blockers[0] == "address 192.0.2.10 on nosuch0: there is no interface nosuch0"
