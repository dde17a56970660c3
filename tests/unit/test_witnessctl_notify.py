"""What `witnessctl notify` and `would-have` show, on answers as witnesses give them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from proto.edge.config_types import Address
from witness.ctl import looking, notifying
from witness.ctl.client import Answer
from witness.ctl.errors import Misused, Refused, Unreachable
from witness.http.error_map import Problem, problem_body

W1, W2 = Address("w1", 7400), Address("w2", 7400)
ALARM = {
    "alarm": 412,
    "since": "2026-11-29T03:12:07.000+00:00",
    "kind": "expired",
    "words": "the active site was lost: its lease ran out",
    "group": "shop",
    "site": "dc-a",
    "epoch": 17,
    "count": 2,
    "newest": 420,
    "acknowledged": None,
}
LANE = {
    "target": "ops",
    "lane": "urgent",
    "stage": "waiting",
    "waiting": 0,
    "attempt": 3,
    "trouble": "HTTP status 503",
    "told": 400,
    "under_way": True,
    "by": "w2",
    "failing": False,
}
SEEN: dict[str, Any] = {
    "witness": "w2",
    "leading": True,
    "configured": True,
    "head": 430,
    "alarms": [ALARM],
    "targets": [{"target": "ops", "means": "webhook"}],
    "lanes": [LANE],
    "monitors": [{"monitor": "kuma", "pinged_ms_ago": 61_000, "silent_for": "shop: its lease is vacant"}],
}


class Client:
    """Answers by witness and path; None: it does not answer."""

    def __init__(self, answers: dict[tuple[Address, str], Any]) -> None:
        self.witnesses = (W1, W2)
        self._answers = answers
        self.asked: list[tuple[str, str, Any]] = []

    def ask_one(self, witness, path, wait_s=3.0, *, method="GET", body=None):
        self.asked.append((method, path, body))
        found = self._answers.get((witness, path))
        if found is None:
            raise Unreachable(f"{witness} is away")
        status, said = found
        return Answer(status, said, witness)

    def change(self, method, path, body):
        return self.ask_one(W1, path, method=method, body=body)

    def get(self, path):
        return self.ask_one(W1, path).body

    def prefer(self, witness):
        return None


@pytest.fixture
def shown(monkeypatch) -> io.StringIO:
    out = io.StringIO()
    console = Console(file=out, width=160, highlight=False)
    for module in (notifying, looking):
        monkeypatch.setattr(module, "console", console)
    return out


def test_the_list_is_the_leaders(shown):
    follower = {**SEEN, "witness": "w1", "leading": False, "alarms": []}
    client = Client({(W1, "/v1/notify"): (200, follower), (W2, "/v1/notify"): (200, SEEN)})
    notifying.show_notify(client, as_json=False)
    text = shown.getvalue()
    for words in (
        "412",
        "2026-11-29 03:12",
        "shop dc-a",
        "(x2)",
        "nobody",
        "400 of 430",
        "attempt 3",
        "HTTP status 503",
    ):
        assert words in text
    assert "monitor kuma: pinged 61.0 s ago, silent: shop: its lease is vacant" in text


@pytest.mark.parametrize(
    ("lane", "words"),
    [
        ({"seen": 430}, "up to date"),
        ({"seen": 429}, "400 of 430"),
        ({"seen": 430, "waiting": 1}, "400 of 430"),
        ({"seen": 430, "under_way": True}, "400 of 430"),
        ({"seen": 430, "stage": "waiting"}, "400 of 430"),
        ({}, "400 of 430"),
        ({"told": 430}, "up to date"),
        ({"told": None, "seen": 430}, "-"),
    ],
    ids=["idle", "looks", "waits", "tells", "again", "older", "told", "new"],
)
def test_a_target_that_has_nothing_to_be_told_is_up_to_date(lane, words):
    idle = {**LANE, "stage": "idle", "attempt": 0, "trouble": "", "under_way": False}
    assert notifying._told_words({**idle, **lane}, 430) == words


def test_without_a_leader_it_says_whose_view_it_is_and_that_nobody_is_told(shown):
    follower = {**SEEN, "witness": "w1", "leading": False, "alarms": []}
    notifying.show_notify(Client({(W1, "/v1/notify"): (200, follower)}), as_json=False)
    assert "as w1 sees it, which does not lead" in shown.getvalue()
    bare = {**follower, "configured": False, "lanes": [], "targets": [], "monitors": []}
    notifying.show_notify(Client({(W1, "/v1/notify"): (200, bare)}), as_json=False)
    assert "nobody is told of anything" in shown.getvalue()
    with pytest.raises(Unreachable):
        notifying.show_notify(Client({}), as_json=False)


def test_an_acknowledgement_names_alarms_or_all(shown):
    client = Client({(W1, "/v1/notify/ack"): (200, {"changed": True})})
    notifying.acknowledge(client, [412], "on it", every=False, as_json=False)
    assert client.asked[-1] == ("POST", "/v1/notify/ack", {"alarms": [412], "reason": "on it"})
    assert "you look after them" in shown.getvalue()
    for alarms, every in (([], False), ([1], True)):
        with pytest.raises(Misused):
            notifying.acknowledge(client, alarms, "x", every=every, as_json=False)


def test_a_test_asks_every_witness_and_fails_when_one_cannot_reach_a_target(shown):
    good = {"target": "ops", "means": "webhook", "ok": True, "text": "", "detail": "", "took_ms": 31}
    bad = {**good, "ok": False, "text": "cannot connect (Connection refused)", "detail": "said the script"}
    path = "/v1/notify/test"
    answers = {
        (W1, path): (200, {"ok": True, "witness": "w1", "results": [good]}),
        (W2, path): (200, {"ok": False, "witness": "w2", "results": [bad]}),
    }
    with pytest.raises(Refused, match="from w2"):
        notifying.try_targets(Client(answers), "ops", leader=False, as_json=False)
    text = shown.getvalue()
    assert "w1 ops (webhook): told in 31 ms" in text
    assert "w2 ops (webhook): not told: cannot connect (Connection refused)" in text
    assert "said the script" in text
    answers[W2, path] = (500, {"reason": "internal-error", "words": "it failed"})
    with pytest.raises(Refused, match="w2:7400"):
        notifying.try_targets(Client(answers), "", leader=False, as_json=True)
    nobody = problem_body(Problem.NO_NOTIFY, "w2 has no notify section")
    answers[W2, path] = (409, {**nobody, "witness": "w2"})
    with pytest.raises(Refused, match=r"from w2$"):
        notifying.try_targets(Client(answers), "", leader=False, as_json=False)
    assert "w2: refused (no-notify-section): w2 has no notify section\n  next: add it" in shown.getvalue()
    with pytest.raises(Refused, match=r"from w2$"):
        notifying.try_targets(Client(answers), "", leader=False, as_json=True)
    assert json.loads(shown.getvalue().splitlines()[-1])["ok"] is False


def test_only_the_leader_is_asked_when_that_is_wished(shown):
    good = {"target": "ops", "means": "webhook", "ok": True, "text": "", "detail": "", "took_ms": 31}
    answers = {
        (W2, "/v1/notify"): (200, SEEN),
        (W2, "/v1/notify/test"): (200, {"ok": True, "witness": "w2", "results": [good]}),
    }
    notifying.try_targets(Client(answers), "", leader=True, as_json=False)
    assert shown.getvalue().startswith("w2 ops")


def test_what_would_have_been_done_is_counted_and_listed(shown):
    would = {"count": 2, "active": "dc-a", "needed": True, "to": "dc-b"}
    groups = [
        {"group": "shop", "mode": "observe", "would_have": would},
        {"group": "mail", "mode": "automatic", "would_have": {**would, "count": 0, "needed": False, "to": None}},
    ]
    event = {
        "seq": 118,
        "at": "2026-11-29T03:12:19.402+00:00",
        "kind": "would-have",
        "alarm": True,
        "group": "shop",
        "site": "dc-b",
        "epoch": 1,
        "author": "witness",
        "text": "observe: it would have activated dc-b",
    }
    other = {**event, "seq": 119, "kind": "mode", "text": "nothing of it"}
    status = {"witness": "w1", "has_quorum": True, "applied_index": 9}
    client = Client(
        {
            (W1, "/v1/status"): (200, status),
            (W1, "/v1/groups?limit=500&after="): (200, {"groups": groups, "next": None}),
            (W1, "/v1/events?limit=1"): (200, {"head": 119, "events": [other]}),
            (W1, "/v1/events?limit=1000&after=0"): (200, {"head": 119, "events": [event, other]}),
            (W1, "/v1/events?limit=1000&after=119"): (200, {"head": 119, "events": []}),
        }
    )
    looking.show_would_have(client, None, as_json=False)
    text = shown.getvalue()
    assert "2 times" in text
    assert "would be at dc-b" in text
    assert "it would have activated dc-b" in text
    assert "mail" not in text
    assert "nothing of it" not in text
    looking.show_would_have(client, "shop", as_json=True)
    made = json.loads(shown.getvalue().splitlines()[-1])
    assert [one["group"] for one in made["groups"]] == ["shop"]
    assert [one["seq"] for one in made["events"]] == [118]
    with pytest.raises(Refused):
        looking.show_would_have(client, "none", as_json=False)
