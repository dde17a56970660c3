"""A restored witness on disk: made whole in a folder of its own, then moved into the data directory at once.

Each witness of a restore gets the same snapshot, byte for byte, and the same ledger; only the random identity of its
disk differs. The store moves last: a crash in between leaves a directory that has no store, which the next attempt
clears. No data directory that has a store is ever touched.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from proto.codec import EVENTS
from proto.edge.atomic_file import sync_directory
from proto.invariants import require
from proto.units import ClusterId, WitnessId
from witness.backup.layout import BackupRefused
from witness.core.restore import Restored
from witness.core.snapshot import encode_image
from witness.raft.disk import Disk
from witness.raft.lineage import keep_marks
from witness.raft.messages import NO_OP
from witness.raft.snapshot_file import SNAPSHOT_NAME, Snapshot, encode_snapshot, write_snapshot
from witness.raft.store import STORE_NAME, WAL_NAME, create_store, open_store
from witness.raft.store_checks import STORE_FILES
from witness.settings import WitnessSettings

UNFINISHED: Final = "restoring"
_EVENTS_PER_COMMIT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Placed:
    fingerprint: str
    """Of the snapshot: the same on every witness of this restore."""


def require_blank(settings: WitnessSettings) -> None:
    """Raises BackupRefused for a data directory that has a store, or a part of one."""
    directory = settings.data_dir
    unfinished = (directory / UNFINISHED).exists()
    there = [name for name in STORE_FILES if (directory / name).exists()]
    if there and not (unfinished and there == [SNAPSHOT_NAME]):
        raise BackupRefused(
            f"{directory / there[0]} is there: a restore is only for the loss of all witnesses. If others still run, "
            "this one is readmitted instead (`witness readmit`). If all are lost, and this is what is left of one: "
            f"move {directory} away as it is, it is never deleted, then run this again"
        )


def place(settings: WitnessSettings, made: Restored, term: int, events: Iterable[tuple[int, bytes]]) -> Placed:
    """Raises LocalFault or OSError; the data directory has no store then."""
    require_blank(settings)
    directory = settings.data_dir
    unfinished = directory / UNFINISHED
    _clear(directory)
    data = fill(unfinished, settings.cluster, settings.witness, made, term, events)
    require(not (unfinished / WAL_NAME).exists(), "the restored store was closed with a log beside it")
    for name in (SNAPSHOT_NAME, STORE_NAME):
        (unfinished / name).rename(directory / name)
        sync_directory(directory)
    shutil.rmtree(unfinished)
    return Placed(hashlib.sha256(data).hexdigest())


def _clear(directory: Path) -> None:
    """What an attempt that did not end has left: no store was ever beside it (require_blank)."""
    if (directory / UNFINISHED).exists():
        (directory / SNAPSHOT_NAME).unlink(missing_ok=True)
        shutil.rmtree(directory / UNFINISHED)


def fill(
    where: Path | Disk,
    cluster: ClusterId,
    witness: WitnessId,
    made: Restored,
    term: int,
    events: Iterable[tuple[int, bytes]],
) -> bytes:
    """Makes the store and the snapshot that the restored state needs; returns the snapshot."""
    create_store(where, cluster, witness)
    store = open_store(where, cluster, witness)
    try:
        every = _all_events(made, events)
        while batch := tuple(islice(every, _EVENTS_PER_COMMIT)):
            store.append_events(batch)
            store.commit()
        keep_marks(store, made.state.feature_level, made.state.lineage)
        store.commit()
    finally:
        store.close()
    state = made.state
    entries = [(bytes([NO_OP]), index, term) for index in (state.applied_index - 1, state.applied_index)]
    data = encode_snapshot(Snapshot(entries[0], entries[1], encode_image(state)), cluster)
    write_snapshot(where, data)
    return data


def _all_events(made: Restored, events: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    yield from events
    yield from ((event.seq, EVENTS.encode(event)) for event in made.events)
