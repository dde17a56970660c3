"""What is kept for the next process is read as it was written, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.core.takeover import KeptGroup, KeptIncarnation, Machine
from agents.incarnation_file import IncarnationFile
from agents.runtime.machine import read_generation, read_machine
from proto.errors import DurabilityLost
from proto.lease import LeaseConstants
from proto.units import Claim, ClusterId, Epoch, GroupId, Incarnation, SiteId

KEPT = KeptIncarnation(
    ClusterId("c" * 32),
    SiteId("dc-a"),
    b"s" * 16,
    Machine("boot", "generation"),
    Incarnation(b"i" * 16),
    3,
    {GroupId("shop"): KeptGroup(Epoch(7), Claim(b"c" * 16), LeaseConstants(3_000, 10_000, 500))},
)


def test_it_is_read_as_it_was_written_by_its_user_alone(tmp_path: Path) -> None:
    file = IncarnationFile(tmp_path)
    assert file.load() == "nothing was kept"
    file.store(KEPT)
    assert IncarnationFile(tmp_path).load() == KEPT
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_every_damage_means_that_nothing_was_kept(tmp_path: Path) -> None:
    file = IncarnationFile(tmp_path)
    file.store(KEPT)
    good = file.path.read_bytes()
    for at in range(len(good) - 1):
        file.path.write_bytes(good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :])
        assert isinstance(file.load(), str), f"byte {at}"
    for bad in (b"", b"[]", b"{}", b"7", good[:-20], b"\xff" * 100):
        file.path.write_bytes(bad)
        assert isinstance(file.load(), str), bad[:10]


def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(DurabilityLost):
        IncarnationFile(tmp_path / "gone").store(KEPT)


def test_the_generation_is_a_digest_of_what_the_machine_shows_and_empty_where_it_shows_nothing(tmp_path: Path) -> None:
    shown = tmp_path / "raw"
    assert read_generation((shown,)) == ""
    shown.write_bytes(bytes(64))
    assert read_generation((shown,)) == "", "a device without an id"
    shown.write_bytes(b"\0" * 40 + b"guid-1")
    first = read_generation((tmp_path / "none", shown))
    shown.write_bytes(b"\0" * 40 + b"guid-2")
    assert first
    assert read_machine((shown,)).generation not in ("", first)
