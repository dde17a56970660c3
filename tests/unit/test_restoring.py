"""`witness restore`: what it refuses, what it says, and that each witness of a restore starts alike."""

from __future__ import annotations

import inspect
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from backup_rig import TERM, Life, opened, settings_of
from core_rig import CLUSTER, W
from test_backup_file import WALL, file_of

from proto import limits
from proto.clock import SystemClock
from proto.codec import EVENTS
from proto.errors import BadValue, DurabilityLost
from proto.events import GENESIS_HASH, EventKind
from proto.units import NO_LINEAGE, ClusterId, WallMs
from witness import __main__ as witness_command
from witness.backup import command, place
from witness.backup.layout import BackupRefused
from witness.backup.place import UNFINISHED
from witness.backup.restoring import Plan, Wish, explain, perform, plan_restore, require_phrase
from witness.core.ledger import verify
from witness.core.restore import lineage_words, new_lineage
from witness.core.snapshot import decode_image
from witness.raft.lineage import lineage_of
from witness.raft.snapshot_file import read_snapshot
from witness.raft.store import create_store

MS_PER_H = 3_600_000


def silent(_done: int, _every: int) -> None: ...


def planned(where, source: Path | None, lineage: str = "", ttl_ms: int = 1_000, delay_ms: int = 0) -> Plan:
    return plan_restore(where, Wish(source, lineage, ttl_ms, delay_ms), silent)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "nightly.backup"
    path.write_bytes(file_of(Life().busy(2_500)))
    return path


def restored(tmp_path: Path, source: Path | None) -> list[str]:
    """All three; the lines of the last one."""
    lineage, lines = "", []
    for witness in W:
        where = settings_of(tmp_path, witness)
        plan = planned(where, source, lineage)
        lines = list(perform(where, plan))
        lineage = lineage_words(plan.lineage)
    return lines


def test_all_witnesses_of_a_restore_start_with_the_same_bytes_and_their_own_disk(tmp_path, source):
    restored(tmp_path, source)
    stores = [opened(settings_of(tmp_path, witness)) for witness in W]
    files = {(settings_of(tmp_path, witness).data_dir / "snapshot.bin").read_bytes() for witness in W}
    assert len(files) == 1
    assert len({store.incarnation for store in stores}) == 3
    assert len({lineage_of(store) for store in stores}) == 1
    assert lineage_of(stores[0]) != NO_LINEAGE
    ledgers = {tuple(store.read_events(1, 10_000)) for store in stores}
    assert len(ledgers) == 1
    events = [EVENTS.decode(data) for _, data in ledgers.pop()]
    assert verify(events, GENESIS_HASH) is None
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert {event.kind for event in events[-2:]} == {EventKind.RESTORED}
    for store in stores:
        snapshot = store.read_snapshot()
        assert snapshot is not None
        state = decode_image(snapshot.image)
        assert (snapshot.last_index, snapshot.last[2]) == (state.applied_index, TERM + 1)
        assert state.ledger.head_seq == len(events)
        store.close()


def test_nothing_else_is_left_in_the_data_directory(tmp_path, source):
    restored(tmp_path, source)
    assert {path.name for path in settings_of(tmp_path).data_dir.iterdir()} == {"snapshot.bin", "witness.db"}


def test_without_any_backup_the_cluster_begins_empty_but_barred(tmp_path):
    lines = restored(tmp_path, None)
    snapshot = read_snapshot(settings_of(tmp_path).data_dir, ClusterId(CLUSTER))
    assert snapshot is not None
    state = decode_image(snapshot.image)
    assert (state.groups, state.cluster, snapshot.last_index) == ({}, None, 3)
    assert state.bar is not None
    assert any("start all witnesses" in line for line in lines)


# -- what is refused --------------------------------------------------------------------------------------


def test_a_data_directory_with_a_store_is_never_touched(tmp_path, source):
    where = settings_of(tmp_path)
    create_store(where.data_dir, where.cluster, where.witness)
    before = (where.data_dir / "witness.db").read_bytes()
    with pytest.raises(BackupRefused, match="this one is readmitted instead"):
        planned(where, source)
    assert (where.data_dir / "witness.db").read_bytes() == before


@pytest.mark.parametrize("name", ["snapshot.bin", "witness.db-wal", "turn"])
def test_a_part_of_a_store_counts_as_one(tmp_path, source, name):
    where = settings_of(tmp_path)
    where.data_dir.mkdir()
    (where.data_dir / name).write_bytes(b"x")
    with pytest.raises(BackupRefused, match=f"{re.escape(name)} is there"):
        planned(where, source)


def test_a_witness_that_answers_stops_a_restore(tmp_path, source):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        where = settings_of(tmp_path, W[0], w3=port)
        with pytest.raises(BackupRefused, match=f"w3 answers at 127.0.0.1:{port}, so not all witnesses are lost"):
            planned(where, source)


def test_a_backup_of_another_cluster_or_of_other_witnesses_is_refused(tmp_path, source):
    where = settings_of(tmp_path)
    with pytest.raises(BadValue, match="use a backup of this cluster"):
        planned(replace(where, cluster=ClusterId("d" * 32)), source)
    with pytest.raises(BadValue, match="name the same witnesses"):
        planned(replace(where, peers=where.peers[:1]), source)


def test_a_damaged_or_missing_file_is_named(tmp_path, source):
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 1
    source.write_bytes(bytes(data))
    with pytest.raises(BackupRefused, match=r"nightly\.backup: "):
        planned(settings_of(tmp_path), source)
    with pytest.raises(BadValue, match=r"--from: .* cannot be read"):
        planned(settings_of(tmp_path), tmp_path / "none")


@pytest.mark.parametrize(
    ("begun", "says"),
    [
        (lambda _now: WALL - 2 * MS_PER_H, "was begun before its backup was taken"),
        (lambda now: now + 2 * MS_PER_H, "in the future of this machine's clock"),
    ],
)
def test_a_lineage_of_a_wrong_clock_is_refused(tmp_path, source, begun, says):
    lineage = new_lineage(WallMs(begun(SystemClock().read().wall_ms)), b"r" * 12)
    with pytest.raises(BadValue, match=says):
        planned(settings_of(tmp_path), source, lineage_words(lineage))


def test_the_lineage_of_the_backup_is_no_new_one(tmp_path, source):
    restored(tmp_path, source)
    where = settings_of(tmp_path)
    again = tmp_path / "again.backup"
    command.back_up_settings(where, again, lambda _line: None)
    store = opened(where)
    lineage = lineage_words(lineage_of(store))
    store.close()
    blank = settings_of(tmp_path / "new")
    with pytest.raises(BadValue, match="each restore has its own"):
        planned(blank, again, lineage)
    assert planned(blank, again).made.state.generation > 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"source": None, "without": False}, "one of --from FILE and --without-backup"),
        ({"source": Path("x"), "without": True}, "one of --from FILE and --without-backup"),
        ({"longest_ttl": "10"}, "a number with a unit"),
        ({"longest_ttl": "11m"}, "must lie between 500ms and 10m"),
        ({"longest_ttl": "1ms"}, "must lie between 500ms and 10m"),
        ({"longest_lock_delay": "soon"}, "a number with a unit"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(options, says):
    usual = {
        "source": Path("x"), "without": False, "lineage": "", "longest_ttl": "10m", "longest_lock_delay": "10m",
    }  # fmt: skip
    with pytest.raises(BadValue, match=says) as caught:
        command.wish_of(**{**usual, **options})
    assert caught.value.field.startswith("--")


def test_the_defaults_are_the_limits_of_every_group():
    wish = command.wish_of(
        Path("x"),
        without=False,
        lineage="",
        longest_ttl=command.DEFAULT_TTL,
        longest_lock_delay=command.DEFAULT_LOCK_DELAY,
    )
    options = inspect.signature(witness_command.restore).parameters
    assert options["longest_ttl"].default == command.DEFAULT_TTL
    assert options["longest_lock_delay"].default == command.DEFAULT_LOCK_DELAY
    assert (wish.longest_ttl_ms, wish.longest_lock_delay_ms) == (limits.TTL_MS_MAX, limits.LOCK_DELAY_MS_MAX)


# -- what is said and confirmed ---------------------------------------------------------------------------


def test_the_rule_the_wait_and_the_way_to_shorten_it_stand_on_the_screen(tmp_path, source):
    where = settings_of(tmp_path)
    lines = list(explain(where, planned(where, source, ttl_ms=limits.TTL_MS_MAX, delay_ms=limits.LOCK_DELAY_MS_MAX)))
    text = " ".join(lines)
    assert "While a majority lives, a lost witness is readmitted" in text
    assert "Nothing is granted for 24 min 27 s after the start" in " ".join(text.split())
    assert "--longest-ttl 30s" in text
    assert all(len(line) <= 80 for line in lines if not line.startswith(("backup", "witness ")))
    short = " ".join(" ".join(explain(where, planned(where, source, ttl_ms=30_000))).split())
    assert "a lease of up to 30s may be in force" in short
    assert "--longest-ttl" not in short


@pytest.mark.parametrize("typed", ["", "yes", "all witnesses", "restore"])
def test_a_wrong_confirmation_changes_nothing(tmp_path, source, typed):
    with pytest.raises(BadValue, match="nothing was changed"):
        require_phrase(typed)
    assert not settings_of(tmp_path).data_dir.exists()
    assert source.exists()


def test_the_confirmation_is_taken_as_people_type_it():
    require_phrase("  All witnesses are  LOST\n")


def test_the_first_witness_is_told_what_to_type_on_the_others(tmp_path, source):
    where = settings_of(tmp_path)
    plan = planned(where, source)
    lines = "\n".join(perform(where, plan))
    assert f"--lineage {lineage_words(plan.lineage)}" in lines
    assert "on each of w2, w3" in lines
    assert re.search(r"fingerprint +[0-9a-f]{16}: must be the same", lines)


# -- interrupted ------------------------------------------------------------------------------------------


def test_a_restore_that_breaks_off_anywhere_leaves_no_store_and_can_be_repeated(tmp_path, source, monkeypatch):
    where = settings_of(tmp_path)
    steps = ["create_store", "write_snapshot", "sync_directory", "encode_snapshot"]
    for name in steps:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, broken)
            with pytest.raises((BackupRefused, DurabilityLost)):
                list(perform(where, planned(where, source)))
        assert not (where.data_dir / "witness.db").exists()
    assert (where.data_dir / UNFINISHED).exists()
    list(perform(where, planned(where, source)))
    opened(where).close()
    assert not (where.data_dir / UNFINISHED).exists()


def broken(*_: object) -> None:
    raise OSError(28, "No space left on device")
