"""The campaign: workers change nothing, nothing outlives its parent, a run goes on where another one ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import campaign_rig as rig
import pytest

from proto.clock import ManualClock, SystemClock
from proto.errors import BadValue
from proto.units import NS_PER_S
from witness.sim.campaign import crew, engine
from witness.sim.campaign.bar import Bar
from witness.sim.campaign.engine import Plan, bounded
from witness.sim.campaign.result import Result
from witness.sim.campaign.state import Standing, StoredStanding, fingerprint
from witness.sim.campaign.total import Total
from witness.sim.raft import kit as fuzz


def run(plan: Plan, standing: Standing, job=rig.plain, stop=lambda: False) -> list[Result]:
    told: list[Result] = []
    engine.campaign(plan, job, standing, SystemClock(), told.append, stop, lambda: None)
    return told


def figures(total: Total) -> dict:
    """Without what the machine has a say in."""
    found = total.as_json()
    del found["wall_ns"]
    for pace in (found["quiet"], found["fire"]):
        del pace["spent_ns"], pace["cpu_ns"]
    return json.loads(json.dumps(found))


def test_workers_change_nothing():
    alone, together = Standing(500), Standing(500)
    for seed in range(500, 508):
        alone.ended(fuzz.KIT.chosen(None)(seed))
    told = run(Plan(500, 8, None, 2), together, fuzz.KIT.chosen(None))
    assert all(result.kinds == fuzz.KIT.drawn(result.seed, None) for result in told)
    assert sorted(result.seed for result in told) == list(range(500, 508))
    assert figures(together.total) == figures(alone.total)
    assert together.total.fire.spent_ns > 0
    assert together.total.wall_ns > 0


def test_a_worker_that_dies_is_a_violation_and_the_rest_is_done():
    standing = Standing(1)
    told = run(Plan(1, 6, None, 1), standing, rig.dies)
    assert sorted(result.seed for result in told) == [1, 2, 3, 4, 5, 6]
    assert standing.total.by_kind() == {"died": 1}
    assert "exit code 3" in next(result for result in told if result.seed == rig.DIES_AT).violations[0].text


def test_workers_that_die_again_and_again_end_it(monkeypatch):
    monkeypatch.setattr(crew, "DEATHS_MAX", 0)
    with pytest.raises(crew.TooManyDeaths, match="exit code 3"):
        run(Plan(rig.DIES_AT, 1, None, 1), Standing(rig.DIES_AT), rig.dies)


def test_a_schedule_that_does_not_return_is_stopped(monkeypatch):
    monkeypatch.setattr(engine, "SCHEDULE_S_MAX", 1)
    standing = Standing(1)
    run(Plan(1, 3, None, 1), standing, rig.endless)
    assert standing.total.by_kind() == {"hung": 1}
    assert standing.total.schedules == 3


def test_a_hung_schedule_says_so():
    def raises(_seed: int) -> Result:
        raise crew.Hung

    assert [violation.kind for violation in bounded(raises, 3).violations] == ["hung"]


def test_time_is_a_limit_too():
    clock = ManualClock()
    seeds = engine._seeds(Plan(1, None, 2, 1), Standing(1), clock)
    before = [next(seeds), next(seeds)]
    clock.advance(2 * NS_PER_S)
    assert (before, list(seeds)) == ([1, 2], [])
    assert run(Plan(1, None, 1, 1), Standing(1))


# -- signals -------------------------------------------------------------------------------------------------


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while any(alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def started(directory: Path, *options: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A campaign whose two workers hang in their fourth and fifth schedule, and those workers."""
    (directory / "pids").mkdir()
    parent = subprocess.Popen(
        [sys.executable, rig.__file__, "--schedules", "20", "--workers", "2", "--seed", "1", *options],
        env={**os.environ, "CAMPAIGN_RIG": str(directory / "pids")},
        stdout=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while time.monotonic() < end and len(list((directory / "pids").iterdir())) < 2:
        time.sleep(0.05)
    pids = [int(path.name) for path in (directory / "pids").iterdir()]
    assert len(pids) == 2
    return parent, pids


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_workers_and_what_was_done_is_told(tmp_path, number):
    parent, pids = started(tmp_path, "--json", "--state", str(tmp_path / "state"))
    try:
        for pid in (*pids, parent.pid):  # as a terminal, or `timeout`, sends it to a whole group
            os.kill(pid, number)
        out, _ = parent.communicate(timeout=90)
    finally:
        parent.kill()
    assert gone(pids, 20)
    assert parent.returncode == 128 + number
    summary = json.loads(out.splitlines()[-1])
    assert summary["interrupted"]
    assert summary["violations"] == 0
    assert json.loads((tmp_path / "state").read_text())["total"]["schedules"] == summary["schedules"] <= 3


@pytest.mark.process
def test_workers_notice_that_their_parent_was_killed(tmp_path):
    parent, pids = started(tmp_path)
    parent.kill()
    parent.communicate(timeout=90)
    assert gone(pids, 60)


# -- the state file ------------------------------------------------------------------------------------------


def test_a_run_goes_on_where_another_one_ended(tmp_path):
    path = tmp_path / "state"
    first = StoredStanding(path, "rig", 1, "code")
    run(Plan(1, 12, None, 2), first, stop=lambda: first.total.schedules >= 5)
    first.close()
    assert 5 <= first.total.schedules < 12
    second = StoredStanding(path, "rig", 1, "code")
    told = run(Plan(1, 12, None, 2), second)
    second.close()
    assert len(told) == 12 - first.total.schedules
    whole = Standing(1)
    for seed in range(1, 13):
        whole.ended(rig.plain(seed))
    assert figures(second.total) == figures(whole.total)
    assert second.total.wall_ns >= first.total.wall_ns


def test_seeds_that_end_out_of_order_are_done_once(tmp_path):
    standing = StoredStanding(tmp_path / "state", "rig", 10, "code")
    for seed in (12, 10, 15):
        standing.ended(rig.plain(seed))
    standing.save()
    standing.close()
    again = StoredStanding(tmp_path / "state", "rig", 10, "code")
    assert list(again.left(17)) == [11, 13, 14, 16]
    again.close()


def test_it_is_saved_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "SAVE_EVERY_NS", 0)
    path = tmp_path / "state"
    seen: list[int] = []
    standing = StoredStanding(path, "rig", 1, "code")

    def told(_result: Result) -> None:
        if path.exists():
            seen.append(json.loads(path.read_text())["total"]["schedules"])

    engine.campaign(Plan(1, 5, None, 1), rig.plain, standing, SystemClock(), told, lambda: False, lambda: None)
    standing.close()
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (("sim", 1, "code"), "another command"),
        (("rig", 2, "code"), "another first seed"),
        (("rig", 1, "new"), "another version of the code"),
    ],
)
def test_a_file_of_another_campaign_is_refused_and_left_alone(tmp_path, other, says):
    path = tmp_path / "state"
    mine = StoredStanding(path, "rig", 1, "code")
    mine.save()
    mine.close()
    before = path.read_bytes()
    with pytest.raises(BadValue, match=says):
        StoredStanding(path, *other)
    assert path.read_bytes() == before
    StoredStanding(path, "rig", 1, "code").close()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": 1, "command": "rig", "first_seed": 1, "code": "c"}']
)
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(BadValue, match="--state"):
        StoredStanding(path, "rig", 1, "c")


def test_two_campaigns_on_one_file_are_refused(tmp_path):
    mine = StoredStanding(tmp_path / "state", "rig", 1, "code")
    with pytest.raises(BadValue, match="is used by a campaign that runs"):
        StoredStanding(tmp_path / "state", "rig", 1, "code")
    mine.close()


def test_the_fingerprint_follows_the_sources(tmp_path):
    (tmp_path / "one.py").write_text("x = 1\n")
    before = fingerprint((tmp_path,))
    assert before == fingerprint((tmp_path,)) != fingerprint()
    (tmp_path / "one.py").write_text("x = 2\n")
    assert fingerprint((tmp_path,)) != before


# -- the bar -------------------------------------------------------------------------------------------------


def test_progress_says_rate_time_left_and_failures(capfd):
    clock, total = ManualClock(), Total()
    bar = Bar(Plan(1, 40, None, 2), total, clock, terminal=False)
    for seed in range(1, 11):
        total.add(rig.plain(seed))
    clock.advance(5 * NS_PER_S)
    bar.tick()
    assert capfd.readouterr().err == ""
    clock.advance(5 * NS_PER_S)
    bar.tick()
    bar.tick()
    assert capfd.readouterr().err == "10 of 40 schedules, 2 failed, 1.0 a second, 30 s left\n"


def test_progress_of_a_resumed_run_counts_its_own_pace(capfd):
    clock, total = ManualClock(), Total()
    for seed in range(1, 101):
        total.add(rig.plain(seed + 10))
    bar = Bar(Plan(1, None, 7_200, 2), total, clock, terminal=False)
    total.add(rig.plain(200))
    clock.advance(10 * NS_PER_S)
    assert bar.says(clock.now()) == "101 schedules, 0 failed, 0.1 a second, 1 h 59 min left"


def test_a_terminal_gets_a_bar(capfd):
    clock, total = ManualClock(), Total()
    with Bar(Plan(1, 4, None, 2), total, clock, terminal=True) as bar:
        total.add(rig.plain(1))
        clock.advance(NS_PER_S)
        bar.tick()
    assert "1 of 4" in capfd.readouterr().err
