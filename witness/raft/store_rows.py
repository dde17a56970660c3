"""The rows of a witness's store: its tables, and for each kind of row the proof that it is what was written.

Rule: SQLite returns whatever the bytes say, of any type; nothing of it is believed before its CRC fits (I7). A CRC
covers a row's key too, so that a row under another's key is damage. Rows that vanish are noticed by their table's
end: the state repeats the last entry's place, the marks have a digest over all of them. Events may be missing from
the front or in the middle (a witness installed from a snapshot has none before it); their chain of hashes is checked
where they are used. Pure.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proto.errors import LocalFault
from witness.raft.disk import Row

FORMAT: Final = 2
INCARNATION_BYTES: Final = 16
META_KEY_CHARS_MAX: Final = 100
MARKS_MAX: Final = 1_000
DIGEST_NAME: Final = ""
"""The mark that is no mark: the digest over all others."""

TABLES: Final = (
    "identity (name TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    """raft_state (one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER NOT NULL, voted_for TEXT,
       last_index INTEGER NOT NULL, last_term INTEGER NOT NULL, turn INTEGER NOT NULL, crc INTEGER NOT NULL)""",
    "entries (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, command BLOB NOT NULL, crc INTEGER NOT NULL)",
    "events (seq INTEGER PRIMARY KEY, data BLOB NOT NULL, crc INTEGER NOT NULL)",
    "meta (name TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
)
GET_STATE: Final = "SELECT term, voted_for, last_index, last_term, turn, crc FROM raft_state"
SET_STATE: Final = "INSERT OR REPLACE INTO raft_state VALUES (1, ?, ?, ?, ?, ?, ?)"
IDENTITY_NAMES: Final = frozenset({"format", "cluster", "witness", "incarnation"})

STAY_DOWN: Final = (
    "it must not vote with this, or with a blank disk in its place: bring the undamaged disk back, or run `witness "
    "readmit -c FILE`, which puts this aside and lets the witness vote again once the others have brought it up to "
    "date; until then the others go on deciding while they are a majority"
)
"""The remedy for a disk that lost something."""

Entry = tuple[bytes, int, int]
"""command, index, term: the engine's own shape."""

_PLACE: Final = struct.Struct("<qq")


class StoreRefused(LocalFault):
    """The data directory cannot be used as it is; the message says what to do."""


class RowDamaged(Exception):
    """A row is not what was written. The text names it, as what is damaged."""


@dataclass(frozen=True, slots=True)
class RaftState:
    term: int
    voted_for: str | None
    last_index: int
    last_term: int


def entry_crc(command: bytes, index: int, term: int) -> int:
    return zlib.crc32(command, zlib.crc32(_PLACE.pack(index, term)))


def _state_crc(state: RaftState, turn: int) -> int:
    return zlib.crc32(repr((state.term, state.voted_for, state.last_index, state.last_term, turn)).encode())


def named_crc(name: str, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(name.encode(errors="surrogatepass")))


def event_crc(seq: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(_PLACE.pack(seq, 0)))


def checked_entry(row: Row) -> Entry:
    """Of (idx, term, command, crc)."""
    index, term, command, crc = row
    if not (_numbers(index, term) and type(command) is bytes and entry_crc(command, index, term) == crc):
        raise RowDamaged(f"log entry {index!r}")
    return command, index, term


def checked_log(rows: Sequence[Row], end: tuple[int, int]) -> list[Entry]:
    """Unbroken indexes, terms that do not fall, and the recorded end (index, term)."""
    entries: list[Entry] = []
    index_before = term_before = 0
    for row in rows:
        entry = checked_entry(row)
        if entries and (entry[1] != index_before + 1 or entry[2] < term_before):
            raise RowDamaged(f"the log between entries {index_before} and {entry[1]}")
        entries.append(entry)
        _, index_before, term_before = entry
    if (index_before, term_before) != end:
        raise RowDamaged(f"the end of the log (ends at {index_before}, recorded {end[0]})")
    return entries


def checked_state(rows: Sequence[Row]) -> tuple[RaftState, int]:
    """Of (term, voted_for, last_index, last_term, turn, crc); with the turn."""
    if len(rows) != 1:
        raise RowDamaged("the record of term and vote")
    term, voted_for, last_index, last_term, turn, crc = rows[0]
    state = RaftState(term, voted_for, last_index, last_term)
    fits = _numbers(term, last_index, last_term, turn) and (voted_for is None or type(voted_for) is str)
    if not fits or _state_crc(state, turn) != crc:
        raise RowDamaged("the record of term and vote")
    return state, turn


def checked_event(row: Row) -> tuple[int, bytes]:
    """Of (seq, data, crc)."""
    seq, data, crc = row
    if not (_numbers(seq) and type(data) is bytes and event_crc(seq, data) == crc):
        raise RowDamaged(f"event {seq!r}")
    return seq, data


def checked_named(kind: str, rows: Sequence[Row]) -> dict[str, bytes]:
    """Of (name, value, crc): the identity and the marks."""
    found: dict[str, bytes] = {}
    for name, value, crc in rows:
        if not (type(name) is str and type(value) is bytes and named_crc(name, value) == crc):
            raise RowDamaged(f"{kind} {name!r}")
        found[name] = value
    return found


def checked_marks(rows: Sequence[Row]) -> dict[str, bytes]:
    marks = checked_named("mark", rows)
    if marks.pop(DIGEST_NAME, None) != digest(marks):
        raise RowDamaged("the set of marks (one is missing, or of another time)")
    return marks


def digest(marks: Mapping[str, bytes]) -> bytes:
    whole = hashlib.sha256()
    for name, value in sorted(marks.items()):
        whole.update(struct.pack("<II", len(name.encode()), len(value)) + name.encode() + value)
    return whole.digest()


def state_row(state: RaftState, turn: int) -> Row:
    """For SET_STATE."""
    return state.term, state.voted_for, state.last_index, state.last_term, turn, _state_crc(state, turn)


def named_row(name: str, value: bytes) -> tuple[str, bytes, int]:
    return name, value, named_crc(name, value)


def mark_rows(marks: Mapping[str, bytes], changed: Mapping[str, bytes]) -> list[tuple[str, bytes, int]]:
    """What has to be written when these of all marks changed."""
    return [named_row(name, value) for name, value in (*changed.items(), (DIGEST_NAME, digest(marks)))]


def _numbers(*values: object) -> bool:
    return all(type(value) is int for value in values)
