"""What a simulated machine has beside processes: resources, watchdog, reset line, components; and that faults bite."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from sim_worlds import active_site, calm_world, served, violations

from agents.components.spec import ComponentRole
from agents.fencing.base import DownBy
from proto.units import NS_PER_MS, NS_PER_S
from witness.sim import faults_host
from witness.sim.host.hardware import Hardware
from witness.sim.plans import GroupShell
from witness.sim.setup import Fitting
from witness.sim.site import SiteHost
from witness.sim.world import World

HELD = Fitting(address=True, ports=True)
WATCHED = Fitting(watchdog=True, required=True)
LEASE_NS = 4 * NS_PER_S
RNG = random.Random(1)


def shell_of(site: SiteHost) -> GroupShell:
    [shell] = site.shells.values()
    return shell


def hardware_of(site: SiteHost) -> Hardware:
    return shell_of(site).post.hardware


def serving(fitting: Fitting, seed: int = 3) -> tuple[World, SiteHost]:
    world = calm_world(seed, fitting)
    assert served(world)
    return world, active_site(world)


def passes(world: World, span_ns: int) -> None:
    world.run_until(world.events.now_ns + span_ns)


@pytest.mark.parametrize("how", ["freeze", "kill"])
def test_addresses_and_ports_are_gone_by_the_deadline_with_everything_stopped_or_dead(how: str):
    world, site = serving(HELD)
    hardware = hardware_of(site)
    assert [one.there for one in hardware.resources] == [True, True]
    until_ns = world.judges.authority.until_ns(shell_of(site).group, site.name)
    if how == "freeze":
        site.freeze(frozen=True)
    else:
        shell_of(site).post.kill()
        site.crash()
    world.run_until(until_ns)
    assert [one.there for one in hardware.resources] == [False, False]
    passes(world, 2 * LEASE_NS)
    assert active_site(world) is not site
    assert violations(world) == []


def test_a_killed_keeper_is_forked_anew_and_nothing_is_lost():
    world, site = serving(HELD)
    assert hardware_of(site).kill_keeper()
    passes(world, 2 * LEASE_NS)
    assert active_site(world) is site
    assert [one.there for one in hardware_of(site).resources] == [True, True]
    assert not world.judges.story.expired


def test_a_keeper_that_is_late_is_dead_before_its_message():
    world, site = serving(HELD)
    before = [one.gone_at_ns for one in hardware_of(site).resources]
    hardware_of(site).stall.draw = lambda: 1_600 * NS_PER_MS
    passes(world, LEASE_NS // 2)
    assert world.faults_hit["keeper-late"] >= 1
    assert [one.gone_at_ns for one in hardware_of(site).resources] == before
    passes(world, LEASE_NS)
    assert [one.there for one in hardware_of(site).resources] == [False, False]
    assert violations(world) == []


def test_what_cannot_be_closed_is_said_and_gone_by_itself():
    world, site = serving(HELD)
    hardware = hardware_of(site)
    hardware.resources[1].refuses = "device or resource busy"
    site.crash()
    passes(world, 3 * LEASE_NS)
    assert [one.there for one in hardware.resources] == [False, False]
    assert world.faults_hit["resource-stuck"] >= 1
    assert violations(world) == []


def test_without_its_required_watchdog_no_site_is_active_and_with_it_again_one_is():
    world = calm_world(fitting=WATCHED)
    for site in world.sites:
        device = hardware_of(site).watchdog
        assert device is not None
        device.there = False
    passes(world, 30 * NS_PER_S)
    assert world.judges.activity.activations == 0
    assert world.faults_hit["watchdog-missing"] >= 2
    world.heal()
    assert served(world)
    assert hardware_of(active_site(world)).counts()
    assert violations(world) == []


def test_a_watchdog_that_is_lost_while_dormant_ends_the_activation_at_its_first_deadline():
    world, site = serving(WATCHED)
    other = next(one for one in world.sites if one is not site)
    device = hardware_of(other).watchdog
    assert device is not None
    device.there = False
    site.power_off()
    passes(world, 20 * NS_PER_S)
    assert world.faults_hit["watchdog-refused"] >= 1
    assert world.judges.activity.activations == 1
    assert violations(world) == []


@pytest.mark.parametrize(("fitting", "counter"), [(WATCHED, "watchdog-bites"), (Fitting(reset=True), "ladder-reset")])
def test_what_no_kill_ends_is_ended_by_a_reset_before_the_deadline(fitting: Fitting, counter: str):
    world = calm_world(fitting=fitting)
    for site in world.sites:
        shell_of(site).platform.moods.undead = 1.0
    assert served(world)
    site = active_site(world)
    site.crash()
    passes(world, 4 * LEASE_NS)
    assert world.faults_hit[counter] == world.faults_hit["undead"] == 1
    assert active_site(world) is not site
    assert violations(world) == []


def test_a_planned_stop_stops_the_watchdog():
    world, site = serving(WATCHED)
    site.feed(lambda agent, now: agent.shutdown(now))
    passes(world, LEASE_NS)
    assert not hardware_of(site).counts()
    assert world.faults_hit["watchdog-bites"] == 0


@pytest.mark.parametrize("role", list(ComponentRole))
def test_a_component_that_comes_up_at_a_dormant_site_is_found_and_ended(role: ComponentRole):
    world, site = serving(Fitting(component=role))
    other = next(one for one in world.sites if one is not site)
    assert shell_of(other).components.wakes()
    passes(world, 3 * NS_PER_S)
    assert world.faults_hit["component-found"] == 1
    assert not shell_of(other).components.active
    assert shell_of(site).components.active
    assert violations(world) == []


def test_a_component_that_does_not_stop_keeps_its_site_from_saying_that_it_is_down():
    world, site = serving(Fitting(component=ComponentRole.EXCLUSIVE))
    component = hardware_of(site).component
    assert component is not None
    component.cling("it does not stop")
    site.crash()
    site.start()
    passes(world, 6 * NS_PER_S)
    assert shell_of(site).components.active
    assert shell_of(site).dormant is False
    component.cling("")
    passes(world, 6 * NS_PER_S)
    assert violations(world) == []
    assert served(world)


def test_clocks_that_part_end_what_runs_without_its_agent():
    world, site = serving(Fitting(ports=True))
    site.clock.part(-500_000)
    site.rearm()
    site.stop()
    passes(world, NS_PER_S)
    assert not shell_of(site).runs()
    assert (world.faults_hit["down-by-clocks"], world.faults_hit[f"down-by-{DownBy.KERNEL.value}"]) == (1, 0)
    assert violations(world) == []


def test_nothing_is_struck_where_there_is_nothing_to_strike():
    world, _ = serving(Fitting(reset=True))
    for strike, _ in faults_host.BLOWS.values():
        if strike is not faults_host.clocks_part:
            strike(world, RNG)
    faults_host.keeper_late(world, RNG)
    assert not world.faults_hit["keeper-kill"] + world.faults_hit["component-wakes"]
