"""The marks of all peers' disks, as this process has them, and what this one says of its own.

Rule: what a peer's disk was seen to have reached counts here at once, and is durable when it is admitted, when its
connection ends, and once a second in between, with whatever the turn writes anyway. Marks are no part of what is seen
of a disk: the marks of marks would keep idle witnesses writing for ever.
A process says nothing to a peer before its start is recorded on its disk (witness.raft.admission needs that), and
records none while nobody listens, so that restarts in a loop do not push the others out of memory.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final, Protocol

import msgpack

from proto.errors import RemoteFault
from proto.units import NS_PER_MS, WitnessId
from witness.raft.admission import (
    MARK_PREFIX,
    PAST_MAX,
    Admitted,
    DiskForgot,
    Mark,
    Position,
    Refused,
    Speaker,
    decode_mark,
    encode_mark,
    fell,
    highest,
    newer,
    words,
)
from witness.raft.messages import NUMBER_MAX
from witness.raft.store_rows import StateRow, StoreRefused
from witness.raft.vouching import judge_admitted, judge_introduced, judge_vouch, settle

KEEP_EVERY_NS: Final = 1_000 * NS_PER_MS
STARTS_MARK: Final = "starts"
STARTS_VERSION: Final = 1


class Marks(Protocol):
    """What is needed of the store."""

    def get_meta(self, name: str) -> bytes | None: ...
    def put_meta(self, name: str, value: bytes) -> None: ...


class PeerDisks:
    """What is put into the store is durable with the turn that follows."""

    def __init__(self, store: Marks) -> None:
        self._store = store
        self._marks: dict[WitnessId, Mark | None] = {}
        self._kept: dict[WitnessId, Mark | None] = {}
        self._said: dict[WitnessId, Position] = {}
        """By each peer on the connection that counts: places of one connection are in order, those of two are not."""
        self._kept_ns: int | None = None

    def mark(self, peer: WitnessId) -> Mark | None:
        if peer not in self._marks:
            data = self._store.get_meta(MARK_PREFIX + peer)  # empty when a mark was given back
            self._marks[peer] = self._kept[peer] = decode_mark(peer, data) if data else None
        return self._marks[peer]

    def judge(self, speaker: Speaker, connected: Collection[bytes] = ()) -> None:
        """An introduction. `connected`: the disks of those that are asked next. Raises RemoteFault to refuse it."""
        _mark_of(judge_introduced(self.mark(speaker.peer), speaker, connected))

    def vouch(self, speaker: Speaker, asker: bytes, *, counts: bool, here: bool) -> bool:
        """An introduction to the witness on the disk `asker` is known here from now on. Raises RemoteFault when we
        know better. True when it is to be synced before the answer leaves. `here`: that process is connected here too.
        """
        if counts:
            self.settle(speaker, asker)
        self._marks[speaker.peer] = _mark_of(judge_vouch(self.mark(speaker.peer), speaker, asker, here=here))
        return self.keep(speaker.peer)

    def settle(self, speaker: Speaker, asker: bytes) -> None:
        """The witness on the disk `asker` asked about that introduction, or answered and did not object."""
        self._marks[speaker.peer] = settle(self.mark(speaker.peer), speaker, asker)
        self.keep(speaker.peer)

    def learn(self, peer: WitnessId, theirs: Mark) -> None:
        """What another witness knows of a peer."""
        self._marks[peer] = newer(self.mark(peer), theirs)
        self.keep(peer)

    def admit(self, speaker: Speaker) -> None:
        """Before the peer's connection counts; its introduction was judged before. Raises RemoteFault and changes
        nothing when it may not.
        """
        self._marks[speaker.peer] = _mark_of(judge_admitted(self.mark(speaker.peer), speaker))
        self._said[speaker.peer] = speaker.position
        self.keep(speaker.peer)

    def seen(self, peer: WitnessId, now: Position) -> None:
        """What an admitted peer says on its connection. Raises RemoteFault when its disk went back meanwhile."""
        mark, said = self.mark(peer), self._said.get(peer)
        if mark is None or said is None:
            raise RemoteFault(f"{peer} was never admitted")
        if fell(said, now):
            raise RemoteFault(
                f"{peer}'s disk went back in time while it was connected, from {words(said)} to {words(now)}; "
                f"run `witness readmit -c FILE` on its machine and start it again"
            )
        self._said[peer] = now
        if now != mark.position:
            position = highest(mark.position, now)
            self._marks[peer] = replace(mark, position=position)

    def keep(self, peer: WitnessId) -> bool:
        """Hands the mark to the store; True when there is something for a turn to sync."""
        mark = self.mark(peer)
        if mark == self._kept.get(peer):
            return False
        self._kept[peer] = mark
        self._store.put_meta(MARK_PREFIX + peer, b"" if mark is None else encode_mark(mark))
        return True

    def keep_due(self, now_ns: int) -> None:
        """In every turn: what changed, once a second."""
        if self._kept_ns is not None and now_ns - self._kept_ns < KEEP_EVERY_NS:
            return
        self._kept_ns = now_ns
        for peer in self._marks:
            self.keep(peer)


def _mark_of(verdict: Admitted | Refused) -> Mark:
    if isinstance(verdict, Refused):
        raise DiskForgot(verdict.words) if verdict.forgot else RemoteFault(verdict.words)
    return verdict.mark


# -- our own disk -------------------------------------------------------------------------------------------


class Durable(Protocol):
    """What is needed of the store here."""

    @property
    def durable(self) -> StateRow: ...


def position_of(store: Durable) -> Position:
    """Where our disk is, as of its last commit: what is told to others is never less than what they may rest on.

    Counted are transactions of Raft alone. A disk that is behind goes on writing marks of its own while it is refused
    (its starts, what it sees of its peers); counted, they would let it catch up by knocking, without what it forgot.
    """
    row = store.durable
    return Position(row.raft_turn, row.state.term, row.state.last_term, row.state.last_index)


def starts_of(store: Marks) -> tuple[int, tuple[bytes, ...]]:
    """How many starts the disk has seen, and the latest processes, the newest first."""
    data = store.get_meta(STARTS_MARK)
    if data is None:
        return 0, ()
    try:
        value: Any = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException):
        value = None
    if not isinstance(value, list) or len(value) != 3 or value[0] != STARTS_VERSION:
        raise StoreRefused("the record of starts has another format: run the version that wrote it")
    _, count, processes = value
    return count, tuple(processes)


def record_start(store: Marks, process: bytes) -> tuple[int, tuple[bytes, ...]]:
    """This process on the disk, with the next commit; the count with it, and the processes before it."""
    count, past = starts_of(store)
    count = min(count + 1, NUMBER_MAX)
    store.put_meta(STARTS_MARK, msgpack.packb([STARTS_VERSION, count, [process, *past][: PAST_MAX + 1]]))
    return count, past[:PAST_MAX]
