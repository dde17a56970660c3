"""All witnesses lost and restored while the sites go on: what is struck, what is judged, and what it found."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).parent))

from checker_rig import A, B, Chronicle, Court, G, S
from hash_seeds import told_under_two_hash_seeds
from sim_worlds import active_site, calm_world, served, violations
from test_sim_checkers_witnesses import FIRST, VACANT, K

from proto.commands import QuarantineCause
from proto.lease import LeaseConstants
from witness.sim.campaign.total import Total
from witness.sim.checkers.durable import DurableChecker, Told
from witness.sim.checkers.restored import RestoreChecker
from witness.sim.checkers.story import StoryChecker
from witness.sim.faults import FAULTS
from witness.sim.former import FormerLife
from witness.sim.kit import KIT
from witness.sim.raft.checkers import LogChecker
from witness.sim.raft.faults_identity import readmit_host
from witness.sim.restores import Kept
from witness.sim.run import run_schedule
from witness.sim.setup import draw
from witness.sim.world import World

VARIANTS = frozenset(
    {"backup-running", "backup-stopped", "restore-all", "restore-cut-holder", "restore-leftover"}
    | {"restore-old-backup", "restore-without-backup"}
)
SEEDS = range(300, 312)


@pytest.fixture
def court() -> Court:
    return Court()


# -- schedules ------------------------------------------------------------------------------------------------


def test_every_way_of_a_restore_is_really_hit_and_nothing_is_violated():
    hit: Counter[str] = Counter()
    for seed in SEEDS:
        result = run_schedule(seed, setup=replace(draw(seed, list(FAULTS)), kinds=("restore-all",)))
        assert [str(violation) for violation in result.violations] == []
        hit += result.faults_hit
    assert sorted(VARIANTS - set(hit)) == []
    assert hit["restore-all"] >= len(SEEDS) // 2


def test_witnesses_with_lost_and_old_disks_are_readmitted_beside_restores_of_all():
    """A copy that was made of a disk before a restore of all is not put back into the life after it."""
    kinds = ("restore-all", "witness-blank-disk", "witness-restored-disk")
    total = Total()
    for seed in range(520, 524):
        total.add(KIT.chosen(kinds)(seed))
    assert {words: f"seed {failure.seed}" for words, failure in total.distinct()} == {}
    assert min(total.faults_hit[counter] for counter in (*kinds, "witness-readmitted")) >= 1


def test_the_hash_seed_changes_no_restore():
    arguments = ("-m", "witness.sim", "--seed=300", "--schedules=2", "--json", "--kinds=restore-all")
    summaries = [json.loads(told.splitlines()[-1]) for told in told_under_two_hash_seeds(*arguments)]
    assert all(summary["faults_hit"]["restore-all"] >= 1 for summary in summaries)
    names = ("events", "violations", "stuck", "faults_hit")
    one, other = ([summary[name] for name in names] for summary in summaries)
    assert one == other


def lose_and_restore(world: World, kept: Kept) -> None:
    world.restores.lose_all()
    world.restores.restore_after(0, kept, random.Random(1), None)
    world.run_until(world.events.now_ns + 1)


def test_epochs_go_on_above_all_that_were_granted_after_the_backup():
    world = calm_world()
    assert served(world)
    kept = world.restores.back_up(next(iter(world.cluster.hosts.values())))
    assert kept is not None
    leader = next(host for host in world.witnesses.values() if host.node and host.node.consensus.leading)
    outcomes: list[bool] = []
    standby = next(site for site in world.sites if site is not active_site(world))
    leader.switchover(G, standby.settings.site, lambda outcome: outcomes.append(outcome.ok))
    world.run_until(world.events.now_ns + 5 * S)
    assert outcomes == [True]
    assert active_site(world) is standby
    lose_and_restore(world, kept)
    assert served(world)
    assert world.judges.activity.activations == 3
    assert world.judges.restores.waited == 1
    assert violations(world) == []


def test_a_blank_witness_is_readmitted_after_a_restore_without_a_backup():
    """Its log and that of the restored ones began with an entry 1 of different terms: it was never sent the state.

    Found by seeds 141, 147 and 153 of `restore-all`, stuck until the leader's log was compacted.
    """
    world = calm_world()
    assert served(world)
    lose_and_restore(world, world.restores.kept[0])
    assert served(world)
    host = next(iter(world.cluster.hosts.values()))
    readmit_host(world.cluster, host, random.Random(2))
    host.start()
    world.run_until(world.events.now_ns + 30 * S)
    assert host.member is not None
    assert host.member.view().votes
    assert served(world)
    assert violations(world) == []


def test_who_is_called_replaced_after_the_heal_is_readmitted_once_more():
    """Its blank disk is one that a later readmission replaced: its peers refuse it until it has a newer one."""
    world = calm_world()
    cluster = world.cluster
    assert served(world)
    host = next(one for one in cluster.hosts.values() if one is not cluster.leader())
    readmit_host(cluster, host, random.Random(1))
    replaced = host.drive.disk.clone(random.Random(2), host.witness)
    for number in (3, 4):  # each time another disk: the same one, blank again, would have forgotten something
        host.start()
        world.run_until(world.events.now_ns + 5 * S)
        readmit_host(cluster, host, random.Random(number))
    host.start()
    world.run_until(world.events.now_ns + 5 * S)
    host.power_off()
    host.drive.insert(replaced)
    cluster.damage.replaced(host)
    cluster.network.forget_past(host.name)
    cluster.damage.readmitted(host)
    world.heal()
    assert world.settle()
    assert world.faults_hit["witness-readmit-again"] == 1
    world.close(settled=True)
    assert violations(world) == []


def test_a_witness_of_the_former_life_is_heard_by_nobody():
    world = calm_world()
    assert served(world)
    leftover = next(iter(world.cluster.hosts.values()))
    world.restores.lose_all()
    world.restores.restore_after(0, Kept(None, LeaseConstants(1_000, 0, 0)), random.Random(1), leftover)
    world.run_until(world.events.now_ns + 1)
    world.cluster.damage.out.add(leftover.name)
    world.heal()
    assert world.settle()
    assert world.faults_hit["restore-leftover"] == 1
    assert violations(world) == []


# -- checkers -------------------------------------------------------------------------------------------------

TEN_S = SimpleNamespace(lease=SimpleNamespace(constants=LeaseConstants(10_000, 0, 1_000)))
MACHINE = SimpleNamespace(state=SimpleNamespace(groups={G: TEN_S}))


def granted(checker: RestoreChecker, epoch: int) -> None:
    checker.told(Chronicle().add(K.GRANTED, A, epoch, FIRST), MACHINE)


@pytest.mark.parametrize(("at_ns", "found"), [(16 * S - 2_000, ["early-grant"]), (16 * S, [])])
def test_the_first_grant_waits_for_the_last_lease_and_its_lock_delay(court: Court, at_ns: int, found: list[str]):
    checker = RestoreChecker(court.findings, court.now)
    granted(checker, 1)
    checker.restored(5 * S)
    court.now_ns = at_ns
    assert bool(checker.in_force()) == bool(found)
    granted(checker, 2)
    granted(checker, 3)
    assert (court.kinds(), checker.waited) == (found, 1)


def test_a_second_restore_shortens_nothing(court: Court):
    checker = RestoreChecker(court.findings, court.now)
    granted(checker, 1)
    checker.restored(5 * S)
    checker.restored(6 * S)
    court.now_ns = 15 * S
    granted(checker, 2)
    assert court.kinds() == ["early-grant"]


def test_without_a_grant_nobody_waits(court: Court):
    checker = RestoreChecker(court.findings, court.now)
    checker.restored(5 * S)
    granted(checker, 1)
    assert (court.kinds(), checker.waited) == ([], 0)


def told_again(court: Court, known: int, *lines: tuple) -> StoryChecker:
    """A life of three epochs; all witnesses are restored from what it was after the first `known` events."""
    checker, chronicle = StoryChecker(court.findings), Chronicle()
    life = [*VACANT, (K.QUARANTINED, A, 2, f"{QuarantineCause.OPERATOR.value}: x"), (K.GRANTED, B, 3, "x: y")]
    for kind, site, epoch, text in life[:-1]:
        checker.told(chronicle.add(kind, site, epoch, text))
    checker.told(chronicle.add(K.GRANTED, B, 3, "takeover: the holder released its lease"))
    court.findings.violations.clear()
    checker.restored(chronicle.events[:known])
    after = Chronicle()
    after.events = list(chronicle.events[:known])
    for kind, site, epoch, text in lines:
        checker.told(after.add(kind, site, epoch, text))
    return checker


def test_after_a_restore_the_story_goes_on_from_the_backup(court: Court):
    told_again(court, 2, (K.RESTORED, None, 10, ""), (K.UNBARRED, None, 0, ""), (K.GRANTED, A, 11, FIRST))
    assert court.kinds() == []


@pytest.mark.parametrize("epoch", [2, 3])
def test_an_epoch_that_the_backup_does_not_know_of_is_spent_all_the_same(court: Court, epoch: int):
    told_again(court, 2, (K.RESTORED, None, epoch, ""))
    assert court.kinds() == ["story"]
    assert f"it begins with epoch {epoch}, it had 3 before" in court.words()


def test_a_grant_without_the_wait_and_one_in_spite_of_the_quarantine_in_the_backup_are_seen(court: Court):
    told_again(court, 2, (K.RESTORED, None, 10, ""), (K.GRANTED, A, 11, FIRST))
    assert "without an end before" in court.words()
    court.findings.violations.clear()
    told_again(court, 6, (K.RESTORED, None, 10, ""), (K.UNBARRED, None, 0, ""), (K.GRANTED, A, 11, FIRST))
    assert court.kinds() == ["quarantine"]


def test_what_was_told_after_the_backup_is_forgotten_and_later_answers_are_not(court: Court):
    checker = DurableChecker(court.findings)
    checker.told(Told("w1", 9, 0, b""), 0)
    checker.restored(5)
    checker.ends("w1", 5)
    assert checker.floor == 5
    assert court.kinds() == []
    checker.told(Told("w1", 5, 0, b""), checker.floor)
    assert court.kinds() == ["order"]


def test_the_log_goes_on_from_the_restored_state():
    found: list[str] = []
    log = LogChecker(lambda kind, text: found.append(kind))
    log.begins_at(7, b"digest")
    log.restored("w1", 7, b"digest")
    log.applied("w1", 8, b"x", 7, b"next")
    assert found == []
    log.restored("w2", 7, b"other")
    log.applied("w2", 6, b"x", 5, b"past")
    assert set(found) == {"state", "agreement", "twice"}


def test_an_answer_out_of_the_former_life_is_a_violation():
    found: list[str] = []
    nothing = None
    judge = SimpleNamespace(found=lambda kind, text: found.append(kind))
    FormerLife(SimpleNamespace(hit=nothing, note=nothing, ended=nothing, asked=nothing, judge=judge)).told(
        SimpleNamespace(witness="w1"), 9, 0
    )
    assert found == ["former"]
