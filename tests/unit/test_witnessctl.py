"""witnessctl's pure parts: what apply would change, a switchover read from events, exit codes, files, help."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proto.decisions import Reason
from proto.edge.config_file import ConfigRefused
from proto.edge.config_types import Address
from proto.groups import Mode
from witness.core.effects import Outcome
from witness.ctl import __main__ as ctl
from witness.ctl import looking, render
from witness.ctl.client import Answer, ClusterClient, checked, refusal_words
from witness.ctl.context import config_path
from witness.ctl.errors import Misconfigured, Refused, Unreachable
from witness.ctl.group_file import load_groups
from witness.ctl.progress import Progress
from witness.group_fields import from_fields, to_fields
from witness.http.error_map import outcome_body, status_of

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "groups.yaml"


def run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr("sys.argv", ["witnessctl", *argv])
    return ctl.run()


# -- files ------------------------------------------------------------------------------------------------


def test_the_example_of_groups_loads_and_survives_the_api() -> None:
    shop, billing = load_groups(EXAMPLE)
    assert shop.constants.ttl_ms == 10_000
    assert (billing.mode, billing.constants.lock_delay_ms) == (Mode.MANUAL, 5_000)
    for config in (shop, billing):
        assert from_fields(json.loads(json.dumps(to_fields(config)))) == config


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("groups: []", "g.yaml:1: groups: []: must have at least 1; add one"),
        ("groups:\n- {group: a, sites: [x, y], ttl: 3}", "g.yaml:2: groups[0].ttl: 3: a duration is a number with"),
        ("groups:\n- {group: a, sites: [x, y], ttl: 100ms}", "[0].ttl: '100ms': must lie between 500ms and 10m"),
        ("groups:\n- {group: a, sites: [x]}", "groups[0]: sites: ['x']: a group has 2 to 5 sites"),
        ("groups:\n- {group: a, sites: [x, y], drift_max: 1}", "drift_max: 1: a share is written in percent"),
        (
            "groups:\n- {group: a, sites: [x, y], drift_max: 99%}",
            "drift_max: '99%': must lie between 0.01% and 10%; choose a share",
        ),
        ("groups:\n- {group: a, sites: [x, y], lock_delay: 1h}", "lock_delay: '1h': must lie between 0ms and 10m"),
        ("groups:\n- {group: a, sites: [x, y], cooldown: 2d}", "cooldown: '2d': must lie between 0ms and 1d; choose"),
        (
            "groups:\n- {group: a, sites: [x, y]}\n- {group: a, sites: [x, y]}",
            "the group a is there more than once; remove one of the two",
        ),
        ("groups:\n- {group: a, sites: [x, y], cooldwn: 1s}", "cooldwn: unknown key; did you mean 'cooldown'?"),
    ],
)
def test_errors_of_groups_are_exact(tmp_path: Path, text: str, error: str) -> None:
    file = tmp_path / "g.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigRefused) as caught:
        load_groups(file)
    assert error in str(caught.value)


def test_without_a_named_cluster_it_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("THIRDSITE_CTL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Misconfigured, match="give --config FILE, set THIRDSITE_CTL=FILE, or write"):
        config_path(None)
    monkeypatch.setenv("THIRDSITE_CTL", "/x/ctl.yaml")
    assert config_path(None) == Path("/x/ctl.yaml")
    assert config_path(Path("given.yaml")) == Path("given.yaml")


# -- switchover -------------------------------------------------------------------------------------------


def event(kind: str, site: str, text: str = "", group: str = "shop", epoch: int = 8) -> dict[str, Any]:
    return {"kind": kind, "site": site, "text": text, "group": group, "epoch": epoch}


def test_a_switchover_is_read_from_the_ledger() -> None:
    progress = Progress("shop", "dc-b")
    steps = [
        progress.take(one)
        for one in (
            event("revoked", "dc-a"),
            event("revoked", "dc-a", group="mail"),
            event("site-state", "dc-a", "active -> deactivating"),
            event("released", "dc-a"),
            event("maintenance", "dc-a"),
            event("granted", "dc-b"),
            event("claimed", "dc-b"),
            event("site-state", "dc-b", "standby -> activating"),
        )
    ]
    phases = [step.phase if step else None for step in steps]
    assert phases == ["revoking", None, "deactivating", "released", None, "granted", "claimed", "activating"]
    assert not progress.done
    last = progress.take(event("site-state", "dc-b", "activating -> active"))
    assert last is not None
    assert last.phase == "active"
    assert progress.done


def test_a_switchover_that_ends_elsewhere_fails_with_the_reason() -> None:
    progress = Progress("shop", "dc-b")
    progress.take(event("granted", "dc-a", "nobody else"))
    assert progress.failed == "the lease went to dc-a, not to dc-b: nobody else"
    progress = Progress("shop", "dc-b")
    progress.take(event("released", "dc-b", "activation failed: no disk"))
    assert progress.failed == "dc-b gave the lease back: activation failed: no disk"


# -- answers and exit codes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "ends"),
    [
        (Reason.OK, None),
        (Reason.ALREADY_SO, None),
        (Reason.VERSION_CONFLICT, Refused),
        (Reason.UNKNOWN_GROUP, Refused),
        (Reason.NO_QUORUM, Unreachable),
        (Reason.OUTCOME_UNKNOWN, Unreachable),
    ],
)
def test_outcomes_become_exit_codes(reason: Reason, ends: type[Exception] | None) -> None:
    answer = Answer(status_of(reason), outcome_body(Outcome(reason)), witness=("w", 1))  # type: ignore[arg-type] - shown only
    if ends is None:
        assert checked(answer) is answer
        return
    with pytest.raises(ends):
        checked(answer)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_body_that_can_be_shown(reason: Reason) -> None:
    body = outcome_body(Outcome(reason, "seen"))
    assert body["ok"] is (status_of(reason) == 200)
    assert refusal_words(body).startswith(f"refused ({reason.value}): ")


def test_wrong_usage_and_wrong_files_have_their_codes(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setenv("THIRDSITE_CTL", str(tmp_path / "none.yaml"))
    assert run(monkeypatch, "switchover", "shop", "--reason", "r") == 64
    assert run(monkeypatch, "nothing") == 64
    assert run(monkeypatch, "mode", "shop", "manul", "-r", "x") == 64
    assert run(monkeypatch, "mode", "shop", "manual", "-r", " ") == 64
    assert run(monkeypatch, "status") == 78
    assert "none.yaml: cannot be read" in capsys.readouterr().err
    assert run(monkeypatch, "--help") == 0


@pytest.mark.parametrize("command", ["status", "events", "apply", "switchover", "mode", "maintenance"])
def test_help_teaches_with_an_example(monkeypatch: pytest.MonkeyPatch, capsys, command: str) -> None:
    assert run(monkeypatch, command, "--help") == 0
    assert f"Example: witnessctl {command}" in capsys.readouterr().out


def test_tables_fit_80_columns_and_carry_no_colour_without_a_terminal() -> None:
    site = {
        "site": "datacenter-frankfurt-1", "state": "active", "maintenance": True, "heard_ms_ago": 99_000,
        "quarantine": [{"cause": "unclean-end", "epoch": 3, "text": "its lease ended without a release"}],
        "ready": True, "healthy": False, "lag_ms": 12, "blockers": ["probe http failed"], "preferred": True,
        "agent_version": "0.1.0", "enforce": False,
    }  # fmt: skip
    group = {
        "group": "a-rather-long-name-of-a-group", "mode": "manual", "phase": "revoking", "holder": site["site"],
        "epoch": 1_099_511_627_776, "renewal": 4, "successor": "b", "handover_reason": "holder-unfit",
        "takeover_max_ms": 14_350, "sites": [site, site],
        "constants": {"ttl_ms": 10_000, "drift_max_ppm": 10_000, "lock_delay_ms": 5_000},
        "decision": {
            "words": "no move: x; y", "would": None, "site": None, "retry_in_ms": 1_500,
            "blockers": [{"words": "b: not ready"}],
        },
    }  # fmt: skip
    console = render.Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(render.groups_table([group]))
        console.print(render.group_detail(group))
    text = capture.get()
    assert {str(render._state({"state": "active", "heard_ms_ago": age}, 10_000)) for age in (None, 10_001, 9_999)} == {
        "silent (was active)",
        "active",
    }
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert "b: not ready" in text
    assert "nothing is active until you say: witnessctl switchover" in re.sub(r"\s+", " ", text)
    assert "witnessctl quarantine clear" in text
    assert "quarantine: unclean-end, epoch 3" in re.sub(r"\s+", " ", text)


def test_the_status_shows_the_feature_level_and_who_could_do_more() -> None:
    said = {
        "leading": True, "has_quorum": True, "caught_up": True, "applied_index": 9, "groups": 1, "feature_level": 1,
        "features": {"w1": 1, "w2": 2},
    }  # fmt: skip
    console = render.Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(
            render.witnesses_table(
                [("a:1", {**said, "witness": "w1"}), ("b:1", {**said, "witness": "w2"}), ("c:1", "silent")]
            )
        )
    lines = [re.sub(r"\s+", " ", line).strip() for line in capture.get().splitlines()]
    assert lines[0] == "WITNESS ADDRESS PLACE QUORUM APPLIED GROUPS LEVEL"
    assert [line.split(" 9 1 ")[-1] for line in lines[1:3]] == ["1", "1 (can 2)"]
    assert lines[3] == "? c:1 silent"


def test_d25_the_status_shows_who_counts_for_nothing_yet_and_why_others_are_not_connected() -> None:
    said = {
        "leading": False, "has_quorum": True, "caught_up": True, "applied_index": 9, "groups": 1, "feature_level": 1,
        "features": {"w1": 1}, "witness": "w1", "standing": "learner", "readmission": "waiting until w2 recorded it",
        "unconnected": {"w2": "w2 refuses this witness: another disk"},
    }  # fmt: skip
    older = {name: value for name, value in said.items() if name not in {"standing", "readmission", "unconnected"}}
    console = render.Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(render.witnesses_table([("a:1", said), ("b:1", older)]))
        for note in render.witnesses_notes([said, older, "silent"]):
            console.print(note)
    lines = [re.sub(r"\s+", " ", line).strip() for line in capture.get().splitlines()]
    assert lines[1].startswith("w1 a:1 learner")
    assert lines[2].startswith("w1 b:1 follower")
    assert lines[3:] == [
        "w1 counts for nothing yet: waiting until w2 recorded it",
        "w1 has no connection with w2: w2 refuses this witness: another disk",
    ]


def test_d25_a_witness_that_its_peers_refuse_is_no_follower_and_the_reason_has_the_remedy() -> None:
    why = "w3 comes with an older state of its disk; run `witness readmit -c FILE` on w3's machine"
    said = {
        "leading": False, "has_quorum": False, "caught_up": False, "applied_index": 9, "groups": 1, "feature_level": 1,
        "features": {"w3": 1}, "witness": "w3", "standing": "voter", "readmission": None,
        "refused_by": {"w1": why}, "unconnected": {"w1": f"w1 refuses this witness: {why}", "w2": "no answer"},
    }  # fmt: skip
    console = render.Console(width=200, force_terminal=False)
    with console.capture() as capture:
        console.print(render.witnesses_table([("c:1", said), ("d:1", {**said, "has_quorum": True})]))
        for note in render.witnesses_notes([said]):
            console.print(note)
    lines = [re.sub(r"\s+", " ", line).strip() for line in capture.get().splitlines()]
    assert lines[1].startswith("w3 c:1 refused no")
    assert lines[2].startswith("w3 d:1 follower catching up")
    assert lines[3:] == [f"w3 is refused by w1: {why}", "w3 has no connection with w2: no answer"]


class Witnesses(ClusterClient):
    """Three witnesses without a network: what each says of itself, and which groups it knows."""

    def __init__(self, said: dict[str, dict[str, Any]], groups: dict[str, list[str]]) -> None:
        self.witnesses = tuple(Address("192.0.2.1", port) for port in range(1, len(said) + 1))
        self._said, self._groups = list(said.values()), list(groups.values())
        self._preferred = None
        self._kept = None

    def ask_one(self, witness: Address, path: str, wait_s: float = 0) -> Answer:
        return Answer(200, self._said[witness.port - 1], witness)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        witness = self._in_turn()[0]
        known = self._groups[witness.port - 1]
        if "?" in path:
            return Answer(200, {"groups": [{"group": name} for name in known], "next": None}, witness)
        name = path.rsplit("/", 1)[-1]
        return Answer(200 if name in known else 404, {"group": name}, witness)


BLANK: dict[str, Any] = {"has_quorum": False, "applied_index": 0}
BEHIND: dict[str, Any] = {"has_quorum": True, "applied_index": 7}
NEWEST: dict[str, Any] = {"has_quorum": True, "applied_index": 9}


def test_the_groups_are_those_of_the_witness_that_knows_most(capsys: pytest.CaptureFixture[str]) -> None:
    """A witness with a blank disk that the others refuse answers too, and would say that there are no groups."""
    said = {"w1": BLANK, "w2": NEWEST, "w3": BEHIND}
    groups = {"w1": [], "w2": ["shop", "new"], "w3": ["shop"]}
    assert [group["group"] for group in looking._cluster(Witnesses(said, groups))["groups"]] == ["shop", "new"]
    assert looking.one_group(Witnesses(said, groups), "new") == {"group": "new"}
    looking.show_groups(Witnesses(said, groups), as_json=True)
    assert [group["group"] for group in json.loads(capsys.readouterr().out)["groups"]] == ["shop", "new"]
    with pytest.raises(Refused):
        looking.one_group(Witnesses(said, groups), "none")


def test_without_a_quorum_nobody_is_told_to_make_a_group() -> None:
    row = {"leading": False, "caught_up": False, "groups": 0, "feature_level": 1, "features": {"w1": 1}}
    for has_quorum, words in ((False, "bring a majority up first"), (True, "make one")):
        said = {**row, "witness": "w1", "has_quorum": has_quorum, "applied_index": 0}
        console = render.Console(width=100, force_terminal=False)
        with console.capture() as capture:
            console.print(looking._draw_cluster({"witnesses": {"a:1": said}, "groups": []}))
        assert words in capture.get()


class Ledgers(Witnesses):
    """The same, with how many events each has."""

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        witness = self._in_turn()[0]
        head = 3 * witness.port
        return Answer(200, {"head": head, "events": [{"seq": head, "group": "shop"}]}, witness)


@pytest.mark.parametrize(
    ("said", "seq", "words"),
    [
        ({"w1": BLANK, "w2": BEHIND, "w3": NEWEST}, 9, "(as w3 tells it)"),
        ({"w1": BLANK, "w2": NEWEST, "w3": BEHIND}, 6, "(as w2 tells it)"),
        ({"w1": {**BLANK, "applied_index": 4}, "w2": BLANK, "w3": BLANK}, 3, "no witness with a quorum answers"),
    ],
)
def test_events_are_those_of_the_witness_that_knows_most_and_it_is_named(
    said: dict[str, dict[str, Any]], seq: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Ledgers({name: {**seen, "witness": name} for name, seen in said.items()}, {name: [] for name in said})
    looking.show_events(client, after=None, limit=5, group=None, follow=False, as_json=True)
    told = capsys.readouterr()
    assert [json.loads(line)["seq"] for line in told.out.splitlines()] == [seq]
    assert words in told.err
