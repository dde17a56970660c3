"""Which incarnations began on a state directory, for those that follow to name."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agents.incarnations import KEPT_MAX, Incarnations
from proto.units import Incarnation


def name(number: int) -> Incarnation:
    return Incarnation(bytes([number]) * 16)


def test_each_process_finds_those_before_it(tmp_path: Path) -> None:
    for number in range(1, KEPT_MAX + 3):
        store = Incarnations(tmp_path)
        store.begin(name(number))
        assert store.ended(name(number)) == tuple(name(one) for one in range(max(1, number - KEPT_MAX + 1), number))
    assert store.path.stat().st_mode & 0o777 == 0o600


def test_a_process_that_goes_on_as_an_earlier_one_names_only_those_before_that(tmp_path: Path) -> None:
    store = Incarnations(tmp_path)
    for number in (1, 2, 3):
        store.begin(name(number))
    again = Incarnations(tmp_path)
    again.begin(name(2))
    assert again.ended(name(2)) == (name(1),)
    assert Incarnations(tmp_path).ended(name(4)) == (name(1), name(2), name(3))


@pytest.mark.parametrize("bad", [b"zz\n", b"0102\n", b"\xff\xfe", bytes(5_000)], ids=["hex", "short", "ascii", "long"])
def test_a_damaged_file_counts_as_empty_is_told_and_is_replaced(bad: bytes, tmp_path: Path) -> None:
    (tmp_path / "incarnations").write_bytes(bad)
    with capture_logs() as told:
        store = Incarnations(tmp_path)
    assert [line["event"] for line in told] == ["file_unusable"]
    assert store.ended(name(1)) == ()
    store.begin(name(1))
    assert Incarnations(tmp_path).ended(name(2)) == (name(1),)


def test_what_cannot_be_written_is_told_and_keeps_nobody_from_work(tmp_path: Path) -> None:
    store = Incarnations(tmp_path / "gone")
    with capture_logs() as told:
        store.begin(name(1))
    assert [line["event"] for line in told] == ["incarnation_not_noted"]
    assert store.ended(name(2)) == (name(1),)
