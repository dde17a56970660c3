"""Tells a torn end of SQLite's write-ahead log from a damaged middle.

SQLite stops reading a WAL at the first frame whose checksum fails, silently: right for a torn last transaction,
which was never acknowledged; wrong when a bit rotted in the middle, because synced transactions behind it, a vote
among them, would vanish without a word (D6, I7). Rule: a transaction starts only after the one before it was synced,
so an intact frame *behind* the commit of the damaged transaction proves that it had been on disk: refuse.
Frames are chained; an intact frame behind a damaged one is known by the checksum that its predecessor stores.
Damage within the very last transaction looks like a torn one; the store's note of its turns tells them apart. A
damaged header is a torn one when SQLite was beginning the WAL anew, which it does once all of it is in the database:
so it is harmless exactly when the database has every page that the frames behind it hold. The store empties its WAL
at every start, so that no leftovers of earlier crashes can lie behind the end. Pure; format:
sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

_MAGIC: Final = 0x377F0682
_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_SUMMED_BYTES: Final = 8
_PAGE_BYTES_AT: Final = (16, 2)
"""In the database's header."""
_PAGE_BYTES_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class _Frame:
    follows: bool
    """Its checksum continues the one that its predecessor stores."""
    salted: bool
    commits: bool


def _nowhere(_offset: int, _size: int) -> bytes:
    return b""


def find_damage(wal: bytes, database: Callable[[int, int], bytes] = _nowhere) -> str | None:
    """What is damaged behind a doubt; None for an intact, empty or torn WAL. `database` reads (offset, size) of it."""
    if len(wal) < _HEADER.size or not any(wal[: _HEADER.size]):
        return None
    magic, _, page_bytes, _, *_salts, sum_1, sum_2 = _HEADER.unpack_from(wal)
    order = ">" if magic & 1 else "<"
    sane = magic & ~1 == _MAGIC and 512 <= page_bytes <= _PAGE_BYTES_MAX
    if not sane or _checksum(wal[:24], (0, 0), order) != (sum_1, sum_2):
        return None if _is_in_database(wal, database) else "the header of the write-ahead log"
    broken: int | None = None
    committed = False
    for number, frame in enumerate(_frames(wal, page_bytes, order), start=1):
        if broken is None:
            if frame.follows and frame.salted:
                continue
            broken = number
        elif committed and frame.follows and frame.salted:
            return f"frame {broken} of the write-ahead log"
        committed = committed or (frame.commits and frame.salted)
    return None


def _is_in_database(wal: bytes, database: Callable[[int, int], bytes]) -> bool:
    """Whether all that the frames committed, whatever the header says, is what the database holds anyway."""
    page_bytes = int.from_bytes(database(*_PAGE_BYTES_AT))
    page_bytes = 65_536 if page_bytes == 1 else page_bytes
    if page_bytes < 512:
        return False
    at, size = _HEADER.size, _FRAME.size + page_bytes
    round_salts = wal[at + 8 : at + 16]
    committed: dict[int, int] = {}
    begun: dict[int, int] = {}
    while at + size <= len(wal) and wal[at + 8 : at + 16] == round_salts:
        page, database_pages = _FRAME.unpack_from(wal, at)[:2]
        begun[page] = at + _FRAME.size
        if database_pages:
            committed |= begun
            begun = {}
        at += size
    return all(
        database((page - 1) * page_bytes, page_bytes) == wal[start : start + page_bytes]
        for page, start in committed.items()
    )


def _frames(wal: bytes, page_bytes: int, order: str) -> Iterator[_Frame]:
    salts, before = _HEADER.unpack_from(wal)[4:6], _HEADER.unpack_from(wal)[6:8]
    at, size, whole = _HEADER.size, _FRAME.size + page_bytes, memoryview(wal)
    while at + size <= len(wal):
        _, database_pages, salt_1, salt_2, sum_1, sum_2 = _FRAME.unpack_from(wal, at)
        salted = (salt_1, salt_2) == salts
        follows = False
        if salted:  # others are of an earlier round of the log, whose transactions are in the database
            after_head = _checksum(whole[at : at + _SUMMED_BYTES], before, order)
            follows = _checksum(whole[at + _FRAME.size : at + size], after_head, order) == (sum_1, sum_2)
        yield _Frame(follows, salted, database_pages != 0)
        before = (sum_1, sum_2)
        at += size


def _checksum(data: bytes | memoryview, seed: tuple[int, int], order: str) -> tuple[int, int]:
    """SQLite's: two sums that feed each other, modulo 2**32, eight bytes a step; four steps are written out at once."""
    one, two = seed
    fours = len(data) - len(data) % 32
    for a, b, c, d, e, f, g, h in struct.iter_unpack(f"{order}8I", data[:fours]):
        one += a + two
        two += b + one
        one += c + two
        two += d + one
        one += e + two
        two += f + one
        one = (one + g + two) & 0xFFFFFFFF
        two = (two + h + one) & 0xFFFFFFFF
    for a, b in struct.iter_unpack(f"{order}2I", data[fours:]):
        one = (one + a + two) & 0xFFFFFFFF
        two = (two + b + one) & 0xFFFFFFFF
    return one, two
