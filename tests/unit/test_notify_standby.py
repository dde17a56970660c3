"""Dormant sites that are silent, groups that nobody could take over: told once after a while, and their end once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, CONSTANTS, A, B, C, G, Rig, config, report, token

from proto.clock import ManualClock
from proto.commands import NoteStandby, RaiseFeatureLevel, SetMaintenance, SetMode
from proto.decisions import REASON_TEXT, Reason
from proto.groups import Mode
from proto.health import SiteState
from proto.license import LicenseReport
from proto.severity import Severity, ended_by, severity_of
from proto.units import NS_PER_MS, NS_PER_S, Epoch, InstantNs, LicenseName
from witness.core.node import Consensus
from witness.core.notify.standby import LASTS_MIN_NS, LASTS_TTLS, StandbyWatch, against_takeover, lasts_ns
from witness.core.sight import GroupSight
from witness.core.transitions import Phase
from witness.notify.watcher import StandbyWatcher

LASTS_S = LASTS_MIN_NS // NS_PER_S
UNFIT = {"ready": False, "blockers": ("the disk is full",)}


class World:
    """A holds the lease and is active; the others stand by. One look a second, by the witness that leads."""

    def __init__(self, *sites, hold: bool = True, **changes) -> None:
        self.rig = Rig(config(sites=sites or (A, B), **changes))
        assert self.rig.one(RaiseFeatureLevel(2)).ok
        self.now = NS_PER_S
        self.sight = GroupSight(started=InstantNs(self.now))
        self.watch = StandbyWatch()
        self.said = dict.fromkeys(self.rig.group.config.sites, report())
        self.events = []
        self.hears(*self.said)
        if hold:
            assert self.rig.one(self.rig.grant_command(A)).ok
            self.said[A] = report(state=SiteState.ACTIVE)
            self.hears(A)

    def hears(self, *sites) -> None:
        for site in sites:
            epoch = int(self.rig.group.epoch) if self.said[site].state is SiteState.ACTIVE else 0
            claim = token(f"claim-{site}") if epoch else bytes(16)
            said = replace(self.said[site], finished_epoch=Epoch(0 if epoch else self.rig.group.epoch))
            self.rig.beat(site, epoch=epoch, claim=claim, said=said)
            self.sight.heard[site] = InstantNs(self.now)

    def passes(self, seconds: int, *sites) -> list[tuple[str, str | None, str]]:
        """What is told meanwhile, while these sites are heard."""
        before = len(self.events)
        for _ in range(seconds):
            self.now += NS_PER_S
            self.hears(*sites)
            self.look()
        return [(event.kind.value, event.site, event.text) for event in self.events[before:]]

    def look(self) -> None:
        for command in self.watch.look(self.rig.group, self.sight, InstantNs(self.now)):
            assert self.rig.one(command).ok
            self.events += self.rig.last.events


def test_a_dormant_site_that_falls_silent_is_told_once_with_what_it_means_and_its_return_once():
    world = World()
    assert world.passes(LASTS_S - 1, A) == []
    text = f"not heard for {LASTS_S} s; if {A} failed now, nobody could take over"
    assert world.passes(1, A) == [("site-silent", B, text)]
    assert world.passes(300, A) == [], "once, and not as a missing standby besides"
    assert world.passes(1, A, B) == [("site-heard", B, "heard again")]
    assert world.passes(300, A, B) == []
    silent, heard = world.events
    assert ended_by(heard, [silent]) is silent
    assert severity_of(silent.kind) is Severity.WARNING


def test_a_long_lease_waits_for_three_of_its_ttl():
    world = World(constants=replace(CONSTANTS, ttl_ms=60_000))
    assert lasts_ns(world.rig.group) == LASTS_TTLS * 60_000 * NS_PER_MS
    assert world.passes(179, A) == []
    assert [told[0] for told in world.passes(1, A)] == ["site-silent"]


def test_of_three_sites_one_that_is_silent_is_told_and_another_could_take_over():
    world = World(A, B, C)
    assert world.passes(LASTS_S, A, C) == [("site-silent", B, f"not heard for {LASTS_S} s")]
    assert world.passes(LASTS_S, A)[-1] == (
        "site-silent", C, f"not heard for {LASTS_S} s; if {A} failed now, nobody could take over"
    )  # fmt: skip
    assert world.passes(100, A) == []


def test_a_site_that_is_heard_and_could_not_take_over_is_told_with_every_reason():
    world = World()
    world.said[B] = report(**UNFIT)
    assert world.passes(LASTS_S, A, B) == []
    text = f"if {A} failed now, nobody could take over: {B}: it reports itself not ready (the disk is full)"
    assert world.passes(1, A, B) == [("no-standby", None, text)]
    assert world.passes(300, A, B) == []
    world.said[B] = report()
    assert world.passes(LASTS_S, A, B) == [], "that a site could take over must last, too"
    assert world.passes(1, A, B) == [("standby-again", None, f"a site could take over, for {LASTS_S} s now")]
    assert world.passes(300, A, B) == []


def test_a_site_that_is_fit_for_moments_only_is_told_once():
    """A readiness probe that fails for 30 s and holds for 5 s, for days, would be two messages every 35 s."""
    world = World()
    told = []
    for _ in range(20):
        world.said[B] = report(**UNFIT)
        told += world.passes(LASTS_S + 1, A, B)
        world.said[B] = report()
        told += world.passes(5, A, B)
    assert [kind for kind, _, _ in told] == ["no-standby"]
    assert [kind for kind, _, _ in world.passes(LASTS_S, A, B)] == ["standby-again"]


def test_a_move_meanwhile_neither_ends_nor_begins_the_time_that_it_lasts():
    """While a group is on its way nobody can say who could take over: only what is seen against it counts anew."""
    world = World()
    world.said[B] = report(**UNFIT)
    world.passes(LASTS_S + 1, A, B)
    world.said[B] = report()
    world.passes(LASTS_S // 2, A, B)
    world.rig.group.phase = Phase.REVOKING
    world.look()
    assert world.events[-1].kind.value == "no-standby"
    world.rig.group.phase = Phase.HELD
    assert [kind for kind, _, _ in world.passes(LASTS_S // 2 + 1, A, B)] == ["standby-again"]


def test_a_witness_that_was_started_anew_counts_from_its_start_for_how_long_a_site_could_take_over():
    world = World()
    world.said[B] = report(**UNFIT)
    world.passes(LASTS_S + 1, A, B)
    world.said[B] = report()
    world.passes(LASTS_S, A, B)
    world.watch = StandbyWatch()
    assert world.passes(LASTS_S, A, B) == []
    assert [kind for kind, _, _ in world.passes(1, A, B)] == ["standby-again"]
    world.passes(1, A, B)
    assert world.watch.known == ()


def test_a_group_that_is_gone_is_forgotten_on_its_way_back_too():
    world = World()
    world.said[B] = report(**UNFIT)
    world.passes(LASTS_S + 1, A, B)
    world.said[B] = report()
    world.passes(1, A, B)
    assert world.watch.known == (G,)
    world.watch.forget([G])
    assert world.watch.known == ()


def test_what_passes_by_itself_within_the_bound_wakes_nobody():
    world = World()
    for _ in range(5):
        world.said[B] = report(**UNFIT)
        assert world.passes(LASTS_S - 1, A, B) == []
        world.said[B] = report()
        assert world.passes(2, A, B) == []


def test_a_site_that_is_back_has_its_time_to_become_fit():
    world = World()
    world.passes(LASTS_S + 100, A)
    world.said[B] = report(**UNFIT)
    assert [told[0] for told in world.passes(LASTS_S, A, B)] == ["site-heard"]
    assert [told[0] for told in world.passes(2, A, B)] == ["no-standby"]


def test_a_site_in_maintenance_may_be_silent_but_is_no_standby():
    world = World()
    assert world.rig.one(SetMaintenance(G, B, True, AUTHOR)).ok
    told = world.passes(LASTS_S + 1, A)
    assert [(kind, site) for kind, site, _ in told] == [("no-standby", None)]


def test_a_silent_site_that_is_put_in_maintenance_is_silent_no_more():
    world = World()
    world.passes(LASTS_S, A)
    assert world.rig.one(SetMaintenance(G, B, True, AUTHOR)).ok
    assert world.passes(1, A) == [("site-heard", B, "it is in maintenance")]


def test_where_nobody_is_active_the_reason_of_each_site_is_told():
    """E13 is such a reason: a license that is seen activated elsewhere."""
    world = World(hold=False)
    world.said = dict.fromkeys(world.said, report(**UNFIT))
    (told,) = world.passes(LASTS_S + 1, A, B)
    assert told[0] == "no-standby"
    assert told[2].startswith("nobody is active, and no site can be activated: ")
    assert [f"{site}: it reports itself not ready" in told[2] for site in (A, B)] == [True, True]


def test_a_license_that_is_seen_activated_at_a_site_that_only_watches_is_told_as_what_keeps_the_group_vacant():
    """E13: beside a platform that runs by somebody's hand E11 is silent, and nothing else says why."""
    world = World(hold=False)
    runs = LicenseReport(LicenseName("key"), activated=True)
    world.said[A] = report(enforce=False, licenses=(runs,))
    world.said[B] = report(licenses=(replace(runs, activated=False),))
    (told,) = world.passes(LASTS_S + 1, A, B)
    assert told[0] == "no-standby"
    assert f"{B}: {REASON_TEXT[Reason.LICENSE_ACTIVE_ELSEWHERE]} ({A}: key)" in told[2]


def test_in_observe_only_silence_is_told():
    world = World(hold=False, mode=Mode.OBSERVE)
    assert world.passes(LASTS_S + 10, A) == [("site-silent", B, f"not heard for {LASTS_S} s")]
    assert against_takeover(world.rig.group, world.sight, InstantNs(world.now)) == ()


def test_a_group_that_goes_to_observe_is_not_told_to_have_a_standby_again():
    world = World(hold=False)
    world.said = dict.fromkeys(world.said, report(**UNFIT))
    assert [told[0] for told in world.passes(LASTS_S + 1, A, B)] == ["no-standby"]
    assert world.rig.one(SetMode(G, Mode.OBSERVE, AUTHOR)).ok
    assert world.passes(1, A, B) == [("standby-again", None, "in observe nothing takes over")]


def test_a_new_leader_knows_for_how_long_it_has_lasted_and_one_that_was_started_anew_counts_from_its_start():
    world = World()
    world.passes(LASTS_S - 1, A)
    world.watch = StandbyWatch()
    assert [told[0] for told in world.passes(1, A)] == ["site-silent"]
    world.sight = GroupSight(started=InstantNs(world.now), heard={A: InstantNs(world.now)})
    assert world.passes(5, A) == [], "not heard by this one yet is not heard again"
    assert world.passes(1, A, B) == [("site-heard", B, "heard again")]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (NoteStandby("none", B, False, ""), Reason.UNKNOWN_GROUP),
        (NoteStandby(G, "dc-x", False, ""), Reason.UNKNOWN_SITE),
        (NoteStandby(G, B, True, ""), Reason.ALREADY_SO),
        (NoteStandby(G, None, True, ""), Reason.ALREADY_SO),
    ],
    ids=["group", "site", "heard", "standby"],
)
def test_what_does_not_fit_is_refused(command, reason):
    assert World().rig.one(command).reason is reason


class Leads:
    """A driver that hands the commands of the one that leads to the machine."""

    def __init__(self, world: World, *, leading: bool) -> None:
        self.world = world
        self.node = self
        self.machine = world.rig.machine
        self.consensus = Consensus(leading=leading, has_quorum=True, caught_up=True)
        self.submitted = []

    def sight(self, group, now) -> GroupSight:
        assert group == G
        return self.world.sight

    async def submit(self, command):
        self.submitted.append(command)
        return self.world.rig.one(command)


@pytest.mark.parametrize("leading", [True, False])
async def test_every_witness_looks_and_the_one_that_leads_has_it_noted(leading):
    world = World()
    clock = ManualClock(boottime_ns=InstantNs(world.now + LASTS_MIN_NS))
    driver = Leads(world, leading=leading)
    watcher = StandbyWatcher(driver, clock)
    for _ in range(3):
        await watcher.look()
    assert [command.site for command in driver.submitted] == ([B] if leading else [])
