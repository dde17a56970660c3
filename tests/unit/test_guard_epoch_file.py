"""The durable epoch bound never goes back and fails closed; the record file is read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.fencing.epoch_file import NOTHING_SEEN, EpochBounds, EpochFile, EpochFileDamaged
from agents.fencing.record_file import BadRecord, GuardRecord
from proto.errors import DurabilityLost
from proto.invariants import InvariantViolation
from proto.units import Epoch, GroupId

GROUP = GroupId("shop")


def bounds(bound: int, finished: int) -> EpochBounds:
    return EpochBounds(Epoch(bound), Epoch(finished))


def test_a_host_that_never_acted_knows_nothing(tmp_path: Path) -> None:
    assert EpochFile(tmp_path, GROUP).bounds == NOTHING_SEEN


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    file = EpochFile(tmp_path, GROUP)
    file.store(bounds(5, 4))
    file.store(bounds(6, 5))
    assert EpochFile(tmp_path, GROUP).bounds == bounds(6, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["shop.epoch"]


@pytest.mark.parametrize("worse", [(4, 4), (5, 3), (5, 6)])
def test_it_never_goes_back(tmp_path: Path, worse: tuple[int, int]) -> None:
    file = EpochFile(tmp_path, GROUP)
    file.store(bounds(5, 4))
    with pytest.raises(InvariantViolation):
        file.store(bounds(*worse))
    assert EpochFile(tmp_path, GROUP).bounds == bounds(5, 4)


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    file = EpochFile(tmp_path, GROUP)
    file.store(bounds(5, 4))
    good = file.path.read_bytes()
    for at in range(len(good) - 1):
        file.path.write_bytes(good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :])
        with pytest.raises(EpochFileDamaged, match="Remedy"):
            EpochFile(tmp_path, GROUP)
    for cut in range(len(good) - 2):
        file.path.write_bytes(good[:cut])
        with pytest.raises(EpochFileDamaged):
            EpochFile(tmp_path, GROUP)


def test_another_groups_file_is_refused(tmp_path: Path) -> None:
    EpochFile(tmp_path, GroupId("other")).store(bounds(5, 4))
    (tmp_path / "other.epoch").rename(tmp_path / "shop.epoch")
    with pytest.raises(EpochFileDamaged, match="not of group shop"):
        EpochFile(tmp_path, GROUP)


def test_a_failed_write_is_not_taken_for_stored(tmp_path: Path) -> None:
    file = EpochFile(tmp_path / "missing", GROUP)
    with pytest.raises(DurabilityLost):
        file.store(bounds(5, 4))
    assert file.bounds == NOTHING_SEEN


def test_records_round_trip_and_are_read_strictly() -> None:
    record = GuardRecord("boot", "pid-namespace", (1, 2), (3, 4), 5)
    again = GuardRecord.from_bytes(record.to_bytes())
    assert again.to_bytes() == record.to_bytes()
    for data in (b"", b"{}", b"[]", b"1", record.to_bytes().replace(b"3", b'"3"'), b'{"version": 2}'):
        with pytest.raises(BadRecord):
            GuardRecord.from_bytes(data)
