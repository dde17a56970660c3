"""What `witnessctl apply` would change, and how it is said: to people in a file's words, to programs in fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from proto.edge.config_file import ConfigRefused
from witness.ctl import changing, render
from witness.ctl.as_written import key_of, value_of
from witness.ctl.changes import Action, FieldChange, plan_change
from witness.ctl.group_file import load_groups
from witness.group_fields import to_fields

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "groups.yaml"


def test_apply_knows_create_change_and_nothing() -> None:
    wanted = to_fields(load_groups(EXAMPLE)[0])
    assert plan_change(wanted, None).action is Action.CREATE
    assert plan_change(wanted, {"config": wanted, "mode": "automatic", "version": 4}).action is Action.NOTHING
    found = {"config": {**wanted, "ttl_ms": 3_000, "cooldown_ms": 1}, "mode": "automatic", "version": 4}
    change = plan_change(wanted, found)
    assert (change.action, change.expected_version) == (Action.CHANGE, 4)
    assert change.fields == (FieldChange("cooldown_ms", 1, 60_000), FieldChange("ttl_ms", 3_000, 10_000))
    assert [field.note for field in change.fields] == ["", "with the next epoch"]
    lines = [line.plain for line in render.change_lines(change)]
    assert lines == ["shop: change", "  cooldown: 1ms -> 1m", "  ttl: 3s -> 10s   (with the next epoch)"]


def test_a_program_reads_when_each_change_applies_and_that_a_mode_stays() -> None:
    wanted = to_fields(load_groups(EXAMPLE)[0])
    found = {"config": {**wanted, "ttl_ms": 3_000, "cooldown_ms": 1}, "mode": "manual", "version": 4}
    changes = changing._result(plan_change(wanted, found), None)["changes"]
    assert changes["mode"] == {"before": "manual", "after": "automatic", "applies": "never"}
    assert {name: change["applies"] for name, change in changes.items()} == {
        "mode": "never", "cooldown_ms": "now", "ttl_ms": "next-epoch",
    }  # fmt: skip
    created = changing._result(plan_change(wanted, None), None)["changes"]
    assert {change["applies"] for change in created.values()} == {"now"}, "the file sets all of a new group"


@pytest.mark.parametrize("number", [0, 1], ids=["few", "all"])
def test_what_apply_says_of_a_new_group_is_what_its_file_says(tmp_path: Path, number: int) -> None:
    """In its words, so that it can be compared with the file line by line, and put into one."""
    config = load_groups(EXAMPLE)[number]
    lines = [line.plain for line in render.change_lines(plan_change(to_fields(config), None))]
    assert lines[0] == f"{config.group}: create"
    written = tmp_path / "groups.yaml"
    fields = "\n".join(f"  {line}" for line in lines[1:])
    written.write_text(f"groups:\n  - group: {config.group}\n{fields}\n", encoding="utf-8")
    assert load_groups(written) == (config,)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("ttl_ms", 2_500, "ttl: 2500ms"),
        ("max_replication_lag_ms", None, "max_replication_lag: not set"),
        ("lock_delay_ms", 0, "lock_delay: 0s"),
        ("drift_max_ppm", 5_000, "drift_max: 0.5%"),
        ("break_glass_key", "", "break_glass.key: not set"),
        ("break_glass_after_ms", 600_000, "break_glass.after: 10m"),
        ("licenses", [{"name": "key", "escrow": "none"}], "licenses: [{name: key, escrow: none}]"),
        ("labels", {"owner": "payments"}, "labels: {owner: payments}"),
        ("moves_max", 3, "moves_max: 3"),
    ],
)
def test_a_field_is_shown_as_the_file_writes_it(field: str, value: object, words: str) -> None:
    assert f"{key_of(field)}: {value_of(field, value)}" == words


def test_a_mode_that_differs_is_told_and_never_sent() -> None:
    wanted = to_fields(load_groups(EXAMPLE)[0])
    change = plan_change(wanted, {"config": wanted, "mode": "manual", "version": 4})
    assert change.action is Action.NOTHING
    lines = [line.plain for line in render.change_lines(change)]
    assert lines[0] == "shop: unchanged"
    assert lines[1].startswith("  mode: manual -> automatic   (stays: ")


def test_a_refused_group_is_not_also_counted_as_missing(tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    file.write_text("groups:\n- {group: a, sites: [x, y], ttl: 3}", encoding="utf-8")
    with pytest.raises(ConfigRefused) as caught:
        load_groups(file)
    assert len(caught.value.problems) == 1
