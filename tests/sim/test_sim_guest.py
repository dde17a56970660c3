"""Machines that stand still: frozen with all their clocks (C5), or suspended with BOOTTIME going on (C4)."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from sim_worlds import active_site, calm_world, served, violations

from proto.lease import takeover_wait_max
from proto.units import NS_PER_MS, NS_PER_S
from witness.sim.campaign.total import Total
from witness.sim.faults import FAULTS
from witness.sim.kit import KIT
from witness.sim.run import run_schedule
from witness.sim.setup import draw
from witness.sim.workload import longest
from witness.sim.world import World

SEEDS = range(400, 410)
LEASE_NS = NS_PER_S
"""As calm_world has it."""


def taken_over(world: World) -> None:
    """The other site has the group."""
    until_ns = world.events.now_ns + 10 * NS_PER_S
    while world.events.now_ns < until_ns and not world.judges.activity.active(world.setup.groups[0].group):
        world.run_until(world.events.now_ns + 10 * NS_PER_MS)
    world.run_until(world.events.now_ns + NS_PER_S)


def test_frozen_guests_open_windows_and_the_resource_refuses_what_they_do():
    hit: Counter[str] = Counter()
    windows = 0
    for seed in SEEDS:
        setup = replace(draw(seed, list(FAULTS)), kinds=("guest-freeze",))
        result = run_schedule(seed, setup=setup)
        assert [str(violation) for violation in result.violations] == []
        assert result.peaks["window_ns_max"] <= takeover_wait_max(longest(setup.groups))
        hit += result.faults_hit
        windows += result.figures["windows"]
    assert windows >= 3
    assert min(hit["guest-freeze"], hit["guest-cut-off"], hit["resource-refused"]) >= 3


def test_every_other_way_of_standing_still_opens_none():
    """SIGSTOP of every process of a site, and suspend: the kernel ends what outlived its lease before it runs again."""
    total = Total()
    for seed in range(420, 428):
        total.add(KIT.chosen(("site-freeze", "site-suspend"))(seed))
    assert total.failed == 0
    assert (total.figures["windows"], total.peaks["window_ns_max"]) == (0, 0)
    assert min(total.faults_hit[counter] for counter in ("site-freeze", "site-suspend", "down-by-kernel")) >= 1


def test_a_frozen_site_goes_on_by_its_own_clocks_and_everything_it_does_is_refused():
    world = calm_world()
    assert served(world)
    site = active_site(world)
    before = site.clock.read()
    site.guest.freeze()
    for witness in world.witnesses.values():
        world.network.cut(witness.name, site.name)
    taken_over(world)
    other = active_site(world)
    assert other is not site
    accepted = world.judges.effects.effects
    refused = world.faults_hit["resource-refused"]
    site.resume()
    assert site.clock.read() == before
    assert len(world.judges.activity.active(world.setup.groups[0].group)) == 2
    world.run_until(world.events.now_ns + 2 * LEASE_NS)
    assert active_site(world) is other
    assert world.judges.activity.windows == 1
    assert 0 < world.judges.activity.window_ns_max < LEASE_NS * 1.02
    assert world.faults_hit["resource-refused"] > refused
    assert world.judges.effects.effects > accepted
    assert violations(world) == []


def test_a_suspended_site_has_nothing_left_to_run_when_it_resumes():
    world = calm_world()
    assert served(world)
    site = active_site(world)
    before = site.clock.read()
    site.suspend()
    taken_over(world)
    other = active_site(world)
    assert other is not site
    refused = world.faults_hit["resource-refused"]
    site.resume()
    now = site.clock.read()
    assert now.boottime_ns - before.boottime_ns > LEASE_NS
    assert now.monotonic_raw_ns - before.monotonic_raw_ns < NS_PER_MS
    assert active_site(world) is other
    world.run_until(world.events.now_ns + 2 * LEASE_NS)
    assert world.judges.activity.windows == 0
    assert world.faults_hit["resource-refused"] == refused
    assert violations(world) == []


def test_a_suspended_machine_that_loses_its_power_is_not_held_to_the_time_in_which_it_stood_still():
    """Simulation seed 224618: its ports were said to have outlived the authority by just that."""
    world = calm_world()
    assert served(world)
    site, group = active_site(world), world.setup.groups[0].group
    world.judges.held.there(group, site.name, "ports")
    site.suspend()
    taken_over(world)
    site.power_off()
    world.judges.held.gone(group, site.name, "ports")
    assert violations(world) == []


def test_timers_of_a_frozen_machine_stand_still_with_it():
    world = calm_world()
    guest, began_ns = world.sites[0].guest, world.events.now_ns
    rang: list[tuple[str, int]] = []
    for name, delay_ns in (("first", 100), ("second", 300), ("third", 900)):
        guest.after(delay_ns, lambda name=name: rang.append((name, world.events.now_ns - began_ns)))
    world.run_until(began_ns + 200)
    guest.freeze()
    world.run_until(began_ns + 700)
    assert guest.own_ns() == began_ns + 200
    guest.thaw()
    world.run_until(began_ns + 2_000)
    assert rang == [("first", 100), ("second", 800), ("third", 1_400)]


def test_a_frozen_machine_that_loses_power_starts_afresh():
    world = calm_world()
    assert served(world)
    site = active_site(world)
    site.guest.freeze()
    world.run_until(world.events.now_ns + NS_PER_S)
    site.power_off()
    assert not site.guest.frozen
    site.power_on()
    site.resume()
    assert served(world)
    assert violations(world) == []
