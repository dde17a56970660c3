"""A backup file is whole, of this cluster and unbroken, or it is refused; and so is the taking of one."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from backup_rig import TERM, Life, opened, settings_of
from core_rig import CLUSTER, W
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import codec
from proto.errors import BadValue
from proto.features import FEATURE_MAX, UpgradeRequired
from proto.units import ClusterId, WallMs
from witness.backup import take as take_room
from witness.backup.command import describe
from witness.backup.layout import BackupRefused, Header, chunks, header_of, read_events, verify
from witness.backup.source import Parts, ledger, of_running, of_stopped
from witness.backup.take import ALONE, STOPPED, take_backup
from witness.core.state import ClusterState
from witness.runtime import control
from witness.runtime.control import Control

WALL = WallMs(1_760_000_000_000)


def parts_of(life: Life) -> Parts:
    state, image = life.machine.state, life.machine.snapshot()
    header = header_of(state, image, term=TERM, witness=W[0], wall_ms=WALL)
    return Parts(header, image, iter([data for _, data in life.events]), behind=False)


def file_of(life: Life, **changes: object) -> bytes:
    parts = parts_of(life)
    header = replace(parts.header, **changes) if changes else parts.header
    return b"".join(chunks(header, parts.image, parts.events))


SMALL = file_of(Life().busy(3))


# -- the file ---------------------------------------------------------------------------------------------


def test_a_backup_comes_back_with_all_that_was_known():
    life = Life().busy(30)
    backup = verify(io.BytesIO(file_of(life)))
    assert backup.state == life.machine.state
    assert (backup.header.cluster, backup.header.term, backup.header.index) == (CLUSTER, TERM, 33)
    assert (backup.events, backup.lacking) == (len(life.events), ())
    assert list(read_events(io.BytesIO(file_of(life)))) == life.events


def test_the_header_can_be_read_by_people_and_other_programs():
    length = struct.unpack_from(">8sII", SMALL)[2]
    header = json.loads(SMALL[16 : 16 + length])
    assert header["made"] == "2025-10-09T08:53:20+00:00"
    assert (header["cluster"], header["witness"], header["feature_level"]) == (CLUSTER, "w1", 1)
    assert b"\n" in SMALL[16 : 16 + length]


@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
@settings(max_examples=300)
def test_any_changed_byte_is_refused(at, by):
    data = bytearray(SMALL)
    data[at] ^= by
    with pytest.raises((BackupRefused, UpgradeRequired)):
        verify(io.BytesIO(bytes(data)))


@given(st.integers(0, len(SMALL) - 1))
def test_any_cut_file_is_refused(length):
    with pytest.raises(BackupRefused, match="cut short"):
        verify(io.BytesIO(SMALL[:length]))


def test_what_follows_behind_the_end_is_refused():
    with pytest.raises(BackupRefused, match="behind its end"):
        verify(io.BytesIO(SMALL + b"x"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"index": 99}, "do not say the same"),
        ({"generation": 3}, "do not say the same"),
        ({"events": 1}, "do not say the same"),
        ({"cluster": "x"}, "header cannot be read"),
        ({"lineage": "ab"}, "makes no sense"),
        ({"term": -1}, "makes no sense"),
        ({"wall_ms": "now"}, "makes no sense"),
        ({"image_bytes": 0}, "makes no sense"),
        ({"image_bytes": True}, "makes no sense"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(changes, says):
    with pytest.raises(BackupRefused, match=says):
        verify(io.BytesIO(file_of(Life(), **changes)))


def test_a_backup_of_a_newer_level_or_version_names_the_remedy():
    with pytest.raises(UpgradeRequired, match=f"this backup needs feature level {FEATURE_MAX + 1}"):
        verify(io.BytesIO(file_of(Life(), feature_level=FEATURE_MAX + 1)))
    with pytest.raises(BackupRefused, match="use the version that wrote it"):
        verify(io.BytesIO(SMALL[:8] + struct.pack(">I", 2) + SMALL[12:]))
    with pytest.raises(BackupRefused, match="no backup of thirdsite"):
        verify(io.BytesIO(b"#!/bin/sh\n" + bytes(100)))


def with_events(life: Life, events: list[bytes]) -> bytes:
    parts = parts_of(life)
    return b"".join(chunks(parts.header, parts.image, events))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda events: [events[0], events[2], events[1], *events[3:]], "comes after 3"),
        (lambda events: [*events, events[-1]], "comes after"),
        (lambda events: [*events[:2], changed(events[2]), *events[3:]], "the chain breaks at event 3"),
        (lambda events: events[:-1], "ends with event"),
        (lambda _: [], "ends with event 0"),
        (lambda events: [*events, b"\xc1"], "cannot be read"),
        (lambda events: [*events, bytes(200_000)], "too long"),
    ],
)
def test_a_broken_ledger_is_refused(change, says):
    life = Life().busy(5)
    with pytest.raises(BackupRefused, match=says):
        verify(io.BytesIO(with_events(life, change([data for _, data in life.events]))))


def changed(event: bytes) -> bytes:
    return codec.EVENTS.encode(replace(codec.EVENTS.decode(event), text="somebody else did it"))


def test_a_ledger_with_gaps_says_which_and_the_rest_is_checked():
    life = Life().busy(20)
    events = [data for seq, data in life.events if seq not in {1, 2, 9, 10, 11}]
    backup = verify(io.BytesIO(with_events(life, events)))
    assert backup.lacking == ((1, 2), (9, 11))
    assert "            events 9 to 11 are not in it: this witness never had them" in list(describe(backup))
    broken = [*events[:3], changed(events[3]), *events[4:]]
    with pytest.raises(BackupRefused, match="chain breaks"):
        verify(io.BytesIO(with_events(life, broken)))


def test_the_progress_of_a_long_ledger_is_told():
    life = Life().busy(2_500)
    told: list[tuple[int, int]] = []
    verify(io.BytesIO(file_of(life)), lambda done, every: told.append((done, every)))
    assert told == [(1_000, len(life.events)), (2_000, len(life.events))]


def test_a_witness_that_knows_no_cluster_has_nothing_to_back_up():
    with pytest.raises(BackupRefused, match="nothing to back up"):
        header_of(ClusterState(), b"", term=1, witness=W[0], wall_ms=WALL)


# -- where it comes from ----------------------------------------------------------------------------------


@pytest.mark.parametrize("snapshot_at", [None, 5, 12])
@pytest.mark.parametrize("unsaved", [0, 4])
def test_a_stopped_witness_gives_all_that_its_log_says(tmp_path, snapshot_at, unsaved):
    life, where = Life().busy(10), settings_of(tmp_path)
    life.store(where, snapshot_at=snapshot_at, unsaved=unsaved)
    store = opened(where)
    parts = of_stopped(store, WALL)
    data = b"".join(chunks(parts.header, parts.image, parts.events))
    store.close()
    backup = verify(io.BytesIO(data))
    assert backup.state == life.machine.state
    assert (backup.events, backup.header.term) == (len(life.events), TERM)


def test_a_stopped_witness_without_the_snapshot_that_its_log_needs_is_refused(tmp_path):
    where = settings_of(tmp_path)
    Life().busy(10).store(where, snapshot_at=8)
    (where.data_dir / "snapshot.bin").unlink()
    store = opened(where)
    with pytest.raises(BackupRefused, match="snapshot that the log needs is missing"):
        of_stopped(store, WALL)
    store.close()


def test_a_gap_in_the_store_is_a_gap_in_the_backup(tmp_path):
    life, where = Life().busy(30), settings_of(tmp_path)
    life.store(where, lacking=range(3, 9))
    store = opened(where)
    parts = of_running(life.machine.state, life.machine.snapshot(), store, term=1, wall_ms=WALL, caught_up=True)
    backup = verify(io.BytesIO(b"".join(chunks(parts.header, parts.image, parts.events))))
    store.close()
    assert backup.lacking == ((3, 8),)


def test_the_ledger_is_read_in_pages_and_ends_where_the_image_does():
    life = Life().busy(450)
    asked: list[int] = []

    def read(first: int, limit: int) -> list[tuple[int, bytes]]:
        asked.append(first)
        return life.events[first - 1 : first - 1 + limit]

    got = list(ledger(read, (), 420))
    assert got == [data for _, data in life.events[:420]]
    assert asked == [1, 201, 401]


# -- taking one -------------------------------------------------------------------------------------------


def silent(_done: int, _every: int) -> None: ...


def test_a_backup_of_a_stopped_witness_is_private_and_overwrites_nothing(tmp_path):
    where, out = settings_of(tmp_path), tmp_path / "one.backup"
    Life().store(where)
    taken = take_backup(where, out, silent)
    assert taken.warning == STOPPED
    assert out.stat().st_mode & 0o777 == 0o600
    assert out.stat().st_nlink == 1
    before = out.read_bytes()
    with pytest.raises(BadValue, match="overwrites nothing"):
        take_backup(where, out, silent)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data-w1", "one.backup"]


def test_a_refused_backup_leaves_no_file(tmp_path, monkeypatch):
    where, out = settings_of(tmp_path), tmp_path / "one.backup"
    with pytest.raises(BackupRefused, match="has no store"):
        take_backup(where, out, silent)
    Life().store(where)
    with pytest.raises(BadValue, match="cannot be written"):
        take_backup(where, tmp_path / "missing" / "one.backup", silent)
    busy = opened(where)
    with pytest.raises(BackupRefused, match="in use by another process"):
        take_backup(where, out, silent)
    busy.close()
    monkeypatch.setattr(take_room, "chunks", lambda *_: iter([b"3SIT"]))
    with pytest.raises(BackupRefused, match="cut short"):
        take_backup(where, out, silent)
    assert [path.name for path in tmp_path.iterdir()] == ["data-w1"]


def test_who_comes_first_to_a_name_keeps_it(tmp_path, monkeypatch):
    where, out = settings_of(tmp_path), tmp_path / "one.backup"
    Life().store(where)
    monkeypatch.setattr(Path, "exists", lambda self: self.name == "witness.db")
    out.write_bytes(b"another's")
    with pytest.raises(BadValue, match="is there already"):
        take_backup(where, out, silent)
    assert out.read_bytes() == b"another's"


class Door:
    """A running witness's control socket, without the witness."""

    def __init__(self, directory: Path) -> None:
        self.life = Life().busy(500)
        self.refuses: BackupRefused | None = None
        self.behind = False
        self.control = Control(directory, self.take)

    def take(self) -> Parts:
        if self.refuses is not None:
            raise self.refuses
        return replace(parts_of(self.life), behind=self.behind)


@pytest.fixture
async def door(tmp_path: Path):
    where = settings_of(tmp_path)
    Life().store(where)
    made = Door(where.data_dir)
    await made.control.start()
    yield made
    made.control.stop()
    assert not (where.data_dir / control.SOCKET_NAME).exists()


async def test_a_running_witness_is_asked_through_its_socket(door, tmp_path):
    where, out = settings_of(tmp_path), tmp_path / "one.backup"
    assert (where.data_dir / control.SOCKET_NAME).stat().st_mode & 0o777 == 0o600
    taken = await asyncio.to_thread(take_backup, where, out, silent)
    assert (taken.warning, taken.backup.state) == ("", door.life.machine.state)
    door.behind = True
    taken = await asyncio.to_thread(take_backup, where, tmp_path / "two.backup", silent)
    assert taken.warning == ALONE
    door.refuses = BackupRefused("nothing there yet")
    with pytest.raises(BackupRefused, match="the running witness refuses: nothing there yet"):
        await asyncio.to_thread(take_backup, where, tmp_path / "three.backup", silent)


async def test_a_path_longer_than_a_sockets_works(tmp_path):
    deep = tmp_path.joinpath(*["d" * 40 for _ in range(4)])
    deep.mkdir(parents=True)
    made = Door(deep)
    await made.control.start()
    assert (deep / control.SOCKET_NAME).is_socket()
    made.control.stop()


def ask(directory: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        client.connect(str(directory / control.SOCKET_NAME))
        client.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(65_536):
                answer += piece
    return answer


@pytest.mark.parametrize("request_line", [b"backup 2\n", b"\n", b"restore\n", b"x" * 4_000])
async def test_any_other_request_is_refused(door, tmp_path, request_line):
    answer = await asyncio.to_thread(ask, settings_of(tmp_path).data_dir, request_line)
    assert answer.startswith(b"no ") or answer == b""


async def test_another_user_is_turned_away(door, tmp_path, monkeypatch):
    monkeypatch.setattr(control, "_is_ours", lambda _writer: False)
    answer = await asyncio.to_thread(ask, settings_of(tmp_path).data_dir, control.REQUEST)
    assert answer == b"no only the witness's own user and root may ask here\n"


async def test_one_backup_at_a_time_and_a_client_that_stalls_is_let_go(door, tmp_path, monkeypatch):
    monkeypatch.setattr(control, "STALLED_S", 0.2)
    directory = settings_of(tmp_path).data_dir
    door.life.busy(5_000)
    reader, writer = await asyncio.open_unix_connection(str(directory / control.SOCKET_NAME), limit=1)
    writer.write(control.REQUEST)
    async with asyncio.timeout(10):
        while not door.control._busy:  # noqa: ASYNC110 - a flag of the other end
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(ask, directory, control.REQUEST) == (
            b"no another backup is being taken: wait for its end\n"
        )
        while door.control._busy:  # noqa: ASYNC110 - a flag of the other end
            await asyncio.sleep(0.01)
    writer.close()
    assert reader is not None
    assert (await asyncio.to_thread(ask, directory, control.REQUEST)).startswith(b"ok\n")


async def test_a_leftover_socket_is_replaced_at_the_start(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as old:
        old.bind(str(tmp_path / control.SOCKET_NAME))
    made = Door(tmp_path)
    await made.control.start()
    assert (await asyncio.to_thread(ask, tmp_path, control.REQUEST)).startswith(b"ok\n")
    made.control.stop()


def test_the_header_is_made_of_the_state():
    header = parts_of(Life()).header
    assert isinstance(header, Header)
    assert header.cluster == ClusterId(CLUSTER)
