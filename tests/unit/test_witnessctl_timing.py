"""`witnessctl timing`: what it prints, what it says to programs, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proto.edge.config_file import ConfigRefused
from proto.histogram import Histogram
from proto.lease import LeaseConstants
from proto.units import NS_PER_MS
from witness.ctl import __main__ as ctl
from witness.ctl.errors import DRIFTED
from witness.ctl.group_file import load_groups
from witness.ctl.timing import as_plain, report_of
from witness.timing.wish import Wish


def run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr("sys.argv", ["witnessctl", "timing", *argv])
    return ctl.run()


def histogram(count: int, ms: int) -> dict[str, object]:
    made = Histogram()
    for _ in range(count):
        made.add(ms * NS_PER_MS)
    return made.to_json()


def said(commit_ms: int) -> dict[str, object]:
    site = {"late": histogram(50, 3)}
    return {
        "commits": histogram(2_000, commit_ms),
        "peers": histogram(5, 1),
        "election_max_ns": 600 * NS_PER_MS,
        "leader_changes": 1,
        "sites": {"dc-a": site},
    }


def test_a_wish_is_worked_out_without_a_cluster(monkeypatch, capsys):
    assert run(monkeypatch, "--wish", "takeover=10s silence=2s activation=1s watchdog") == 1
    assert run(monkeypatch, "--takeover-within", "12s", "--tolerate-silence", "2s", "--activation", "1s") == 0
    shown = capsys.readouterr().out
    for word in ("holder first", "one retry", "silence", "election", "activation", "takeover_max", "stop budget"):
        assert word in shown


def test_the_json_has_every_number_that_is_shown(monkeypatch, capsys):
    assert run(monkeypatch, "--wish", "takeover=10s silence=2s", "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["ok"]
    assert told["refusal"] is None
    assert sum(phase["ns"] for phase in told["phases"]) == pytest.approx(told["takeover_max_ms"] * NS_PER_MS, abs=1e3)
    assert all(one["holds"] and one["left_ms"] <= one["right_ms"] for one in told["inequalities"])
    assert told["timers"]["ttl_ms"] == 7_800


def test_a_refusal_ends_with_one_and_says_both_numbers(monkeypatch, capsys):
    assert run(monkeypatch, "--wish", "takeover=3s silence=2s", "--json") == 1
    told = capsys.readouterr()
    refusal = json.loads(told.out.splitlines()[-1])["refusal"]
    assert f"{refusal['least_ttl_ms']} ms" in told.err
    assert f"{refusal['most_ttl_ms']} ms" in told.err
    assert len(refusal["nearest"]) == 2


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        ((), 64),
        (("--wish", "takeover=soon"), 64),
        (("--wish", "takeover=10s", "--measured", "/nowhere/at/all.json"), 78),
    ],
)
def test_what_cannot_be_understood_ends_with_the_usual_codes(monkeypatch, argv, code):
    assert run(monkeypatch, *argv) == code


def test_measurements_from_a_file_warn_where_they_are_worse_than_assumed(monkeypatch, tmp_path: Path, capsys):
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"measured": {"w1": said(1), "w2": said(1)}}))
    assert run(monkeypatch, "--wish", "takeover=10s silence=2s", "--measured", str(file)) == 0
    assert "none of 50 renewals" in capsys.readouterr().out.replace("\n", " ")
    file.write_text(json.dumps({"measured": {"w1": said(30)}}))
    assert run(monkeypatch, "--wish", "takeover=12s silence=2s", "--measured", str(file)) == DRIFTED
    assert "assumed 20 ms, measured 30 ms" in capsys.readouterr().err
    file.write_text(json.dumps({"measured": {"w1": {"commits": "many"}}}))
    assert run(monkeypatch, "--wish", "takeover=12s", "--measured", str(file)) == 78


def test_a_groups_lease_is_judged_as_it_is_configured():
    report = report_of(Wish(), LeaseConstants(3_000, 20_000, 500), {}, "assumed", wanted=False)
    plain = as_plain(report)
    assert report.ok
    assert (plain["timers"]["ttl_ms"], plain["timers"]["drift_max_ppm"]) == (3_000, 20_000)
    assert {phase["name"]: phase["ns"] for phase in plain["phases"]}["lock delay"] > 500 * NS_PER_MS


@pytest.mark.parametrize(
    ("timing", "numbers"),
    [
        ("timing: {takeover_within: 3s, tolerate_silence: 2s}", ("7700 ms", "1000 ms")),
        ("ttl: 10s, timing: {takeover_within: 10s}", ("12264.7 ms", "10000 ms")),
        ("timing: {}", ("takeover_within or tolerate_silence",)),
        ("timing: {takeover: 3s}", ("takeover",)),
    ],
)
def test_a_file_whose_wish_cannot_be_met_is_refused_with_both_numbers(tmp_path: Path, timing, numbers):
    file = tmp_path / "groups.yaml"
    file.write_text(f"groups:\n- {{group: shop, sites: [a, b], {timing}}}\n")
    with pytest.raises(ConfigRefused) as refused:
        load_groups(file)
    assert all(number in str(refused.value) for number in numbers)


def test_a_file_may_carry_the_wish_instead_of_the_ttl(tmp_path: Path):
    file = tmp_path / "groups.yaml"
    file.write_text("groups:\n- {group: shop, sites: [a, b], timing: {takeover_within: 10s, tolerate_silence: 2s}}\n")
    assert load_groups(file)[0].constants == LeaseConstants(7_800, 10_000, 0)
