"""What witnessctl says at three in the morning: what ends a quarantine, what is still to come, what to do."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from proto.decisions import Reason
from witness.core.effects import Outcome
from witness.ctl import changing, client, looking, render
from witness.ctl.errors import Refused
from witness.http.error_map import outcome_body, status_of


@pytest.mark.parametrize(
    ("causes", "words"),
    [
        (
            ["unclean-end"],
            "it lifts when the site is proven down and its data probes pass; without such probes: witnessctl",
        ),
        (["operator"], "operator: only you lift it: witnessctl quarantine clear shop b --cause operator --reason"),
        (
            ["unclean-end", "activation-failed"],
            "activation-failed: only you lift it: witnessctl quarantine clear shop b --cause activation-failed --",
        ),
    ],
)
def test_the_status_promises_no_end_of_a_quarantine_that_does_not_come(causes: list[str], words: str) -> None:
    site = {"site": "b", "quarantine": [{"cause": cause, "epoch": 3, "text": ""} for cause in causes]}
    assert render._ends_of_quarantine({"group": "shop"}, site).startswith(words)


def test_the_status_shows_the_timing_that_comes_with_the_next_epoch() -> None:
    constants = {"ttl_ms": 3_000, "drift_max_ppm": 10_000, "lock_delay_ms": 0}
    group = {
        "group": "shop", "mode": "automatic", "phase": "held", "holder": "a", "epoch": 3, "renewal": 1,
        "successor": None, "takeover_max_ms": 7_100, "sites": [], "constants": constants,
        "decision": {"words": "", "would": None, "site": None, "retry_in_ms": None, "blockers": []},
    }  # fmt: skip

    def shown(config: dict[str, int]) -> str:
        console = render.Console(width=100)
        with console.capture() as capture:
            console.print(render.group_detail({**group, "config": {**config, "sites": ["a", "b"]}}))
        return capture.get()

    assert "next epoch" not in shown(constants)
    assert "with the next epoch: ttl 4s, clocks may drift 1%" in shown({**constants, "ttl_ms": 4_000})


def test_the_status_says_at_once_that_nobody_could_take_over_and_why() -> None:
    missing = "if a failed now, nobody could take over"
    against = ["b: it was not heard by the witnesses (last 31.0 s ago)", "b: something else"]
    group = {
        "group": "shop", "mode": "automatic", "phase": "held", "holder": "a", "epoch": 3, "sites": [],
        "constants": {"ttl_ms": 3_000}, "standby": {"missing": missing, "against": against},
        "decision": {"would": None, "blockers": [{"words": against[0]}, {"words": "c: busy"}]},
    }  # fmt: skip
    assert [str(note) for note in render._notes(group)] == [missing, *against, "c: busy"]
    console = render.Console(width=100)
    with console.capture() as capture:
        console.print(render.groups_table([group]))
    assert "no site could take over" in capture.get()
    group["standby"]["missing"] = ""
    assert [str(note) for note in render._notes(group)] == [against[0], "c: busy"]
    del group["standby"]
    assert [str(note) for note in render._notes(group)] == [against[0], "c: busy"], "of an older witness"


def test_the_status_shows_measured_clocks_and_why_one_is_not_fit() -> None:
    measured = {"rate_ppm": [999_870, 1_000_170], "drift_max_ppm": 10_000, "unfit": None, "unfit_words": None}
    words = "its clock runs at 0.970000 of the witnesses' at most, drift_max 1 % asks for 0.980198"
    slow = {"rate_ppm": None, "drift_max_ppm": 10_000, "unfit": "too-slow", "unfit_words": words}
    site = {
        "site": "a", "state": "active", "maintenance": False, "heard_ms_ago": 5, "quarantine": [], "ready": True,
        "healthy": True, "lag_ms": None, "blockers": [], "agent_version": "1", "clock": measured,
    }  # fmt: skip
    older = {key: value for key, value in site.items() if key != "clock"}
    group = {
        "group": "shop", "mode": "automatic", "phase": "held", "holder": "a", "epoch": 3, "renewal": 1,
        "successor": None, "takeover_max_ms": 7_100, "sites": [site, {**site, "site": "b", "clock": slow}, older],
        "constants": {"ttl_ms": 3_000, "drift_max_ppm": 10_000, "lock_delay_ms": 0},
        "decision": {"words": "", "would": None, "site": None, "retry_in_ms": None, "blockers": []},
    }  # fmt: skip
    console = render.Console(width=200)
    with console.capture() as capture:
        console.print(render.group_detail(group))
    shown = capture.get()
    assert "clocks beside the witness's: a -130 .. +170 ppm\n" in shown
    assert f"b: {words}: mend its clock, or raise drift_max" in shown


def test_a_site_that_was_fenced_and_waits_is_shown_as_dormant_and_not_as_trouble() -> None:
    site = {"site": "a", "state": "fenced", "heard_ms_ago": 5}
    shown = render._state(site, 3_000)
    assert (shown.plain, shown.style) == ("fenced (dormant)", "")
    assert render._state({**site, "state": "fencing"}, 3_000).style == "red"
    assert render._state({**site, "heard_ms_ago": 3_001}, 3_000).plain == "silent (was fenced)"


def test_a_witness_of_another_authority_is_told_with_what_to_look_at() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_message = "self-signed certificate"
    words = client._words(error)
    assert "self-signed certificate" in words
    assert "is that a witness of this cluster" in words


def test_what_stands_under_a_lease_is_refused_with_the_way_out() -> None:
    body = outcome_body(Outcome(Reason.LEASE_HELD))
    assert "witnessctl mode GROUP manual, stop the agent of the active site in order" in body["next"]


class Cluster:
    """Answers a switchover with each of these in turn, the last one again and again."""

    def __init__(self, *reasons: Reason) -> None:
        self.reasons = list(reasons)
        self.asked = 0

    def get(self, path: str) -> dict[str, object]:
        return {"head": 0, "events": []} if "events" in path else {"epoch": 3, "holder": "a"}

    def change(self, method: str, path: str, body: dict[str, object]) -> client.Answer:
        self.asked += 1
        reason = self.reasons.pop(0) if len(self.reasons) > 1 else self.reasons[0]
        outcome = Outcome(reason, "b: it promised (at most 7.0 s more)")
        return client.Answer(status_of(reason), outcome_body(outcome), witness=("w", 1))  # type: ignore[arg-type]  # shown only


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "pause", lambda seconds: None)


@pytest.mark.usefixtures("no_pauses")
def test_a_promise_in_the_way_of_a_switchover_is_said_once_and_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster(Reason.PROMISE_OUTSTANDING, Reason.PROMISE_OUTSTANDING, Reason.ALREADY_SO)
    changing.switchover(cluster, "shop", "b", "r", wait=True, timeout_s=60, as_json=False)  # type: ignore[arg-type]  # shown only
    assert cluster.asked == 3
    assert capsys.readouterr().err.count("waiting: b: it promised (at most 7.0 s more)") == 1


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(("wait", "reason"), [(False, Reason.PROMISE_OUTSTANDING), (True, Reason.NO_CANDIDATE)])
def test_what_is_not_waited_for_is_refused_at_once(wait: bool, reason: Reason) -> None:
    cluster = Cluster(reason)
    with pytest.raises(Refused, match="at most"):
        changing.switchover(cluster, "shop", "b", "r", wait=wait, timeout_s=60, as_json=False)  # type: ignore[arg-type]  # shown only
    assert cluster.asked == 1


def test_the_wait_for_a_promise_ends_with_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "ASK_AGAIN_S", 0.05)
    asked = Cluster(Reason.PROMISE_OUTSTANDING)
    with pytest.raises(Refused, match="at most"):
        changing.switchover(asked, "shop", "b", "r", wait=True, timeout_s=0.2, as_json=True)  # type: ignore[arg-type]  # shown only


@pytest.mark.parametrize("mode", ["manual", "paused", "observe"])
def test_no_time_is_promised_for_a_takeover_that_nobody_makes(mode: str) -> None:
    group = {"mode": "automatic", "takeover_max_ms": 7_100}
    assert render._takeover(group) == "within 7.1 s of a site's death, plus its activation"
    assert render._takeover({**group, "mode": mode}) == f"none by itself: the mode is {mode}"


def test_that_a_group_has_no_events_is_said_for_its_name_may_be_mistyped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Ledger:
        def get(self, _path: str) -> dict[str, Any]:
            return {"head": 3, "events": [{"seq": 3, "group": "shop"}]}

    ledger: Any = Ledger()
    monkeypatch.setattr(looking, "_name_teller", lambda _client: None)
    looking.show_events(ledger, after=None, limit=5, group="shpo", follow=False, as_json=True)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "(none of a group shpo among the 1 that were looked through)\n")
    looking.show_events(ledger, after=None, limit=5, group="shop", follow=False, as_json=True)
    assert capsys.readouterr().err == ""
