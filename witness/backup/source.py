"""What goes into a backup, from a running witness's memory and store, or from the store of a stopped one.

A running witness hands out the state that it has applied; what it rests on is on disk. Of a stopped one the whole log
counts, also the end of which nobody can say any more whether it was committed: it may have been acknowledged, and a
restore resets whatever could do harm. So a backup of a stopped witness may know a change whose author was told that
its outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from proto.codec import EVENTS
from proto.events import Event
from proto.units import WallMs
from witness.backup.layout import BackupRefused, Header, header_of
from witness.core.machine import Machine
from witness.core.state import ClusterState
from witness.raft.messages import REGULAR
from witness.raft.port import SnapshotRefused
from witness.raft.store import STAY_DOWN, Store

EVENTS_PAGE: Final = 200
"""Read at once; a running witness renews leases between two pages."""

ReadEvents = Callable[[int, int], list[tuple[int, bytes]]]


@dataclass(frozen=True, slots=True)
class Parts:
    """The three parts of a backup file."""

    header: Header
    image: bytes
    events: Iterator[bytes]
    behind: bool
    """The witness cannot say that it has all that is committed."""


def of_running(
    state: ClusterState, image: bytes, store: Store, *, term: int, wall_ms: WallMs, caught_up: bool
) -> Parts:
    """`image` is of this very state. Its events may lag on the disk by a turn: the newest are in the state itself."""
    header = header_of(state, image, term=term, witness=store.witness_id, wall_ms=wall_ms)
    events = ledger(store.read_events, tuple(state.ledger.recent), header.events)
    return Parts(header, image, events, behind=not caught_up)


def of_stopped(store: Store, wall_ms: WallMs) -> Parts:
    """Raises BackupRefused or UpgradeRequired; changes nothing."""
    machine = Machine()
    fresh = list(_replay(store, machine))
    image = machine.snapshot()
    term = store.read_state().term
    header = header_of(machine.state, image, term=term, witness=store.witness_id, wall_ms=wall_ms)
    known = {event.seq: event for event in (*machine.state.ledger.recent, *fresh)}
    newest = [known[seq] for seq in sorted(known)]
    return Parts(header, image, ledger(store.read_events, newest, header.events), behind=True)


def _replay(store: Store, machine: Machine) -> Iterator[Event]:
    try:
        snapshot = store.read_snapshot()
    except SnapshotRefused as refused:
        raise BackupRefused(f"{store.directory}: {refused}; {STAY_DOWN}") from refused
    entries = store.read_entries()
    covered = 0
    if snapshot is not None:
        machine.restore(snapshot.image, snapshot.last_index)
        covered = snapshot.last_index
    if entries and entries[0][1] > covered + 1:
        raise BackupRefused(f"{store.directory}: the snapshot that the log needs is missing; {STAY_DOWN}")
    for command, index, _ in entries:
        if index > covered and command[0] == REGULAR:
            yield from machine.apply(index, command[1:]).events


def ledger(read: ReadEvents, newest: Sequence[Event], last: int) -> Iterator[bytes]:
    """Every event up to `last` that the store has, page by page, and then those that only memory has."""
    seen = 0
    while seen < last:
        page = [item for item in read(seen + 1, EVENTS_PAGE) if item[0] <= last]
        yield from (data for _, data in page)
        if not page:
            break
        seen = page[-1][0]
    yield from (EVENTS.encode(event) for event in newest if seen < event.seq <= last)
