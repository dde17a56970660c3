"""`witnessctl reconcile` looks first: nobody types a phrase for a group that has nothing to vouch for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proto.decisions import Reason
from proto.edge.config_types import Address
from proto.permit import VOUCHED
from witness.core.effects import Outcome
from witness.ctl import __main__ as ctl
from witness.ctl import reconciling
from witness.ctl.client import Answer, ClusterClient
from witness.http.error_map import outcome_body

AFTER_MS = 600_000
PERMITS = {"enabled": True, "after_ms": AFTER_MS, "away": ["a"], "under_permit": []}


class Witnesses(ClusterClient):
    """One witness that knows one group, and says yes to whatever it is told."""

    def __init__(self, permits: dict[str, Any] | None, heard_ms_ago: int | None = 100) -> None:
        self.witnesses = (Address("w1", 7400),)
        self._preferred = self._kept = None
        sites = [{"site": site, "heard_ms_ago": heard_ms_ago} for site in ("a", "b")]
        self.view = None if permits is None else {"group": "shop", "sites": sites, "permits": permits}
        self.told: list[dict[str, Any]] = []

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        if method == "GET" and self.view is None:
            return Answer(404, outcome_body(Outcome(Reason.UNKNOWN_GROUP, "group shop")), self.witnesses[0])
        if method == "GET":
            return Answer(200, self.view or {}, self.witnesses[0])
        self.told.append(body or {})
        return Answer(200, outcome_body(Outcome(Reason.OK)), self.witnesses[0])

    def ask_one(self, witness: Address, path: str, *_: Any, **__: Any) -> Answer:
        return Answer(200, {"witness": "w1", "has_quorum": True, "applied_index": 1}, witness)


def run(monkeypatch: pytest.MonkeyPatch, client: Witnesses, *more: str, typed: str = VOUCHED) -> tuple[int, list[str]]:
    """How it ends, and what was asked of the operator."""
    asked: list[str] = []

    def prompt(text: str) -> str:
        asked.append(text)
        return typed

    monkeypatch.setattr("typer.prompt", prompt)
    monkeypatch.setattr(ctl, "client_of", lambda *_: client)
    monkeypatch.setattr(reconciling, "print_json", lambda value: print(json.dumps(value)))
    monkeypatch.setattr("sys.argv", ["witnessctl", "reconcile", "shop", "--reason", "burnt down", *more])
    return ctl.run(), asked


def test_the_phrase_is_asked_for_once_it_is_known_who_is_vouched_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Witnesses(PERMITS)
    code, asked = run(monkeypatch, client)
    assert (code, len(asked)) == (0, 1)
    assert "a: away" in capsys.readouterr().err
    assert client.told == [{"reason": "burnt down", "confirm": VOUCHED}]


@pytest.mark.parametrize(
    ("permits", "code", "words"),
    [
        (None, 1, "seen: group shop"),
        ({**PERMITS, "enabled": False, "after_ms": None, "away": []}, 0, "shop takes no break-glass permits"),
        ({**PERMITS, "away": []}, 0, "every site of shop was heard"),
    ],
)
def test_no_phrase_is_asked_for_where_there_is_nothing_to_vouch_for(
    permits: dict[str, Any] | None,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = Witnesses(permits)
    assert run(monkeypatch, client) == (code, [])
    said = capsys.readouterr()
    assert words in said.out + said.err
    assert client.told == []


@pytest.mark.parametrize(("away", "words"), [([], "b: disputed"), (["a"], "a: away; b: disputed")])
def test_who_speaks_for_a_site_under_a_permit_without_having_taken_it_is_to_be_vouched_for(
    away: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Witnesses({**PERMITS, "away": away, "under_permit": ["b"], "disputed": ["b"]})
    code, asked = run(monkeypatch, client)
    assert (code, len(asked), len(client.told)) == (0, 1, 1)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("heard_ms_ago", [None, AFTER_MS])
def test_where_no_site_speaks_the_witnesses_judge_who_is_away(
    heard_ms_ago: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group sees the calendar when one of its sites speaks: the status alone proves nothing then."""
    client = Witnesses({**PERMITS, "away": []}, heard_ms_ago)
    assert len(run(monkeypatch, client)[1]) == 1
    assert len(client.told) == 1


def test_a_script_that_brings_the_phrase_is_answered_by_the_witnesses_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Witnesses({**PERMITS, "away": []})
    assert run(monkeypatch, client, "--confirm", VOUCHED) == (0, [])
    assert len(client.told) == 1


def test_that_there_is_nothing_to_do_is_an_answer_for_programs_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Witnesses({**PERMITS, "away": []}), "--json") == (0, [])
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["changed"], said["reason"]) == (True, False, "already-so")
