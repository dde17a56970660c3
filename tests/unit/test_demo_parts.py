"""The demo's figures and its outer shape: parts of moves, renewals as looks show them, the JSON result, --ttl."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from proto.errors import BadValue
from proto.lease import LeaseConstants
from witness.demo.command import parse_ttl
from witness.demo.findings import Findings
from witness.demo.measures import Renewals, first_event, handover_parts, rest_of_lease_s, takeover_parts
from witness.demo.processes import Process, below, read_stat

CONSTANTS = LeaseConstants(3_000, 10_000, 0)
T0 = 1_750_000_000.0


def event(kind: str, at_s: float, site: str | None = None) -> dict:
    return {"kind": kind, "at": datetime.fromtimestamp(T0 + at_s, UTC).isoformat(timespec="milliseconds"), "site": site}


def test_what_is_left_for_the_witnesses_is_the_agents_rest_and_the_drift_allowance():
    assert rest_of_lease_s(2.5, CONSTANTS) == pytest.approx(2.5 + 3.0 * (1.01 / 0.99) - 3.0)


def test_the_parts_of_a_takeover_add_up_to_the_whole():
    events = [event("expired", 2.60, "dc-a"), event("granted", 2.61, "dc-b"), event("claimed", 2.63, "dc-b")]
    parts = takeover_parts(events, "dc-b", fault_wall_s=T0, total_s=2.75, rest_s=2.6, platform_s=0.05)
    whole = sum(parts[name] for name in ("rest_of_lease", "votes_and_grant", "claim", "activation"))
    assert whole == pytest.approx(2.75, abs=0.002)
    assert parts["beyond_lease"] == pytest.approx(0.15)
    assert parts["beyond_lease_and_platform"] == pytest.approx(0.10)


def test_a_takeover_without_a_look_at_the_lease_says_less():
    parts = takeover_parts([], "dc-b", fault_wall_s=T0, total_s=2.75, rest_s=None, platform_s=0.05)
    assert parts == {}


def test_the_grant_of_another_site_is_not_taken_for_the_one_that_counts():
    events = [event("granted", 1.0, "dc-a"), event("granted", 2.0, "dc-b")]
    assert first_event(events, "granted", "dc-b") == pytest.approx(T0 + 2.0)
    assert first_event(events, "claimed") is None


def test_the_parts_of_a_handover_add_up_to_the_whole():
    events = [
        event("revoked", 0.0, "dc-b"),
        event("released", 0.08, "dc-b"),
        event("granted", 0.09, "dc-a"),
        event("claimed", 0.11, "dc-a"),
    ]
    total_s, parts = handover_parts(
        events, source="dc-b", to="dc-a", first_wall_s=T0 + 0.2, gap_s=0.13, platform=(0.04, 0.03)
    )
    assert total_s == pytest.approx(0.2, abs=0.002)
    whole = sum(parts[name] for name in ("stop_and_release", "grant", "claim", "activation"))
    assert whole == pytest.approx(0.2, abs=0.002)
    assert parts["beyond_platform"] == pytest.approx(0.13, abs=0.002)


def test_a_handover_whose_events_are_missing_gives_no_total():
    assert handover_parts([], source="dc-b", to="dc-a", first_wall_s=T0, gap_s=0.1, platform=(0, 0))[0] is None


def test_a_renewal_is_a_jump_of_the_deadline_and_is_dated_by_when_it_was_sent():
    renewals = Renewals(3.0)
    for at_s, deadline_s in ((10.0, 12.9), (10.5, 12.905), (10.91, 13.9), (11.0, 13.9), (11.95, 14.9)):
        renewals.look(at_s, deadline_s - at_s)
    assert [round(seen, 2) for seen, _ in renewals.seen] == [9.9, 10.91, 11.95]
    assert renewals.sent_after(10.5) == [10.91, 11.95]
    assert renewals.gap_across_s(11.0) == pytest.approx(1.04)


def test_an_answer_that_was_on_its_way_is_not_taken_for_a_resumed_renewal():
    renewals = Renewals(3.0)
    for at_s, deadline_s in ((10.0, 12.9), (10.91, 13.9), (12.3, 15.29)):
        renewals.look(at_s, deadline_s - at_s)
    assert renewals.sent_after(10.905) == [12.3], "sent at 10.9, before 10.905, though answered after it"
    assert renewals.gap_across_s(10.905) == pytest.approx(1.39)


def test_the_result_has_the_promised_keys_also_when_nothing_was_reached():
    result = Findings(ttl_s=3.0, expectation="no leader").as_json({"set_up": 1.0}, 1.2)
    assert result["ok"] is False
    assert {"ok", "ttl_s", "overlap_s", "takeover_s", "handover_s", "leader_kill", "activations"} <= result.keys()
    assert result["takeover_s"] == {"kill": None, "stop": None}
    assert {"takeovers", "renewal_gap_s"} <= result["leader_kill"].keys()


@pytest.mark.parametrize(
    ("text", "ttl_ms"), [("3", 3_000), ("3s", 3_000), ("2.5s", 2_500), ("2500ms", 2_500), (" 2 s ", 2_000)]
)
def test_ttl_is_taken_as_people_write_it(text: str, ttl_ms: int):
    assert parse_ttl(text) == ttl_ms


@pytest.mark.parametrize("text", ["", "x", "-1", "3m", "0", "0.5s", "3600", "1e3", "nan"])
def test_a_ttl_that_makes_no_lease_is_refused(text: str):
    with pytest.raises(BadValue, match="--ttl"):
        parse_ttl(text)


def test_a_process_is_named_by_pid_and_start():
    stat = read_stat(os.getpid())
    assert stat is not None
    assert Process(os.getpid(), stat.started).alive()
    other = Process(os.getpid(), stat.started + 1)
    assert not other.alive()
    assert other.signal(0) is False, "no signal goes to a process that only has the same pid"
    assert os.getpid() in {one.pid for one in below([stat.parent])}
