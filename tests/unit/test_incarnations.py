"""Which incarnations began on a state directory, for those that follow to name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from agents.core.ended import BEGUN_KEPT_MAX
from agents.incarnations import Incarnations
from agents.runtime.shell import AgentShell
from proto.units import Incarnation


def name(number: int) -> Incarnation:
    return Incarnation(bytes([number]) * 16)


def test_each_process_finds_those_before_it(tmp_path: Path) -> None:
    for number in range(1, BEGUN_KEPT_MAX + 3):
        store = Incarnations(tmp_path)
        assert store.begun == tuple(name(one) for one in range(max(1, number - BEGUN_KEPT_MAX), number))
        store.begin(name(number))
        assert store.begun[-1] == name(number)
    assert store.path.stat().st_mode & 0o777 == 0o600


def test_one_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    store = Incarnations(tmp_path)
    store.begin(name(1))
    written = store.path.stat().st_ino
    Incarnations(tmp_path).begin(name(1))
    assert store.path.stat().st_ino == written


@pytest.mark.parametrize("bad", [b"zz\n", b"0102\n", b"\xff\xfe", bytes(5_000)], ids=["hex", "short", "ascii", "long"])
def test_a_damaged_file_counts_as_empty_is_told_and_is_replaced(bad: bytes, tmp_path: Path) -> None:
    (tmp_path / "incarnations").write_bytes(bad)
    with capture_logs() as told:
        store = Incarnations(tmp_path)
    assert [line["event"] for line in told] == ["file_unusable"]
    assert store.begun == ()
    store.begin(name(1))
    assert Incarnations(tmp_path).begun == (name(1),)


def test_what_cannot_be_written_is_told_keeps_nobody_from_work_and_is_tried_again(tmp_path: Path) -> None:
    """At the latest with what it is granted: a process that is active goes on as the newest that was noted."""
    store = Incarnations(tmp_path / "gone")
    with capture_logs() as told:
        store.begin(name(1))
    assert [line["event"] for line in told] == ["incarnation_not_noted"]
    assert store.begun == ()
    (tmp_path / "gone").mkdir()
    kept: list[object] = []
    keeper = SimpleNamespace(keep=lambda incarnation, effect: kept.append((incarnation, effect)))
    shell = AgentShell(*cast("Any", (None, store, None, None, None, keeper)))
    shell.keep_authority(name(1), cast("Any", "effect"))
    assert Incarnations(tmp_path / "gone").begun == (name(1),)
    assert kept == [(name(1), "effect")]
