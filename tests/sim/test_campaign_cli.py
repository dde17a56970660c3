"""The command line of campaigns: exit codes, the JSON object, what is kept, and the rule of three."""

from __future__ import annotations

import json
from collections import Counter

import campaign_rig as rig
import pytest

from witness.sim import __main__ as sim
from witness.sim.campaign.catalogue import Row, never_hit, table
from witness.sim.campaign.keep import read_kept
from witness.sim.campaign.result import Result
from witness.sim.campaign.total import Total
from witness.sim.raft import __main__ as fuzz
from witness.sim.raft.checkers import Violation


def run(capfd, *options: str, **changed) -> tuple[int, list[str], dict]:
    code = rig.main(["--workers", "1", "--json", *options], rig.kit(**changed))
    lines = capfd.readouterr().out.splitlines()
    return code, lines[:-1], json.loads(lines[-1])


def test_a_clean_campaign_says_what_it_shows(capfd):
    code, lines, summary = run(capfd, "--schedules", "6")
    assert (code, lines) == (0, [])
    told = ("schedules", "events", "simulated_s", "violations", "stuck", "activations")
    assert [summary[name] for name in told] == [6, 81, 21.0, 0, 0, 12]
    assert summary["faults_hit"] == {"rain": 3}
    assert summary["longest_ns"] == 99, "of all schedules, and no sum"
    assert summary["never_hit"] == []
    assert summary["upper_bound_95"] == 0.5
    assert set(summary["simulated_per_wall_s_per_core"]) == {"quiet", "fire"}
    assert not summary["interrupted"]


def test_violations_are_told_with_a_line_that_replays_and_are_kept(capfd, tmp_path):
    keep = tmp_path / "kept"
    code, lines, summary = run(capfd, "--schedules", "9", "--keep", str(keep))
    assert code == 1
    overlap = 'make rig ARGS="--replay 7 --kinds rain"  # overlap at 0.005000 s: dc-7 too'
    stuck = 'make rig ARGS="--replay 9 --kinds rain"  # stuck at 0.000000 s: late'
    assert lines == [overlap, stuck, f"2 failing schedules are kept in {keep}"]
    assert (summary["violations"], summary["stuck"], summary["upper_bound_95"]) == (1, 1, None)
    assert summary["by_kind"] == {"overlap": 1, "stuck": 1}
    assert summary["failures"][0] == {"what": "overlap: dc-N too", "schedules": 1, "replay": 7}
    kept = read_kept(keep / "rig-7.json")
    assert (kept.command, kept.seed, kept.kinds, kept.note) == ("rig", 7, ("rain",), "")
    assert kept.found == ("overlap at 0.005000 s: dc-7 too",)
    assert f"{kept.replay}  # {kept.found[0]}" == overlap


@pytest.mark.parametrize(
    ("options", "kinds"), [((), ("snow",)), (("--kinds", "rain"), ("rain",)), (("--kinds", "none"), ())]
)
def test_a_schedule_that_never_ended_is_kept_with_the_kinds_that_it_had(capfd, tmp_path, options, kinds):
    keep = tmp_path / "kept"
    _, lines, _ = run(capfd, "--schedules", "6", "--keep", str(keep), *options, run=rig.dies)
    kept = read_kept(keep / f"rig-{rig.DIES_AT}.json")
    assert kept.kinds == kinds
    assert kept.replay == f'make rig ARGS="--replay {rig.DIES_AT} --kinds {",".join(kinds) or "none"}"'
    assert lines[0].startswith(kept.replay)


@pytest.mark.parametrize("kit", [fuzz.KIT, sim.KIT], ids=lambda kit: kit.name)
def test_the_kinds_of_a_schedule_are_known_without_running_it(kit):
    drawn = [kit.drawn(seed, None) for seed in range(20)]
    assert len(set(drawn)) > 5
    assert all(kit.kinds.issuperset(kinds) for kinds in drawn)
    some = next(kinds for kinds in drawn if kinds)
    assert kit.drawn(3, some) == some
    assert kit.drawn(3, ()) == ()


def test_no_more_are_kept_than_somebody_reads(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("witness.sim.campaign.keep.KEPT_MAX", 1)
    run(capfd, "--schedules", "9", "--keep", str(tmp_path / "kept"))
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_what_was_never_hit_fails_a_campaign_of_some_size(capfd):
    rows = (*rig.CATALOGUE, Row("N6", "messages come twice", ("snow",), ("snow",)))
    code, _, summary = run(capfd, "--schedules", "5", catalogue=rows)
    assert (code, summary["never_hit"], summary["faults_hit"]["snow"]) == (0, [], 0)
    code, _, summary = run(capfd, "--schedules", "6", catalogue=rows)
    assert (code, summary["never_hit"]) == (1, ["snow"])
    code, _, summary = run(capfd, "--schedules", "6", "--kinds", "rain", catalogue=rows)
    assert (code, summary["never_hit"]) == (0, [])


def test_who_must_find_something_fails_without(capfd, tmp_path):
    assert run(capfd, "--schedules", "3", must_find=True)[0] == 1
    code, lines, summary = run(capfd, "--schedules", "9", "--keep", str(tmp_path / "kept"), must_find=True)
    assert (code, lines, summary["violations"]) == (0, [], 1)
    assert not (tmp_path / "kept").exists()


def test_the_text_has_the_table_the_pace_and_the_sentence(capfd):
    assert rig.main(["--workers", "1", "--schedules", "3"], rig.kit()) == 0
    out = capfd.readouterr().out
    assert "N5           messages are lost" in out
    assert "2 rain" in out
    assert "shown by tests/x.py" in out
    assert "3 schedules, 36 events, 6 activations, longest_ns 99: 0 failed, 0 stuck" in out
    assert "6 simulated seconds" in out
    assert out.endswith("with 95 % confidence fewer than 1 in 1 such schedules does (3/3 = 1)\n")


def test_a_run_with_the_same_file_adds_what_is_missing(capfd, tmp_path):
    state = str(tmp_path / "made" / "for it" / "state")
    assert run(capfd, "--schedules", "3", "--state", state)[2]["schedules"] == 3
    assert run(capfd, "--schedules", "5", "--state", state)[2]["events"] == sum(range(11, 16))
    assert run(capfd, "--schedules", "5", "--state", state)[2]["schedules"] == 5
    assert rig.main(["--state", str(tmp_path / "made" / "for it" / "state" / "x")], rig.kit()) == 2
    assert "name a file in a directory that can be written" in capfd.readouterr().err
    for other in (["--seed", "2"], ["--kinds", "snow"], ["--kinds", "none"]):
        assert rig.main(["--state", state, *other], rig.kit()) == 2
        captured = capfd.readouterr()
        assert captured.out == ""
        assert "--state" in captured.err
        assert "delete this one" in captured.err


def test_a_replay_tells_the_story_and_with_trace_every_message(capfd):
    assert rig.main(["--replay", "7"], rig.kit()) == 1
    short = capfd.readouterr().out
    assert "   0.000001 w1       falls" in short
    assert "VIOLATION overlap" in short
    assert "-> w2" not in short
    assert rig.main(["--replay", "8", "--trace", "--json"], rig.kit()) == 0
    told = capfd.readouterr().out
    assert "-> w2 a message" in told
    assert json.loads(told.splitlines()[-1])["violations"] == 0


@pytest.mark.parametrize("main", [sim.main, fuzz.main])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--schedules", "0"], "--schedules 0: must be at least 1"),
        (["--seconds", "-1"], "--seconds -1: must be at least 1"),
        (["--workers", "0"], "--workers 0: must be at least 1"),
        (["--seed", "-1"], "--seed -1: must be at least 0"),
        (["--kinds", "tempest"], "no such fault: tempest"),
        (["--trace"], "needs --replay"),
        (["--replay", "3", "--state", "x"], "--replay tells one schedule's story"),
    ],
)
def test_bad_arguments_are_refused(capsys, main, arguments, says):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert says in capsys.readouterr().err


# -- the sum -------------------------------------------------------------------------------------------------


def test_failures_that_differ_in_numbers_only_are_one():
    total = Total()
    total.add(Result(4, [Violation("age", 1, "w1 at 7"), Violation("age", 3, "w1 at 8")]))
    total.add(Result(3, [Violation("age", 2, "w2 at 19"), Violation("stuck", 9, "never")]))
    assert [(words, each.schedules, each.seed) for words, each in total.distinct()] == [
        ("age: wN at N", 2, 3),
        ("stuck: never", 1, 3),
    ]
    assert (total.failed, total.violated, total.stuck, total.by_kind()) == (2, 2, 1, {"age": 2, "stuck": 1})


def test_a_sum_comes_back_from_json():
    total = Total()
    for seed in range(1, 12):
        total.add(rig.plain(seed))
    assert Total.from_json(json.loads(json.dumps(total.as_json()))) == total


def test_the_wordings_kept_are_bounded(monkeypatch):
    monkeypatch.setattr("witness.sim.campaign.total.FAILURES_KEPT", 2)
    total = Total()
    for seed, letter in enumerate("abca"):
        total.add(Result(seed, [Violation("age", 1, letter)]))
    assert total.failed == 4
    assert [(words, each.schedules) for words, each in total.distinct()] == [("age: a", 2), ("age: b", 1)]


def test_the_table_says_what_is_missing():
    rows = (Row("N5", "lost", ("rain",), ("rain", "hail")),)
    hits, drawn = Counter(rain=3), Counter(rain=2)
    assert never_hit(rows, hits) == ["hail"]
    lines = table(rows, hits, drawn)
    assert any("drawn 2 times: rain" in line for line in lines)
    assert [line.split() for line in lines if "never hit" in line] == [["0", "hail", "never", "hit"]]
