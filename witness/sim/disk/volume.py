"""What a simulated directory holds: for each file and each name, what is seen now and what outlives a power loss.

Rule: nothing lasts before it was synced, files and names apart (D5, D11). A file keeps its synced content and every
write since; the directory keeps its synced names and every change since. At a power loss each sector takes a prefix
of the writes that touched it, as a page cache would have written it back at some instant, or a torn one; each change
of a name lasts or not. Bytes beside a write are never touched by it, which is what SQLite assumes of a real disk too
(SQLITE_IOCAP_POWERSAFE_OVERWRITE). Pure: the caller hands in the generator.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from enum import Enum
from typing import Final

SECTOR_BYTES: Final = 512

Write = tuple[int, bytes | None]
"""Offset and data; without data, the file was cut or stretched to that size."""


class Survival(Enum):
    """What becomes of a file's unsynced writes at one power loss. Drawn per file: extremes are as likely as a mix."""

    NOTHING = "nothing"
    EVERYTHING = "everything"
    IN_ORDER = "in order"
    """All writes up to one, which is torn."""
    SECTORS = "sectors"
    """Each sector as of an instant of its own."""


_SURVIVALS: Final = tuple(Survival)


class SimFile:
    """One file; it lives on without a name as long as someone has it open."""

    __slots__ = ("durable", "unsynced", "view")

    def __init__(self, durable: bytes | bytearray = b"") -> None:
        self.view = bytearray(durable)
        self.durable = bytearray(durable)
        self.unsynced: list[Write] = []

    def write(self, data: bytes, offset: int) -> None:
        _put(self.view, data, offset)
        self.unsynced.append((offset, data))

    def resize(self, size: int) -> None:
        _resize(self.view, size)
        self.unsynced.append((size, None))

    def sync(self) -> None:
        durable = self.durable
        for offset, data in self.unsynced:
            if data is None:
                _resize(durable, offset)
            else:
                _put(durable, data, offset)
        self.unsynced.clear()

    def would_lose(self) -> bool:
        """Something written is at stake; that the file was cut short takes nothing back that anybody needs."""
        for offset, data in reversed(self.unsynced):
            if data:
                return True
            if data is None and offset == 0:
                return False
        return False

    def lose_sync(self, *, forget: bool) -> None:
        """A failed sync: the writes count as done and never reach the disk. The cache keeps them, or forgets them."""
        self.unsynced.clear()
        if forget:
            self.view[:] = self.durable

    def flip(self, at: int, bit: int) -> None:
        """Rot of what was synced: the cache holds it no longer."""
        for content in (self.view, self.durable):
            if at < len(content):
                content[at] ^= 1 << bit

    def copy(self) -> SimFile:
        twin = SimFile()
        twin.view, twin.durable, twin.unsynced = bytearray(self.view), bytearray(self.durable), list(self.unsynced)
        return twin

    def after_power_loss(self, rng: random.Random, hits: Counter[str]) -> SimFile:
        how = rng.choice(_SURVIVALS) if self.unsynced else Survival.NOTHING
        content = SimFile(self.durable)
        if how is Survival.EVERYTHING:
            content.unsynced = self.unsynced
            content.sync()
            return SimFile(content.durable)
        if how is Survival.IN_ORDER:
            _survive_in_order(content.durable, self.unsynced, rng, hits)
        elif how is Survival.SECTORS:
            _survive_by_sector(content.durable, self.unsynced, rng, hits)
        elif self.unsynced:
            hits["lost writes"] += len(self.unsynced)
        return SimFile(content.durable)


class Volume:
    """The files of one directory by name."""

    def __init__(self, names: dict[str, SimFile] | None = None) -> None:
        self.names: dict[str, SimFile] = names or {}
        self._durable: dict[str, SimFile] = dict(self.names)
        self._unsynced: list[dict[str, SimFile | None]] = []

    def change(self, names: dict[str, SimFile | None]) -> None:
        """Names that change together: they last all or none. None stands for a name that goes."""
        _rename(self.names, names)
        self._unsynced.append(names)

    def sync_names(self) -> None:
        if self._unsynced:
            self._durable = dict(self.names)
            self._unsynced.clear()

    def used_bytes(self) -> int:
        return sum(len(file.view) for file in self.names.values())

    def unsynced(self) -> list[str]:
        """Names of what was written or renamed, and not synced."""
        content = [name for name, file in self.names.items() if file.unsynced and file.would_lose()]
        return content + [name for change in self._unsynced for name in change]

    def copy(self) -> Volume:
        """After the end of the process alone: all that was written is still there, synced or not."""
        twins: dict[int, SimFile] = {}

        def twin(file: SimFile) -> SimFile:
            if id(file) not in twins:
                twins[id(file)] = file.copy()
            return twins[id(file)]

        new = Volume({name: twin(file) for name, file in self.names.items()})
        new._durable = {name: twin(file) for name, file in self._durable.items()}
        new._unsynced = [{name: file and twin(file) for name, file in change.items()} for change in self._unsynced]
        return new

    def after_power_loss(self, rng: random.Random, hits: Counter[str]) -> Volume:
        names = dict(self._durable)
        for change in self._unsynced:
            if rng.random() < 0.5:
                _rename(names, change)
            else:
                hits["lost name"] += 1
        return Volume({name: file.after_power_loss(rng, hits) for name, file in names.items()})


def _rename(names: dict[str, SimFile], change: dict[str, SimFile | None]) -> None:
    for name, file in change.items():
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


def _put(content: bytearray, data: bytes, offset: int) -> None:
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def _survive_in_order(content: bytearray, writes: list[Write], rng: random.Random, hits: Counter[str]) -> None:
    kept = rng.randrange(len(writes))
    for offset, data in writes[:kept]:
        if data is None:
            _resize(content, offset)
        else:
            _put(content, data, offset)
    offset, torn = writes[kept]
    hits["lost writes"] += len(writes) - kept
    if torn:
        hits["torn write"] += 1
        _put(content, torn[: rng.randrange(len(torn))], offset)


def _survive_by_sector(content: bytearray, writes: list[Write], rng: random.Random, hits: Counter[str]) -> None:
    """Of each sector's pieces, the first few. What follows a change of the size needs that change to last."""
    resizes = sum(data is None for _, data in writes)
    lasting = rng.randint(0, resizes)
    sectors: dict[int, list[tuple[int, bytes]]] = {}
    for offset, data in writes:
        if data is None:
            if not lasting:
                hits["lost writes"] += 1
                break
            lasting -= 1
            _flush(content, sectors, rng, hits)
            _resize(content, offset)
            continue
        for start, piece in _pieces(offset, data):
            sectors.setdefault(start // SECTOR_BYTES, []).append((start, piece))
    _flush(content, sectors, rng, hits)


def _flush(
    content: bytearray, sectors: dict[int, list[tuple[int, bytes]]], rng: random.Random, hits: Counter[str]
) -> None:
    for pieces in sectors.values():
        kept = rng.randint(0, len(pieces))
        for start, piece in pieces[:kept]:
            _put(content, piece, start)
        if kept == len(pieces):
            continue
        hits["lost writes"] += len(pieces) - kept
        if rng.random() < 0.25:
            hits["torn write"] += 1
            start, piece = pieces[kept]
            _put(content, piece[: rng.randrange(len(piece))], start)
    sectors.clear()


def _pieces(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    """A write, cut where sectors begin."""
    cuts = [0, *range(SECTOR_BYTES - offset % SECTOR_BYTES, len(data), SECTOR_BYTES), len(data)]
    return [(offset + start, data[start:end]) for start, end in itertools.pairwise(cuts) if end > start]
