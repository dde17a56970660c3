"""How an epoch ends on a site of two hosts when something went wrong: no release and no proof before both are down."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_process import SITE_AGENT, WAIT_S, make_pki, start
from guard_world import VICTIM, now_ns, stays_dead
from member_process import SiteWorld, add_member, lives, stamps

from proto.messages import RevokePhase

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]
TTL_NS = 4_000_000_000
LONG_TTL_MS = 60_000
"""For a new process to be there in time, also on a busy machine."""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_member(make_pki(tmp_path_factory.mktemp("pki")))


@pytest.fixture
async def world(tmp_path: Path, pki: Path) -> AsyncIterator[SiteWorld]:
    made = SiteWorld(tmp_path, pki)
    made.lease.ttl_ms = TTL_NS // 1_000_000
    async with made.witness:
        made.write_site()
        made.write_member()
        yield made


def guard_pid(runtime_dir: Path) -> int:
    pid: int = json.loads((runtime_dir / "shop.guard").read_text())["guard_pid"]
    return pid


async def test_a_fence_is_not_released_before_a_silent_member_is_out_of_authority(world: SiteWorld) -> None:
    async with world.running(), world.member() as member:
        await world.active(8)
        member.send_signal(signal.SIGSTOP)  # as good as parted: it says nothing, and its guard goes on
        os.kill(guard_pid(world.dir / "run"), signal.SIGKILL)
        await world.until(lambda: bool(world.lease.releases))
        released = now_ns()
        assert stamps(world.app)[-1] < stamps(world.db)[-1] < released
        assert not lives_now(world.db)
        assert world.lease.releases[0].text.startswith("fenced: guard lost")


def lives_now(path: Path) -> bool:
    return now_ns() - stamps(path)[-1] < 200_000_000


async def test_a_lead_that_is_killed_and_started_again_goes_on_with_its_member(world: SiteWorld) -> None:
    world.lease.ttl_ms = LONG_TTL_MS
    async with world.member():
        async with world.running() as lead:
            await world.active(8)
            lead.send_signal(signal.SIGKILL)
            await asyncio.to_thread(lead.wait, WAIT_S)
        async with world.running():
            await world.until(lambda: "taken_over" in world.log() and "member_connected" in world.log())
            went_on = now_ns()
            await world.until(lambda: min(stamps(world.db)[-1], stamps(world.app)[-1]) > went_on)
            for path in (world.db, world.app):
                assert len({line.split()[1] for line in path.read_bytes().split(b"\n")[:-1]}) == 1
            world.lease.revoke = RevokePhase.REVOKING
            await world.until(lambda: bool(world.lease.releases))
            assert world.lease.releases[0].text == "handover: verified down"
            await stays_dead(world.db)


async def test_a_lead_that_starts_cold_ends_its_member_before_it_says_that_it_is_down(world: SiteWorld) -> None:
    async with world.member():
        async with world.running() as lead:
            await world.active(8)
            os.kill(guard_pid(world.dir / "run"), signal.SIGKILL)
            lead.send_signal(signal.SIGKILL)
            await asyncio.to_thread(lead.wait, WAIT_S)
        before = len(world.lease.reports)
        async with world.running():
            await world.until(lambda: any(one.verified_down for one in world.lease.reports[before:]))
            assert stamps(world.db)[-1] < now_ns()
            await stays_dead(world.db)
            assert world.lease.releases == []


async def test_a_cold_lead_waits_for_a_member_that_it_does_not_hear(world: SiteWorld) -> None:
    async with world.member() as member:
        async with world.running() as lead:
            await world.active(8)
            member.send_signal(signal.SIGSTOP)
            os.kill(guard_pid(world.dir / "run"), signal.SIGKILL)
            lead.send_signal(signal.SIGKILL)
            await asyncio.to_thread(lead.wait, WAIT_S)
        began, before = now_ns(), len(world.lease.reports)
        async with world.running():
            await world.until(lambda: any(one.verified_down for one in world.lease.reports[before:]))
            assert now_ns() - began >= TTL_NS, "a full ttl from its own start"
            assert not lives_now(world.db)


async def test_exec_on_a_member_runs_only_while_it_holds(world: SiteWorld) -> None:
    path = world.dir / "exec.stamps"
    socket = world.member_state / "run" / "agent.sock"
    async with world.running(), world.member():
        await world.until(lambda: socket.exists() and world.ready)
        words = (
            "exec",
            "--group",
            "shop",
            "--socket",
            str(socket),
            "--",
            SITE_AGENT[0],
            "-I",
            "-S",
            "-c",
            VICTIM,
            str(path),
        )
        with (world.dir / "exec.log").open("ab") as log:
            wrapped = start(*SITE_AGENT, *words, log=log)
        try:
            await stays_dead_or_absent(path)
            await world.active(8)
            await world.until(lambda: lives(path))
            world.lease.revoke = RevokePhase.REVOKING
            await world.until(lambda: bool(world.lease.releases))
            assert stamps(path)[-1] < now_ns()
            await stays_dead(path)
        finally:
            wrapped.kill()
            wrapped.wait()


async def stays_dead_or_absent(path: Path) -> None:
    await asyncio.sleep(0.3)  # a span in which it would have begun
    assert stamps(path) == []


async def test_what_is_up_on_a_dormant_member_is_ended_and_keeps_the_site_from_being_ready(world: SiteWorld) -> None:
    flag = world.dir / "up"
    text = world.member_config.read_text()
    component = (
        f'{{name: replica, kind: database, down: ["/bin/sh", "-c", "test ! -e {flag}"], '
        f'end: ["/bin/sh", "-c", "echo ended >> {world.dir}/ends"]}}'
    )
    world.member_config.write_text(f"{text}    components: [{component}]\n")
    async with world.running(), world.member():
        await world.until(lambda: world.ready)
        flag.touch()
        await world.until(lambda: "component:replica" in world.blockers())
        assert not world.ready
        await world.until((world.dir / "ends").exists)
        flag.unlink()
        await world.until(lambda: world.ready)
