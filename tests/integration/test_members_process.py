"""A site of two hosts, as its users start it: steps on the member, handover, refusals, a member gone and back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_process import WAIT_S, make_pki
from guard_world import now_ns, stays_dead
from member_process import SiteWorld, add_member, lives, stamps

from proto.health import SiteState
from proto.messages import RevokePhase

LONG_TTL_MS = 60_000
"""For a new process to be there in time, also on a busy machine."""

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_member(make_pki(tmp_path_factory.mktemp("pki")))


@pytest.fixture
async def world(tmp_path: Path, pki: Path) -> AsyncIterator[SiteWorld]:
    made = SiteWorld(tmp_path, pki)
    made.lease.ttl_ms = 4_000
    async with made.witness:
        made.write_site()
        made.write_member()
        yield made


async def test_a_plan_with_a_step_on_a_member_and_an_orderly_handover(world: SiteWorld) -> None:
    async with world.running(), world.member():
        await world.active(4)
        assert (world.dir / "db.stamps.epochs").read_text() == "4\n"
        view = await world.status()
        ((row,),) = [group["members"] for group in view["groups"]]
        assert (row["member"], row["phase"], row["epoch"], row["required"]) == ("db1", "holding", 4, True)
        assert 0 < row["may_hold_ms"] <= 4_000
        table = await world.cli("status", "-c", str(world.config))
        assert "db1" in table.stdout
        own = await world.member_status()
        assert [(group["state"], group["epoch"], group["active"]) for group in own["groups"]] == [("holding", 4, True)]
        await asyncio.sleep(5)  # longer than a ttl: the member is renewed through its lead
        world.lease.revoke = RevokePhase.REVOKING
        await world.until(lambda: bool(world.lease.releases))
        released = now_ns()
        assert world.lease.releases[0].text == "handover: verified down"
        assert max(stamps(world.db)[-1], stamps(world.app)[-1]) < released
        await stays_dead(world.db)


async def test_a_member_that_is_not_heard_makes_the_site_not_ready_and_says_so(world: SiteWorld) -> None:
    async with world.running():
        await world.until(lambda: world.lease.state is SiteState.STANDBY and "not heard" in world.blockers())
        assert not world.ready
        assert "member:db1" in world.blockers()
        async with world.member():
            await world.until(lambda: world.ready)
        await world.until(lambda: not world.ready)


async def test_a_step_that_the_member_has_no_command_for_is_a_blocker(world: SiteWorld) -> None:
    world.write_member(steps=world.victim_step("start-other", "other.stamps"))
    async with world.running(), world.member():
        await world.until(lambda: "has no step start-db" in world.blockers())


async def test_a_member_of_another_site_is_refused_in_words(world: SiteWorld) -> None:
    world.write_member(cert="db1.dc-b")
    done = await world.cli("member", "-c", str(world.member_config))
    assert done.returncode == 78
    assert "witness pki issue member db1.dc-a" in done.stderr


async def test_what_a_failed_activation_began_on_a_member_is_taken_back(world: SiteWorld) -> None:
    world.write_site(steps='{name: fails, command: ["/bin/false"]}, ')
    async with world.running(), world.member():
        await world.until(lambda: world.ready)
        world.lease.grant(6)
        await world.until(lambda: bool(world.lease.releases))
        assert world.lease.releases[0].kind.value == "activation-failed"
        assert (world.dir / "undone").read_text() == "6\n"
        await stays_dead(world.db)


async def test_a_killed_member_is_waited_for_and_the_site_reports_itself_unfit(world: SiteWorld) -> None:
    async with world.running():
        async with world.member() as member:
            await world.active(8)
            member.send_signal(signal.SIGKILL)
            await world.until(lambda: not world.lease.reports[-1].healthy)
            assert world.lease.state is SiteState.ACTIVE
            world.lease.revoke = RevokePhase.REVOKING
            await world.until(lambda: bool(world.lease.releases))
            released = now_ns()
        assert stamps(world.db)[-1] < released
        await stays_dead(world.db)


async def test_a_member_that_comes_back_too_late_is_down_until_the_next_epoch(world: SiteWorld) -> None:
    async with world.running():
        async with world.member() as member:
            await world.active(8)
            member.send_signal(signal.SIGKILL)
            await world.until(lambda: now_ns() - stamps(world.db)[-1] > 500_000_000)
        async with world.member():
            await world.until(lambda: "does not hold the site's epoch" in world.blockers())
            world.lease.revoke = RevokePhase.REVOKING
            await world.until(lambda: bool(world.lease.releases))
            world.db.unlink()
            world.lease.revoke = RevokePhase.NONE
            await world.active(9)
            assert lives(world.db)


async def holds_on(world: SiteWorld) -> None:
    """The lead hears a process that holds the epoch, and what runs there is still the first one."""
    rows = [{"connected": False, "phase": ""}]
    async with asyncio.timeout(WAIT_S):
        while not (rows[0]["connected"] and rows[0]["phase"] == "holding"):
            ((*rows,),) = [group["members"] for group in (await world.status())["groups"]]
    seen = now_ns()
    await world.until(lambda: stamps(world.db)[-1] > seen)
    assert len({line.split()[1] for line in world.db.read_bytes().split(b"\n")[:-1]}) == 1
    assert world.lease.reports[-1].healthy


async def test_a_member_that_is_killed_and_started_again_goes_on(world: SiteWorld) -> None:
    world.lease.ttl_ms = LONG_TTL_MS
    async with world.running():
        async with world.member() as member:
            await world.active(8)
            member.send_signal(signal.SIGKILL)
        async with world.member():
            await world.until(lambda: "taken_over" in world.member_log())
            await holds_on(world)
            assert (await world.member_status())["process"]["taken_over"] == ["shop"]
            world.lease.revoke = RevokePhase.REVOKING
            await world.until(lambda: bool(world.lease.releases))
            assert world.lease.releases[0].text == "handover: verified down"
            await stays_dead(world.db)


async def test_a_member_is_upgraded_without_a_stop_and_refuses_what_it_cannot_read(world: SiteWorld) -> None:
    world.lease.ttl_ms = LONG_TTL_MS
    async with world.running(), world.member() as member:
        await world.active(8)
        text = world.member_config.read_text()
        world.member_config.write_text(text.replace("site: dc-a", "site: 7"))
        member.send_signal(signal.SIGUSR2)
        await world.until(lambda: "upgrade_refused" in world.member_log())
        world.member_config.write_text(text)
        done = await world.cli("upgrade", "-c", str(world.member_config), "--wait", "200")
        assert done.returncode == 0, done.stderr + world.member_log()
        assert f"pid {member.pid}, still holding shop" in done.stdout
        await holds_on(world)
        assert member.poll() is None, "one process id"
        world.lease.revoke = RevokePhase.REVOKING
        await world.until(lambda: bool(world.lease.releases))
        assert world.lease.releases[0].text == "handover: verified down"


async def test_a_lead_that_is_killed_leaves_its_member_to_the_deadline(world: SiteWorld) -> None:
    async with world.member():
        async with world.running() as lead:
            await world.active(8)
            lead.send_signal(signal.SIGKILL)
            await asyncio.to_thread(lead.wait, WAIT_S)
            killed = now_ns()
        await asyncio.sleep(4.5)  # the ttl, and what a look takes
        await stays_dead(world.db)
        assert stamps(world.db)[-1] <= killed + 4_000_000_000
