"""Wrong variants of single safety rules, each with the faults that make it matter: the checkers must see them.

Each is a patch of one name in the code under test; nothing of it is in the product. `budget` is how many schedules
may pass until it is caught (about three times what it took when it was written).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import pytest

import witness.core.lease_rules
import witness.core.permits
import witness.core.proposals
import witness.core.restore
import witness.core.speaker
import witness.core.timers
from agents.core.agent import SiteAgent
from agents.core.group_life import GroupLife
from agents.core.lease_holder import LeaseHolder
from agents.core.permit_desk import PermitDesk
from agents.core.release import EpochEnd
from agents.fencing.guard_model import GuardModel
from proto import limits
from proto.commands import VoteKind
from proto.groups import Failback
from proto.health import DataChecks, SiteState
from proto.lease import LeaseConstants
from proto.units import NS_PER_MS, NS_PER_S, Epoch
from witness.core.timers import LeaseTimers
from witness.core.transitions import Phase
from witness.sim.faults import FAULTS, Fault
from witness.sim.faults_permit import with_outage
from witness.sim.licenses.draw import with_licenses
from witness.sim.plans import GroupShell
from witness.sim.resource import Resource
from witness.sim.setup import Setup, draw
from witness.sim.world import World

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Broken:
    name: str
    patch: Patch
    kinds: tuple[str, ...]
    caught_as: frozenset[str]
    budget: int
    drift_max_ppm: int = 10_000
    extreme: bool = False


def counted_from_the_answer(patch: pytest.MonkeyPatch) -> None:
    right = LeaseHolder.renewed

    def renewed(self, epoch, sent, constants, now):
        return right(self, epoch, now, constants, now)

    patch.setattr(LeaseHolder, "renewed", renewed)


def wait_without_drift(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(witness.core.timers, "witness_wait", lambda constants: constants.ttl_ns)


def minority_expires(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(witness.core.lease_rules, "majority", lambda members: 1)


def step_uncapped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(limits, "TIMER_STEP_MAX_NS", 1 << 60)


def stale_votes_count(patch: pytest.MonkeyPatch) -> None:
    """A vote for whatever renewal ends the lease as it is now."""

    def cast(scope, command, vote):
        group = scope.state.groups.get(vote.group)
        if group is None or group.lease is None or group.lease.epoch != vote.epoch:
            return False
        right = replace(vote, number=group.lease.renewal)
        return original(scope, command, right)

    original = witness.core.lease_rules._cast_expiry
    patch.setattr(witness.core.lease_rules, "_cast_expiry", cast)


def votes_outlive_renewals(patch: pytest.MonkeyPatch) -> None:
    """A timer goes on where it was instead of starting in full."""
    right = LeaseTimers.follow

    def follow(self, name, group):
        timer = self._timers.get((VoteKind.EXPIRY, name))
        lease = None if group is None else group.lease
        if timer is not None and lease is not None and lease.epoch == timer.epoch:
            timer.number = lease.renewal
            return
        right(self, name, group)

    patch.setattr(LeaseTimers, "follow", follow)


def released_before_down(patch: pytest.MonkeyPatch) -> None:
    """The runner says 'down' when it has asked for it."""
    right = GroupShell._end_guard

    def end_guard(self, plan, what):
        right(self, plan, what)
        self._finish(plan, ok=True, text="")

    patch.setattr(GroupShell, "_end_guard", end_guard)


def no_kernel_floor(patch: pytest.MonkeyPatch) -> None:
    """While the guard is stopped nothing ends its processes."""
    right = GuardModel.next_deadline
    patch.setattr(GuardModel, "next_deadline", lambda self: None if self.frozen else right(self))


def epoch_reused(patch: pytest.MonkeyPatch) -> None:
    def floor(group):
        return Epoch(group.epoch - 1)

    patch.setattr(witness.core.lease_rules, "epoch_floor", floor)
    patch.setattr(witness.core.proposals, "epoch_floor", floor)
    patch.setattr(LeaseHolder, "may_begin", lambda self, epoch: self.epoch == 0)


# -- wrong restores of all witnesses ----------------------------------------------------------------------------


def generation_of_the_backup(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(witness.core.restore, "next_generation", lambda state, lineage: state.generation)


def generation_after_the_backup(patch: pytest.MonkeyPatch) -> None:
    """The second restore of one backup repeats the first one's epochs."""
    patch.setattr(witness.core.restore, "next_generation", lambda state, lineage: state.generation + 1)


def not_barred(patch: pytest.MonkeyPatch) -> None:
    """Every group begins vacant, under an epoch of its own."""
    right = witness.core.restore._restore_group

    def restore_group(group, generation, bar, ledger, name):
        right(group, generation, bar, ledger, name)
        group.phase, group.lease = Phase.VACANT, None

    patch.setattr(witness.core.restore, "_restore_group", restore_group)


def bar_of_the_backup(patch: pytest.MonkeyPatch) -> None:
    """The longest lease that the backup knows, whatever was in force since."""
    right = witness.core.restore.bar_of
    patch.setattr(witness.core.restore, "bar_of", lambda state, claimed: right(state, LeaseConstants(0, 0, 0)))


def lease_of_the_backup(patch: pytest.MonkeyPatch) -> None:
    """Whoever was the holder in the backup goes on under its old lease; all epochs to come are above all others."""
    right = witness.core.restore._restore_group

    def restore_group(group, generation, bar, ledger, name):
        phase, lease = group.phase, group.lease
        reports = {site: (record.report, record.incarnation) for site, record in group.sites.items()}
        right(group, generation, bar, ledger, name)
        if lease is not None and lease.site is not None:
            group.phase, group.lease = phase, lease
            for site, known in reports.items():
                group.sites[site].report, group.sites[site].incarnation = known

    patch.setattr(witness.core.restore, "_restore_group", restore_group)


# -- break-glass ------------------------------------------------------------------------------------------------


def nobody_is_away(patch: pytest.MonkeyPatch) -> None:
    """What was silent for long may be active under a permit; the witnesses grant as if it were not."""
    patch.setattr(witness.core.permits, "away_sites", lambda group, counted_ms: [])


def silence_is_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PermitDesk, "_silence", lambda self, permit, standing, now: "")


# -- copies of a running machine --------------------------------------------------------------------------------


def any_heartbeat_counts(patch: pytest.MonkeyPatch) -> None:
    """Also one with a number that was there before."""
    right = witness.core.speaker.heard

    def heard(scope, beat):
        record = scope.state.agents.get(beat.site)
        if record is not None and record.incarnation == beat.incarnation:
            return None
        return right(scope, beat)

    patch.setattr(witness.core.speaker, "heard", heard)


def a_stale_word_tells_nothing(patch: pytest.MonkeyPatch) -> None:
    """An agent whose newest heartbeat is stale goes on as it was."""
    patch.setattr(SiteAgent, "_new_incarnation", lambda self, text, now: None)


def released_without_a_word(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the answer to a heartbeat of after the end."""
    right = EpochEnd.offer

    def offer(self, *given):
        right(self, *given)
        self.release.alone = True

    patch.setattr(EpochEnd, "offer", offer)


# -- licenses ---------------------------------------------------------------------------------------------------


def a_probe_ends_what_is_active(patch: pytest.MonkeyPatch) -> None:
    """What a probe says counts for more than the lease."""
    right = GroupLife.license_active

    def license_active(self, name):
        right(self, name)
        if self.state is SiteState.ACTIVE:
            self.fence("its license is activated, and nobody asked for that")

    patch.setattr(GroupLife, "license_active", license_active)


# -- at the resource --------------------------------------------------------------------------------------------


def resource_takes_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Resource, "admits", lambda self, group, epoch: True)


LAST_LEAP: WeakKeyDictionary[World, int] = WeakKeyDictionary()
APART_NS = 5 * NS_PER_S


def leap_all(world, rng: random.Random) -> None:
    """The host of all witnesses moved and guessed the time: all of them jump ahead; once in a while."""
    if world.events.now_ns - LAST_LEAP.get(world, -APART_NS) < APART_NS:
        return
    LAST_LEAP[world] = world.events.now_ns
    world.leap(list(world.witnesses.values()), rng.randint(1_000, 20_000) * NS_PER_MS)
    world.hit("leap-all")


OVERLAP = frozenset({"overlap"})
EARLY = frozenset({"overlap", "early-expiry"})
EARLY_GRANT = frozenset({"overlap", "early-grant"})
RESTORE = ("restore-all",)
PERMIT = frozenset({"permit", "overlap"})
EFFECT = frozenset({"effect"})
COPIED = ("live-copy", "switchover")
BROKEN = (
    Broken("counted-from-the-answer", counted_from_the_answer, ("slow", "site-freeze", "cut-site"), OVERLAP, 60),
    Broken(
        "wait-without-drift",
        wait_without_drift,
        ("site-freeze",),
        EARLY,
        30,
        drift_max_ppm=100_000,
        extreme=True,
    ),
    Broken("minority-expires", minority_expires, ("mad-clock", "cut-site", "lossy"), EARLY, 30),
    Broken("step-uncapped", step_uncapped, ("leap-all", "site-freeze"), EARLY, 30, drift_max_ppm=100_000),
    Broken("stale-votes-count", stale_votes_count, ("witness-cut-all", "cut-link"), EARLY, 30),
    Broken("votes-outlive-renewals", votes_outlive_renewals, (), EARLY, 10),
    Broken("released-before-down", released_before_down, ("switchover", "stop-deaf"), OVERLAP, 30),
    Broken("no-kernel-floor", no_kernel_floor, ("site-freeze",), OVERLAP, 30),
    Broken("epoch-reused", epoch_reused, ("switchover",), frozenset({"epoch", "story", "crash"}), 20),
    Broken("generation-of-the-backup", generation_of_the_backup, RESTORE, frozenset({"story", "epoch"}), 6),
    Broken("generation-after-the-backup", generation_after_the_backup, RESTORE, frozenset({"story", "epoch"}), 15),
    Broken("not-barred", not_barred, RESTORE, EARLY_GRANT, 6),
    Broken("bar-of-the-backup", bar_of_the_backup, RESTORE, EARLY_GRANT, 6),
    Broken("resource-takes-all", resource_takes_all, ("guest-freeze",), EFFECT, 6),
    Broken("any-heartbeat-counts", any_heartbeat_counts, COPIED, frozenset({"copies"}), 4),
    Broken("a-stale-word-tells-nothing", a_stale_word_tells_nothing, COPIED, frozenset({"copies"}), 4),
    Broken("released-without-a-word", released_without_a_word, COPIED, frozenset({"copies"}), 6),
    Broken(
        "probe-ends-what-is-active", a_probe_ends_what_is_active, ("license-probe",), frozenset({"license-story"}), 4
    ),
    Broken("nobody-is-away", nobody_is_away, ("permit",), PERMIT, 9),
    Broken("silence-is-not-waited-for", silence_is_not_waited_for, ("permit",), PERMIT, 3),
    Broken("lease-of-the-backup", lease_of_the_backup, RESTORE, frozenset({"story", "overlap"}), 6),
)


def setup_for(broken: Broken, seed: int) -> Setup:
    """A plain two-site group under the faults that matter, and leases of a second."""
    drawn = draw(seed, list(FAULTS))
    config = replace(
        drawn.groups[0],
        sites=drawn.sites[:2],
        constants=LeaseConstants(1_000, broken.drift_max_ppm, 0),
        failback=Failback.MANUAL,
        max_replication_lag_ms=None,
    )
    plain = replace(
        drawn,
        sites=drawn.sites[:2],
        groups=(config,),
        kinds=broken.kinds,
        safety_s=30.0,
        data_checks=DataChecks.PASSED,
        drift_extreme=broken.extreme,
    )
    return with_licenses(with_outage(plain))


EXTRA_FAULTS = {"leap-all": Fault(leap_all, 3.0)}
