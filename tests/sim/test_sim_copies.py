"""Machines that are copied while they run: what a copy has, what two may do beside each other, and how that ends."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from sim_worlds import active_site, calm_world, served, violations

from proto.decisions import Reason
from proto.events import EventKind
from proto.health import SiteState
from proto.invariants import InvariantViolation
from proto.messages import GroupAnswer, Heartbeat, HeartbeatAnswer, Release, ReleaseKind, RevokePhase, Verdict
from proto.units import NS_PER_MS, NS_PER_S, Claim, Epoch, GroupId, Incarnation, Nonce, RenewalNo, SiteId, WallMs
from witness.sim.campaign.total import Total
from witness.sim.checkers.copies import CopiesChecker
from witness.sim.copies.machine import Snapshot, announce, copy_running
from witness.sim.copies.memory import MemoryCopy
from witness.sim.kit import KIT
from witness.sim.raft.checkers import Findings
from witness.sim.site import SiteHost
from witness.sim.world import World

LEASE_NS = round(1.02 * NS_PER_S)
"""Of true time, as calm_world has it."""


# -- memory ---------------------------------------------------------------------------------------------------


class Counting:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.emit: Callable[[str], None] = self.lines.append
        self.again = self.say
        self.dice = random.Random(1)
        count = 0

        def up() -> int:
            nonlocal count
            count += 1
            return count

        self.up = up
        self.now = lambda: count
        self.later = partial(self.say, "later")

    def say(self, word: str) -> None:
        self.emit(word)


def test_what_functions_hold_on_to_is_copied_with_them():
    first = Counting()
    first.up()
    second = MemoryCopy(lambda what: False).of(first)
    assert [second.up(), second.up(), second.now()] == [2, 3, 3]
    assert (first.now(), first.up()) == (1, 2)
    for say in (second.emit, second.again, second.say):
        say("here")
    second.later()
    assert (first.lines, second.lines) == ([], ["here"] * 3 + ["later"])
    assert first.dice.random() == second.dice.random()


def test_what_lies_outside_is_shared_and_what_is_reached_twice_is_one_thing():
    outside, inside = object(), {"of": "the machine"}
    first = [outside, inside, (inside, [inside])]
    second = MemoryCopy(lambda what: what is outside).of(first)
    assert second[0] is outside
    assert second[1] is second[2][0] is second[2][1][0]
    assert second[1] is not inside
    assert second == first


def test_what_nobody_can_copy_is_refused_aloud():
    async def waits() -> None: ...

    coroutine = waits()
    with pytest.raises(InvariantViolation, match="coroutine cannot be copied"):
        MemoryCopy(lambda what: False).of([coroutine])
    with pytest.raises(InvariantViolation, match="cannot be copied"):
        MemoryCopy(lambda what: False).of({"lock": asyncio.Lock()})
    coroutine.close()


# -- two of one machine ---------------------------------------------------------------------------------------


def copied(*, in_step: bool = True, seed: int = 3) -> tuple[World, SiteHost, SiteHost]:
    world = calm_world(seed)
    assert served(world)
    site = active_site(world)
    return world, site, copy_running(world, site, Snapshot(in_step))


def cut(world: World, site: SiteHost) -> None:
    for witness in world.witnesses.values():
        world.network.cut(site.name, witness.name)
        world.network.cut(witness.name, site.name)


def passes(world: World, span_ns: int) -> None:
    world.run_until(world.events.now_ns + span_ns)


def told(world: World) -> list[EventKind]:
    return [event.kind for event in world.judges.replicas.events]


def states(*hosts: SiteHost) -> list[SiteState]:
    return [group.state for host in hosts if host.agent is not None for group in host.agent.groups.values()]


def test_a_copy_has_what_its_original_has_and_shares_none_of_it():
    world, site, twin = copied()
    group = world.setup.groups[0].group
    assert site.agent is not None
    assert twin.agent is not None
    one, other = site.agent, twin.agent
    assert (twin.clock.read(), other.incarnation) == (site.clock.read(), one.incarnation)
    for name in ("epoch", "claim", "authority", "bound", "finished"):
        assert getattr(other.groups[group].holder, name) == getattr(one.groups[group].holder, name), name
    guards = [host.shells[group].guard for host in (site, twin)]
    rungs = [None if guard is None else guard.authority.rungs for guard in guards]
    assert rungs[0] is not None
    assert rungs[1] is not None
    assert rungs[0].deadline_ns == rungs[1].deadline_ns
    assert rungs[0] is not rungs[1]
    assert len(twin.events.waiting()) >= len(site.events.waiting())
    twin.crash()
    assert site.agent is one
    assert world.judges.activity.active(group) == sorted((site.name, twin.name))


@pytest.mark.parametrize("in_step", [False, True])
def test_two_that_speak_are_found_one_fences_and_where_the_witnesses_hear_it_anew_the_other_one_too(in_step: bool):
    """While the other one's streams are open they send it away, and say so in their logs."""
    world, site, twin = copied(in_step=in_step)
    passes(world, 2 * LEASE_NS)
    active = states(site, twin).count(SiteState.ACTIVE)
    assert active <= 1
    assert (EventKind.SECOND_AGENT in told(world)) is (EventKind.SITE_RESTARTED in told(world)) is (active == 0)
    assert EventKind.RELEASED not in told(world)
    activity = world.judges.activity
    assert activity.copied_windows == 1
    assert 0 < activity.copied_window_ns_max <= LEASE_NS
    assert world.faults_hit["live-copy-told"] == 1
    assert violations(world) == []


@pytest.mark.parametrize("which", [0, 1], ids=["original", "copy"])
def test_the_one_that_is_cut_off_ends_with_its_own_lease_and_the_other_one_goes_on(which: int):
    world, *pair = copied()
    cut(world, pair[which])
    passes(world, LEASE_NS)
    assert active_site(world) is pair[1 - which]
    assert 0 < world.judges.activity.copied_window_ns_max <= LEASE_NS
    passes(world, 5 * LEASE_NS)
    assert active_site(world) is pair[1 - which]
    assert violations(world) == []


def test_a_copy_that_the_hypervisor_announces_ends_what_it_has_at_once():
    world, site, twin = copied()
    assert site.agent is not None
    before = site.agent.incarnation
    cut(world, twin)
    announce(twin, twin.rng)
    passes(world, 700 * NS_PER_MS)
    assert twin.agent is not None
    assert twin.agent.incarnation != before
    assert active_site(world) is site
    assert world.judges.activity.copied_window_ns_max < 700 * NS_PER_MS
    assert violations(world) == []


def group_of(world: World):
    return world.setup.groups[0].group


def test_a_copy_without_its_guard_would_outlive_its_lease_and_is_objected_to():
    """The judge knows the copy's authority by the original's, and not by what the copy thinks."""
    world, site, twin = copied()
    cut(world, twin)
    post = twin.shells[group_of(world)].post
    assert post.guard is not None
    post.guard.next_deadline = lambda: None  # type: ignore[method-assign]  # the kernel forgot it
    twin.stop()
    passes(world, 2 * LEASE_NS)
    world.judges.look([])
    assert any("authority" in words and twin.name in words for words in violations(world))
    del site


def test_drawn_copies_open_windows_that_end_within_two_leases():
    total = Total()
    for seed in range(1, 7):
        total.add(KIT.chosen(("live-copy",))(seed))
    assert total.failed == 0
    assert total.figures["copied_windows"] >= 3
    assert min(total.faults_hit[f"live-copy-{what}"] for what in ("active", "cut-off", "told")) >= 3


def test_machines_copied_while_dormant_do_no_harm():
    world = calm_world()
    assert served(world)
    [site] = [one for one in world.sites if one is not active_site(world)]
    twin = copy_running(world, site, Snapshot(in_step=False, rate_ppm=40))
    passes(world, 300 * NS_PER_MS)
    assert twin.clock.rate_ppm == 40
    passes(world, 4 * LEASE_NS)
    assert len(world.judges.activity.active(group_of(world))) == 1
    assert world.judges.activity.copied_windows == 0
    assert violations(world) == []


# -- the judge of what copies say -----------------------------------------------------------------------------


class Court:
    def __init__(self) -> None:
        self.now_ns = 0
        self.findings = Findings(lambda: self.now_ns)
        self.copies = CopiesChecker(self.findings, lambda: self.now_ns)
        self.copies.copied("dc-a", "dc-a-twin")

    def sends(self, host: str, seq: int, incarnation: str = "one") -> Heartbeat:
        self.now_ns += 1
        nonce = Nonce(f"{host}{incarnation}{seq}".encode().ljust(16, b".")[:16])
        beat = Heartbeat(SiteId("dc-a"), _incarnation(incarnation), seq, nonce, WallMs(0), ())
        self.copies.sent(host, beat)
        return beat

    def answers(self, host: str, beat: Heartbeat, reason: Reason = Reason.OK) -> bool:
        self.now_ns += 1
        verdict = Verdict.RENEWED if reason is Reason.OK else Verdict.REFUSED
        one = GroupAnswer(
            GroupId("erp"), verdict, Epoch(1), RenewalNo(1), 1_000, 10_000, 0, RevokePhase.NONE, 1, reason
        )
        return self.copies.answered(host, SiteId("dc-a"), HeartbeatAnswer(beat.nonce, (one,)))

    def says(self) -> list[str]:
        return [one.text for one in self.findings.violations]


def _incarnation(name: str) -> Incarnation:
    return Incarnation(name.encode().ljust(16, b"."))


def test_a_word_that_is_behind_an_answered_one_must_not_be_renewed():
    court = Court()
    court.answers("dc-a", court.sends("dc-a", 5))
    court.answers("dc-a-twin", court.sends("dc-a-twin", 6))
    assert court.says() == []
    court.answers("dc-a", court.sends("dc-a", 6))
    assert court.says() == ["dc-a is renewed by heartbeat 6; dc-a-twin had been answered for 6 before"]


def test_who_was_told_says_no_more_as_that_incarnation():
    court = Court()
    first, newest = court.sends("dc-a-twin", 5), court.sends("dc-a-twin", 6)
    assert not court.answers("dc-a-twin", first, Reason.STALE_HEARTBEAT), "an overtaken one says nothing"
    assert court.answers("dc-a-twin", newest, Reason.STALE_HEARTBEAT)
    court.sends("dc-a-twin", 1, "two")
    assert court.says() == []
    court.sends("dc-a-twin", 7)
    assert court.says() == ["dc-a-twin speaks on as the incarnation that it was told another one speaks for"]


def test_a_later_incarnation_is_known_by_when_it_spoke_and_not_by_when_it_was_answered():
    """Seed 7029: two that begin anew at once are heard in one order and answered in the other."""
    court = Court()
    early, late = court.sends("dc-a", 1, "two"), court.sends("dc-a-twin", 1, "three")
    court.answers("dc-a-twin", late)
    court.answers("dc-a", early)
    court.answers("dc-a-twin", court.sends("dc-a-twin", 2, "three"))
    assert court.says() == []
    court.answers("dc-a", court.sends("dc-a", 1, "four"))
    court.answers("dc-a-twin", court.sends("dc-a-twin", 3, "three"))
    assert court.says() == ["dc-a-twin is renewed, though a later incarnation of its site had been heard"]


def released(court: Court) -> None:
    release = Release(
        SiteId("dc-a"),
        _incarnation("one"),
        GroupId("erp"),
        Epoch(1),
        Claim(bytes(16)),
        ReleaseKind.CLEAN,
        "",
        Nonce(bytes(16)),
    )
    court.copies.released("dc-a", release)


def test_a_copy_that_ends_releases_only_after_a_word_of_then_was_answered():
    court = Court()
    beat = court.sends("dc-a", 5)
    court.copies.down(GroupId("erp"), "dc-a")
    released(court)
    assert court.says() == ["dc-a releases erp before a word of after its end was answered"]
    court.answers("dc-a", beat)
    released(court)
    assert len(court.says()) == 1


def test_witnesses_that_begin_anew_need_no_word_before_a_release_of_what_they_do_not_know():
    """Seed 134303: the newest word had been answered by the witnesses of before."""
    court = Court()
    court.answers("dc-a", court.sends("dc-a", 5))
    court.copies.restored()
    court.copies.down(GroupId("erp"), "dc-a")
    released(court)
    assert court.says() == []
    court.sends("dc-a", 6)
    court.copies.down(GroupId("erp"), "dc-a")
    released(court)
    assert court.says() == ["dc-a releases erp before a word of after its end was answered"]
