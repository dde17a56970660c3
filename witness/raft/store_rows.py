"""The rows of a witness's store: its tables, and for each kind of row the proof that it is what was written.

Rule: SQLite returns whatever the bytes say, of any type; nothing of it is believed before its CRC fits (I7). A CRC
covers a row's key too, so that a row under another's key is damage. Rows that are of another time, or gone, are
noticed by the state: it repeats the place of the last entry with the chain of all before it, the digest of all marks,
and how far the events reached. So pages of different times never pass for one store (D7). Events may be missing from
the front or in the middle (a witness installed from a snapshot has none before it); their own chain of hashes is
checked where they are used. Pure.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from proto.errors import LocalFault
from witness.raft.disk import Row

FORMAT: Final = 3
INCARNATION_BYTES: Final = 16
META_KEY_CHARS_MAX: Final = 100
MARKS_MAX: Final = 1_000
TABLES: Final = (
    "identity (name TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    """raft_state (one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER NOT NULL, voted_for TEXT,
       last_index INTEGER NOT NULL, last_term INTEGER NOT NULL, turn INTEGER NOT NULL, raft_turn INTEGER NOT NULL,
       chain INTEGER NOT NULL, marks BLOB NOT NULL, last_event INTEGER NOT NULL, crc INTEGER NOT NULL)""",
    """entries (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, command BLOB NOT NULL, crc INTEGER NOT NULL,
       chain INTEGER NOT NULL)""",
    "events (seq INTEGER PRIMARY KEY, data BLOB NOT NULL, crc INTEGER NOT NULL)",
    "meta (name TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
)
GET_STATE: Final = """SELECT term, voted_for, last_index, last_term, turn, raft_turn, chain, marks, last_event, crc
FROM raft_state"""
SET_STATE: Final = "INSERT OR REPLACE INTO raft_state VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
GET_ENTRIES: Final = "SELECT idx, term, command, crc, chain FROM entries ORDER BY idx"
SET_ENTRY: Final = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)"
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
_NUMBERS: Final = struct.Struct("<7q")


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


class StateRow(NamedTuple):
    """The state with what it says about the other tables. A tuple: one is made in every turn."""

    state: RaftState
    turn: int
    """Transactions of this store, whatever they wrote."""
    raft_turn: int
    """Those of them that changed term, vote or log: what other witnesses may rest on."""
    chain: int
    marks: bytes
    last_event: int


def entry_row(command: bytes, index: int, term: int, chain_before: int) -> tuple[int, int, bytes, int, int]:
    """For SET_ENTRY. The chain runs over all entries since the log began or was replaced."""
    crc = _entry_crc(command, index, term)
    return index, term, command, crc, _chain(chain_before, crc)


def _chain(before: int, crc: int) -> int:
    return zlib.crc32(crc.to_bytes(4), before)


def _entry_crc(command: bytes, index: int, term: int) -> int:
    return zlib.crc32(command, zlib.crc32(_PLACE.pack(index, term)))


def _state_crc(numbers: tuple[int, ...], voted_for: str | None, marks: bytes) -> int:
    vote = b"\0" if voted_for is None else voted_for.encode(errors="surrogatepass")
    return zlib.crc32(vote, zlib.crc32(marks, zlib.crc32(_NUMBERS.pack(*numbers))))


def named_crc(name: str, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(name.encode(errors="surrogatepass")))


def event_crc(seq: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(_PLACE.pack(seq, 0)))


def checked_log(rows: Sequence[Row], state: StateRow) -> list[Entry]:
    """Unbroken indexes, terms that do not fall, the unbroken chain, and the recorded end."""
    entries: list[Entry] = []
    index_before = term_before = chain_before = 0
    for index, term, command, crc, chain in rows:
        sound = _numbers(index, term, chain) and type(command) is bytes
        if not sound or _entry_crc(command, index, term) != crc:
            raise RowDamaged(f"log entry {index!r}")
        joins = index == index_before + 1 and term >= term_before and chain == _chain(chain_before, crc)
        if entries and not joins:
            raise RowDamaged(f"the log between entries {index_before} and {index}")
        entries.append((command, index, term))
        index_before, term_before, chain_before = index, term, chain
    end = state.state
    if (index_before, term_before, chain_before) != (end.last_index, end.last_term, state.chain):
        raise RowDamaged(f"the end of the log (ends at {index_before}, recorded {end.last_index})")
    return entries


def checked_state(rows: Sequence[Row]) -> StateRow:
    """What GET_STATE gives."""
    if len(rows) != 1:
        raise RowDamaged("the record of term and vote")
    term, voted_for, last_index, last_term, turn, raft_turn, chain, marks, last_event, crc = rows[0]
    numbers = (term, last_index, last_term, turn, raft_turn, chain, last_event)
    fits = _numbers(*numbers) and type(marks) is bytes and type(voted_for) in {str, type(None)}
    if not fits or _state_crc(numbers, voted_for, marks) != crc:
        raise RowDamaged("the record of term and vote")
    return StateRow(RaftState(term, voted_for, last_index, last_term), turn, raft_turn, chain, marks, last_event)


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


def checked_marks(rows: Sequence[Row], state: StateRow) -> dict[str, bytes]:
    marks = checked_named("mark", rows)
    if digest(marks) != state.marks:
        raise RowDamaged("the set of marks (one is missing, or of another time)")
    return marks


def digest(marks: Mapping[str, bytes]) -> bytes:
    whole = hashlib.sha256()
    for name, value in sorted(marks.items()):
        whole.update(struct.pack("<II", len(name.encode()), len(value)) + name.encode() + value)
    return whole.digest()


def state_row(row: StateRow) -> Row:
    """For SET_STATE."""
    (state, turn, raft_turn, chain, marks, last_event) = row
    term, vote, last_index, last_term = state.term, state.voted_for, state.last_index, state.last_term
    crc = _state_crc((term, last_index, last_term, turn, raft_turn, chain, last_event), vote, marks)
    return term, vote, last_index, last_term, turn, raft_turn, chain, marks, last_event, crc


def named_row(name: str, value: bytes) -> tuple[str, bytes, int]:
    return name, value, named_crc(name, value)


def _numbers(*values: object) -> bool:
    return all(type(value) is int for value in values)
