"""Sites of several hosts: what the simulation's judges see, what a process's loop does, and a site with a member."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from checker_rig import A, B, Court, G
from sim_worlds import calm_setup, served, violations

from proto.messages import GroupAnswer, Verdict
from proto.units import NS_PER_MS, NS_PER_S, Epoch, MemberName, Nonce
from witness.sim.faults import FAULTS
from witness.sim.judges import Judges
from witness.sim.members.draw import MEMBER_KIND, with_members
from witness.sim.members.host import MemberHost
from witness.sim.members.loop import BusyLoop
from witness.sim.members.plan import MemberPlan
from witness.sim.quiet import silent
from witness.sim.run import run_schedule
from witness.sim.setup import draw
from witness.sim.world import World

S = NS_PER_S
DB = f"{A}.db"


@pytest.fixture
def court() -> Court:
    return Court()


@pytest.fixture
def judges(court: Court) -> Judges:
    one = Judges(court.findings, court.now, [])
    one.belongs(DB, A)
    return one


def renewed(judges: Judges, host: str, epoch: int, ttl_ms: int = 1_000) -> None:
    nonce = Nonce(bytes([epoch]) * 16)
    judges.sent(host, nonce)
    judges.answered(host, nonce, (answer(epoch, ttl_ms),))


def answer(epoch: int, ttl_ms: int) -> GroupAnswer:
    fields = dict.fromkeys(GroupAnswer._fields)
    fields |= {"group": G, "verdict": Verdict.RENEWED, "epoch": Epoch(epoch), "ttl_ms": ttl_ms, "drift_max_ppm": 0}
    return GroupAnswer(**fields)


# -- judges ---------------------------------------------------------------------------------------------------


def test_two_hosts_of_one_site_are_one_place_and_a_member_beside_another_site_is_an_overlap(
    court: Court, judges: Judges
):
    renewed(judges, A, 1)
    judges.begun(G, DB, Epoch(1))
    judges.begun(G, A, Epoch(1))
    assert (court.kinds(), judges.activity.activations) == ([], 1)
    judges.down(G, A, clean=True)
    renewed(judges, B, 2)
    judges.begun(G, B, Epoch(2))
    assert court.kinds() == ["license", "overlap"]


def test_a_member_begins_an_epoch_once_and_only_its_own_leads(court: Court, judges: Judges):
    renewed(judges, A, 1)
    judges.begun(G, DB, Epoch(1))
    judges.down(G, DB, clean=True)
    judges.begun(G, DB, Epoch(1))
    assert court.kinds() == ["epoch"]
    judges.down(G, DB, clean=True)
    renewed(judges, B, 2)
    judges.begun(G, DB, Epoch(2))
    assert court.kinds() == ["epoch", "authority"]


def test_a_member_does_not_outlive_its_leads_authority_also_when_that_has_another_epoch_by_then(
    court: Court, judges: Judges
):
    renewed(judges, A, 1)
    judges.begun(G, DB, Epoch(1))
    court.now_ns = S
    renewed(judges, A, 2)
    judges.look([])
    assert court.kinds() == []
    court.now_ns = S + NS_PER_MS
    judges.down(G, DB, clean=False)
    assert court.kinds() == ["authority"]


def test_a_lead_says_down_and_releases_when_no_member_holds_anything(court: Court, judges: Judges):
    holds = {Epoch(3)}
    judges.members.watch(DB, A, lambda _group, epoch: any(one <= epoch for one in holds))
    judges.members.released(G, A, Epoch(2))
    judges.members.said_down(G, B)
    assert court.kinds() == []
    judges.members.released(G, A, Epoch(3))
    judges.members.said_down(G, A)
    assert court.kinds() == ["member", "member"]
    judges.activity.thawed(G, DB, S)
    judges.members.said_down(G, A)
    assert court.kinds() == ["member", "member"], "its clocks had been frozen"


def test_a_member_that_had_been_frozen_is_excused_until_its_lead_confirms_an_ask_of_after_that(
    court: Court, judges: Judges
):
    renewed(judges, A, 1)
    judges.begun(G, DB, Epoch(1))
    judges.stands_still(G, DB)
    judges.members.asked(DB, Nonce(b"early"))
    court.now_ns = 5 * S
    judges.thaws(DB, [G], 5 * S)
    judges.goes_on(G, DB)
    assert judges.activity.excused(G, DB)
    assert not judges.activity.excused(G, A)
    judges.member_renewed(DB, Nonce(b"early"), [G])
    assert judges.activity.excused(G, DB)
    court.now_ns += 1
    judges.members.asked(DB, Nonce(b"late"))
    judges.member_renewed(DB, Nonce(b"late"), [G])
    assert not judges.activity.excused(G, DB)
    assert court.kinds() == []


def test_members_share_the_license_of_their_site_and_what_ended_badly_there_counts(court: Court):
    judges = Judges(court.findings, court.now, [])
    judges.license.lock_delay(G, Epoch(0), S)
    for host in (A, DB):
        judges.license.opened(G, host, Epoch(1))
    judges.license.ended(G, A, clean=True)
    judges.license.ended(G, DB, clean=False)
    assert court.kinds() == []
    judges.license.opened(G, B, Epoch(2))
    assert court.kinds() == ["license"]


# -- worlds ---------------------------------------------------------------------------------------------------


def world_with_member(seed: int = 3) -> tuple[World, MemberHost]:
    setup = calm_setup(seed)
    plan = MemberPlan(MemberName("db"), steps=("start-db",))
    world = World(replace(setup, members=tuple((site, plan) for site in setup.sites)))
    world.begin()
    assert served(world)
    return world, next(one for one in world.members if one.active(world.setup.groups[0].group))


@pytest.fixture
def quiet_logs():
    with silent():
        yield


@pytest.mark.usefixtures("quiet_logs")
def test_a_site_with_members_is_served_whole_and_its_killed_process_leaves_nothing_behind():
    world, member = world_with_member()
    assert world.members_of(member.lead) == [member]
    loop = member.process.loop
    member.crash()
    assert loop.dead
    assert all(task.done() for task in loop._tasks)
    member.start()
    world.run_until(world.events.now_ns + 2 * S)
    assert world.faults_hit["member-taken-over"] == 1
    assert served(world)
    world.end_processes()
    assert violations(world) == []


@pytest.mark.usefixtures("quiet_logs")
def test_a_stopped_process_waits_with_all_that_it_would_do_and_a_busy_one_is_found():
    world, member = world_with_member()
    loop, done = member.process.loop, []

    async def works() -> None:
        await asyncio.sleep(0.01)  # simulated time: ten milliseconds of it must pass
        done.append(world.events.now_ns)

    began_ns = world.events.now_ns
    loop.within(lambda: loop.create_task(works()))
    world.run_until(began_ns + NS_PER_MS)
    member.stop()
    world.run_until(began_ns + 100 * NS_PER_MS)
    assert done == []
    member.go_on()
    world.run_until(began_ns + 101 * NS_PER_MS)
    assert len(done) == 1

    def again() -> None:
        if busy:
            loop.call_soon(again)

    busy = True

    loop.within(again)
    with pytest.raises(BusyLoop):
        world.run_until(world.events.now_ns + NS_PER_MS)
    busy = False
    world.end_processes()


def test_members_are_drawn_where_a_kind_of_theirs_is_and_nowhere_else():
    for seed in range(60):
        setup = draw(seed, list(FAULTS))
        theirs = any(kind.startswith(MEMBER_KIND) for kind in setup.kinds)
        assert bool(with_members(setup).members) == theirs
        assert replace(with_members(setup), members=()) == setup


def test_without_faults_a_site_with_members_is_quiet():
    setup = draw(5, list(FAULTS))
    members = tuple((site, MemberPlan(MemberName("db"), steps=("start-db",))) for site in setup.sites)
    result = run_schedule(5, setup=replace(setup, kinds=(), drift_extreme=False, members=members))
    assert result.violations == []
    assert result.figures["activations"] == len(setup.groups)
