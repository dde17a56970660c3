"""A slice of `make chaos`: a fixed plan of three faults, what a run leaves behind, its plan, its judge, its lines."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chaosrig import chaos_expect, chaos_own
from chaosrig.chaos_compare import ages
from chaosrig.chaos_ground import Lease
from chaosrig.chaos_judge import Outcome, measure, too_busy
from chaosrig.chaos_kinds import ELSEWHERE, KINDS
from chaosrig.chaos_plan import Fault, Step, lines, make_plan, simulator_line, third_location
from fencerig.activity import MS, Report, Seen

from witness.demo.processes import below
from witness.sim.scenario.play import Player, play_line
from witness.sim.scenario.script import ScenarioError

PROGRAM = Path(__file__).with_name("chaos_run.py")
RUN_S = 280.0
"""A bound, not what it takes: the wheel may have to be built first."""
WAIT_S = 120.0
TTL_MS = 3_000
SLICE_SEED = "17"
"""The leader is stopped, the active site's guard is killed, the active site is cut off from the leader."""
CANNOT = 3
MISSING = chaos_own.missing()
needs_rights = pytest.mark.skipif(bool(MISSING), reason=f"REAL FAULTS WERE NOT TRIED: {MISSING}")


@needs_rights
@pytest.mark.process
@pytest.mark.root
@pytest.mark.timeout(320)
def test_three_faults_of_three_kinds_never_two_active_and_all_recovered() -> None:
    words = ["--kinds", "P3,N4,G1", "--faults", "3", "--seed", SLICE_SEED, "--ttl", "5s", "--json"]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *words], capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    told = json.loads(done.stdout.splitlines()[-1])
    assert list(told)[:5] == ["faults", "dual_active_ms", "false_takeovers", "unrecovered", "by_kind"]
    assert (told["faults"], told["dual_active_ms"], told["false_takeovers"], told["unrecovered"]) == (3, 0, 0, 0)
    assert set(told["by_kind"]) == {"P3", "N4", "G1"}
    assert told["by_kind"]["G1"]["moved"] == 1, "its platform went with the guard"
    assert told["referee_looks"]["count"] > 1_000
    assert told["kept"] == []


@needs_rights
@pytest.mark.process
@pytest.mark.root
@pytest.mark.timeout(320)
def test_a_run_that_is_ended_by_a_signal_leaves_nothing() -> None:
    command = [sys.executable, str(PROGRAM), "--kinds", "P3", "--faults", "9", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stderr is not None
        first = child.stderr.readline()
        assert "a world is up" in first
        root = Path(first.split()[-1])
        started = below([child.pid])
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate(timeout=WAIT_S)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 128 + signal.SIGTERM
    assert json.loads(out.splitlines()[-1])["interrupted"] == "SIGTERM"
    assert len(started) > 7
    assert [one for one in started if one.alive()] == []
    assert not root.exists()
    assert not [path for path in Path("/sys/fs/cgroup").glob(f"*/{root.name}") if path.exists()]
    assert root.name not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


@pytest.mark.skipif(os.geteuid() == 0 and not MISSING, reason="everything is allowed here")
def test_without_the_rights_it_says_so_and_runs_nothing() -> None:
    done = subprocess.run([sys.executable, str(PROGRAM)], capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == CANNOT
    assert "CANNOT RUN HERE" in done.stderr


@pytest.mark.parametrize(
    "words", [("--kinds", "P99"), ("--faults", "0"), ("--ttl", "soon"), ("--only", "x"), ("--rows", "flood")]
)
def test_wrong_arguments_are_refused_with_their_names(words: tuple[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *words], capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 2
    assert words[1] in done.stderr


# -- the plan ------------------------------------------------------------------------------------------------


def test_a_seed_is_a_plan() -> None:
    kinds = list(KINDS.values())
    plan = make_plan(kinds, 60, 7, TTL_MS)
    assert plan == make_plan(kinds, 60, 7, TTL_MS)
    assert plan != make_plan(kinds, 60, 8, TTL_MS)
    assert sum(len(step.faults) for step in plan) == 60
    assert {fault.kind for step in plan for fault in step.faults} == set(KINDS), "a turn has every kind"
    pairs = [step for step in plan if len(step.faults) == 2]
    assert pairs
    assert not [step for step in pairs if any(KINDS[fault.kind].alone for fault in step.faults)]


def test_a_comparison_meets_a_lease_at_every_age() -> None:
    met = ages(random.Random("any"), 10, 1_670)
    assert met == ages(random.Random("any"), 10, 1_670)
    assert sorted(at_ms * 10 // 1_670 for at_ms in met) == list(range(10)), "one in each tenth of the period"
    assert met != sorted(met)
    assert all(0 <= at_ms < 3 for at_ms in ages(random.Random("more trials than milliseconds"), 7, 3))


def test_every_kind_is_drawn_expected_and_told() -> None:
    assert set(lines(TTL_MS)) == set(KINDS) == set(chaos_expect.EXPECTED)
    assert all(kind.ids and kind.says for kind in KINDS.values())


NOBODY = ("no site is", "no witness leads", "no guard runs")
"""Nothing has begun yet in that cluster: a line was understood when it finds nobody to hit."""


def refusal(line: str) -> str:
    player = Player()
    player.do("cluster ttl=1s")
    try:
        player.do(line)
    except ScenarioError as error:
        return str(error)
    finally:
        player.close()
    return ""


def test_each_line_is_a_command_of_the_scenario_language() -> None:
    plan = make_plan(list(KINDS.values()), len(KINDS), 1, TTL_MS)
    drawn = {fault.kind: refusal(fault.line) for step in plan for fault in step.faults}
    assert set(drawn) == set(KINDS)
    assert {name: why for name, why in drawn.items() if why and not any(words in why for words in NOBODY)} == {}


def test_a_step_plays_in_the_simulator() -> None:
    (step,) = make_plan([KINDS["G1"]], 1, 1, TTL_MS)
    assert play_line(simulator_line(step, TTL_MS).split("'")[1]).violations == ()


CATALOGUE = {"P": 13, "N": 13, "O": 11, "G": 3, "H": 3}
"""How many faults each family of the catalogue has that real processes can meet."""


def test_every_fault_of_processes_networks_operators_and_guards_is_shown_by_somebody() -> None:
    wanted = {f"{family}{number}" for family, count in CATALOGUE.items() for number in range(1, count + 1)}
    here = {word for kind in KINDS.values() for word in kind.ids.split()}
    others = {word for ids in ELSEWHERE for word in ids.split()}
    assert wanted - here - others == set()
    root = Path(__file__).parents[2]
    assert [by for _, by in ELSEWHERE.values() if by and not (root / by).is_file()] == []


# -- the judge -----------------------------------------------------------------------------------------------


def seen(site: str, epoch: int, first_ms: int, last_ms: int, gone_ms: int | None, pause_ms: int = 1) -> Seen:
    gone = None if gone_ms is None else gone_ms * MS
    return Seen(site, epoch, "daemon", first_ms * MS, last_ms * MS, 1, pause_ms * MS, first_ms * MS, gone)


def judged(step: Step, *rows: Seen, until_ms: int = 5_000, after: int = 1) -> Outcome:
    outcome = Outcome(step, life_before=1, epoch_before=1, epoch_after=after, site_before="site-a", recovery_ms=1.0)
    measure(outcome, Report(9_000 * MS, rows, {"dual": 0}), 1_000 * MS, until_ms * MS, 0, TTL_MS)
    return outcome


def step_of(*faults: tuple[str, str]) -> Step:
    return Step(1, tuple(Fault(kind, line, 0) for kind, line in faults), 0)


STOPPED = step_of(("P5", "freeze active 4s"))
CUT = step_of(("N1-all", "cut active witnesses 4s"))


def test_two_places_at_once_are_seen_also_of_one_epoch_and_also_when_one_is_stopped() -> None:
    stopped = judged(STOPPED, seen("site-a", 1, 0, 1_000, 4_100), seen("site-b", 2, 4_000, 8_000, None), after=2)
    assert (stopped.dual_alive_ms, stopped.dual_signs_ms) == (100, 0)
    assert stopped.bad
    twin = judged(STOPPED, seen("site-a", 1, 0, 8_000, None), seen("site-a@ops", 1, 2_000, 3_000, 3_000))
    assert (twin.dual_alive_ms, twin.dual_signs_ms) == (1_000, 1_000)
    woken = seen("site-a", 1, 0, 5_030, 5_040, pause_ms=3_990)
    late = judged(STOPPED, woken, seen("site-b", 2, 4_000, 8_000, None), after=2)
    assert (late.dual_alive_ms, late.dual_signs_ms) == (1_040, 30), "it stood still until 5 s"
    before = judged(STOPPED, seen("site-a", 1, 0, 900, 900), seen("site-b", 2, 800, 8_000, None))
    assert before.dual_alive_ms == 0, "what was before the step is not its own"


def test_a_takeover_is_measured_from_the_fault_and_the_end_too() -> None:
    outcome = judged(CUT, seen("site-a", 1, 0, 3_400, 3_500), seen("site-b", 2, 4_250, 8_000, None), after=2)
    assert (outcome.takeover_ms, outcome.dead_ms, outcome.dual_alive_ms) == (3_250, 2_500, 0)
    assert outcome.beyond_lease_ms is None, "nobody said what was left of the lease"
    outcome.lease = Lease(age_ms=309.5, full_ms=3_500.0, renewal_ms=1_000)
    assert outcome.beyond_lease_ms == 59.5
    assert not outcome.bad


@pytest.mark.parametrize("gone_ms", [4_100, None])
def test_a_site_that_is_cut_off_and_outlives_its_lease_is_said(gone_ms: int | None) -> None:
    outcome = judged(CUT, seen("site-a", 1, 0, 4_000, gone_ms))
    assert len(outcome.broken) == 1
    assert judged(CUT, seen("site-a", 1, 0, 4_000, gone_ms), until_ms=2_000).broken == [], "cut for less than the lease"


@pytest.mark.parametrize(
    ("faults", "allowed"),
    [
        ([("P3", "pause leader 2s")], False),
        ([("N4", "cut active leader 4s")], False),
        ([("N1", "cut standby witnesses 4s")], False),
        ([("N1-all", "cut active witnesses 4s")], True),
        ([("N1", "cut active witnesses 4s")], not chaos_expect.RELAY),
        ([("N1", "cut active witnesses 4s"), ("P5", "freeze standby 4s")], True),
        ([("P3", "pause leader 2s"), ("P1", "kill w2 1s")], True),
        ([("P3", "pause leader 2s"), ("P5", "freeze standby 4s")], False),
        ([("C1", "clock leader wall 1h")], False),
    ],
)
def test_an_epoch_may_move_only_for_a_fault_that_justifies_it(faults: list[tuple[str, str]], allowed: bool) -> None:
    assert chaos_expect.justified(faults) is allowed
    outcome = judged(step_of(*faults), seen("site-b", 2, 2_000, 8_000, None), after=2)
    assert outcome.false_takeover is not allowed


def test_a_site_that_goes_on_through_the_other_must_not_end() -> None:
    relayed = step_of(("N1", "cut active witnesses 4s"))
    ended = judged(relayed, seen("site-a", 1, 0, 3_400, 3_500), seen("site-b", 2, 4_250, 8_000, None), after=2)
    assert ended.false_takeover is chaos_expect.RELAY
    assert len(ended.broken) == chaos_expect.RELAY


def test_an_overrun_machine_excuses_a_relay_that_comes_late_and_nothing_else() -> None:
    relayed = step_of(("N1", "cut active witnesses 4s"))
    assert bool(too_busy(relayed, 7.0, 2)) is chaos_expect.RELAY
    assert not too_busy(relayed, 6.0, 2)
    assert not too_busy(CUT, 30.0, 2)
    outcome = Outcome(
        relayed, life_before=1, epoch_before=1, epoch_after=2, recovery_ms=1.0, excuse="load 30 on 2 cores"
    )
    rows = (seen("site-a", 1, 0, 3_400, 3_500), seen("site-b", 2, 3_400, 8_000, None))
    measure(outcome, Report(9_000 * MS, rows, {"dual": 0}), 1_000 * MS, 5_000 * MS, 0, TTL_MS)
    assert not outcome.false_takeover
    assert outcome.bad, "two at once are never excused"


def test_a_new_epoch_for_what_goes_on_in_its_place_moved_nothing() -> None:
    away = step_of(("H1", "cut sites witnesses 4s"))
    went_on = judged(away, seen("site-a", 1, 0, 8_000, None), after=2)
    went_on.site_after = "site-a"
    assert (went_on.regranted, went_on.moved, went_on.false_takeover) == (True, False, False)
    restarted = judged(away, seen("site-a", 1, 0, 3_000, 3_000), seen("site-a", 2, 3_500, 8_000, None), after=2)
    restarted.site_after = "site-a"
    assert (restarted.regranted, restarted.moved, restarted.false_takeover) == (False, True, True)
    assert restarted.broken


def test_without_the_third_location_it_goes_on_and_without_the_link_it_ends_within_a_lease() -> None:
    (step,) = third_location(4_000, TTL_MS)
    assert [(fault.kind, fault.after_ms) for fault in step.faults] == [("H1", 0), ("H2", 4_000)]
    in_time = judged(step, seen("site-a", 1, 0, 7_900, 7_950), seen("site-a", 2, 8_500, 8_900, None), after=2)
    assert in_time.dead_ms == 6_950
    assert not in_time.broken
    early = judged(step, seen("site-a", 1, 0, 4_900, 4_950), after=2)
    assert early.broken == ["it ended after 3950 ms, and the sites reached each other for 4000 ms"]
    late = judged(step, seen("site-a", 1, 0, 8_000, 8_001), after=2)
    assert late.broken == ["the platform ended 3001.0 ms after the link, with a lease of 3000 ms"]
    never = judged(step, seen("site-a", 1, 0, 8_900, None))
    assert never.broken == ["cut off from witnesses and the other site the platform lives on"]


def test_a_step_that_did_not_recover_is_bad() -> None:
    outcome = judged(STOPPED, seen("site-a", 1, 0, 8_000, None))
    outcome.recovery_ms = None
    assert outcome.bad
    assert outcome.unrecovered


def test_waiting_has_a_bound() -> None:
    began = time.monotonic()
    from chaosrig.chaos_ground import Missing, wait_for

    class Idle:
        def tend(self) -> None:
            return

    with pytest.raises(Missing, match="never: not within 0"):
        wait_for(Idle(), lambda: None, "never", 0)  # type: ignore[arg-type]  # a world that does nothing
    assert time.monotonic() - began < WAIT_S
