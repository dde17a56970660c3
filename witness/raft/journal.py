"""The engine's log: a list in memory whose changes reach the disk with the turn's transaction.

Rules, each the remedy of a finding about the library's own journal and its callers:
- nothing is truncated but on a proven conflict of terms, and never at or below the commit index (D-3);
- an entry that is already here is not added again, and must be the very same (D-3, D-32);
- a snapshot replaces the log only when the log does not contain the snapshot's last entry; else what follows it
  stays (D-2, D-10);
- the commit index is volatile: after a start only what a leader says, or a majority holds, is committed (D-5);
- slices are short, so that no message and no turn gets long.
"""

from __future__ import annotations

from typing import overload

from proto.invariants import require
from witness.raft.messages import COMMAND_KINDS, ENTRIES_PER_MESSAGE_MAX
from witness.raft.store import STAY_DOWN, Entry, RaftState, Store, StoreRefused

TAIL_BYTES_DEFAULT = 16 * 1024 * 1024


class Journal:
    """Method names are the library's (pysyncobj.journal.Journal); the engine adapter hands it over."""

    def __init__(self, store: Store, tail_entries: int, tail_bytes: int = TAIL_BYTES_DEFAULT) -> None:
        self._store = store
        self._tail_entries = tail_entries
        self._tail_bytes = tail_bytes
        self._entries: list[Entry] = store.read_entries()
        self._bytes = 0
        self._floor = 1
        self._stale_state = False
        for command, index, _ in self._entries:
            if not command or command[0] not in COMMAND_KINDS:
                raise StoreRefused(f"log entry {index} is of an unknown kind: run the version that wrote it")
            self._bytes += len(command)
        state = store.read_state()
        self._term, self._voted_for = state.term, state.voted_for
        self._durable_term = self._term
        if self._entries and self._entries[-1][2] > self._term:
            raise StoreRefused(f"the log is newer than the recorded term: {STAY_DOWN}")

    # -- what the engine calls -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, item: int) -> Entry: ...
    @overload
    def __getitem__(self, item: slice) -> list[Entry]: ...
    def __getitem__(self, item: int | slice) -> Entry | list[Entry]:
        if isinstance(item, int):
            return self._entries[item]
        start = item.start or 0
        stop = start + ENTRIES_PER_MESSAGE_MAX
        return self._entries[start : stop if item.stop is None else min(stop, item.stop)]

    def add(self, command: bytes, idx: int, term: int) -> None:
        if self._entries and idx <= self._entries[-1][1]:
            require(idx >= self._entries[0][1], f"entry {idx} lies below the log")
            have = self._entries[idx - self._entries[0][1]]
            if have[2] == term:
                require(have[0] == command, f"two entries {idx} of term {term} differ: Log Matching is broken")
                return
            require(idx > self._floor, f"committed entry {idx} would be replaced")
            self._truncate(idx)
        require(not self._entries or idx == self._entries[-1][1] + 1, f"entry {idx} would leave a hole")
        self._append(command, idx, term)

    def clear(self) -> None:
        require(condition=False, message="the log is replaced by `rebase` only")

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803  # the library's names
        """Nothing: `add` truncates when, and only when, a term differs."""

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: N802, N803  # the library's names
        """Called once the snapshot that covers them is on disk; a tail stays for followers that lag a little.

        The tail is bounded by bytes too: a log of large entries would else stay above its limit whatever is folded,
        and be folded again in every turn.
        """
        drop, tail_bytes = entryTo, 0
        while drop > max(0, entryTo - self._tail_entries):
            tail_bytes += len(self._entries[drop - 1][0])
            if tail_bytes > self._tail_bytes:
                break
            drop -= 1
        self._bytes -= sum(len(entry[0]) for entry in self._entries[:drop])
        del self._entries[:drop]
        self._store.trim_below(self._entries[0][1])

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803  # the library's names
        self._floor = max(self._floor, raftCommitIndex)

    def getRaftCommitIndex(self) -> int:  # noqa: N802  # the library's name
        return 1

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803  # the library's
        require(term >= self._term, f"the term would fall from {self._term} to {term}")
        require(
            term > self._term or self._voted_for is None or votedForNodeId == self._voted_for,
            f"a second vote in term {term}",
        )
        self._term, self._voted_for = term, votedForNodeId
        self._stale_state = True

    def getCurrentTerm(self) -> int:  # noqa: N802  # the library's name
        return self._term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802  # the library's name
        return self._voted_for

    def onOneSecondTimer(self) -> None:  # noqa: N802  # the library's name
        """Nothing is kept by the second."""

    def _destroy(self) -> None:
        """The store is closed by its owner."""

    # -- what the adapter and the node call ------------------------------------------------------------------

    @property
    def log_bytes(self) -> int:
        return self._bytes

    def bytes_above(self, index: int) -> int:
        """Of the entries after `index`, which are few as long as they are not committed."""
        if index >= self._entries[-1][1]:
            return 0
        first = self._entries[0][1]
        return sum(len(entry[0]) for entry in self._entries[max(0, index + 1 - first) :])

    def term_at(self, index: int) -> int | None:
        first = self._entries[0][1]
        return self._entries[index - first][2] if first <= index <= self._entries[-1][1] else None

    def command_at(self, index: int) -> bytes | None:
        first = self._entries[0][1]
        return self._entries[index - first][0] if first <= index <= self._entries[-1][1] else None

    def rebase(self, previous: Entry, last: Entry) -> None:
        """The snapshot ends with these two entries: keep the log when it contains the last one, else replace it."""
        require(previous[1] + 1 == last[1], "a snapshot's two entries must follow one another")
        if len(self._entries) >= 2 and self._entries[0][1] < last[1] and self.term_at(last[1]) == last[2]:
            return
        self._store.truncate_from(0)
        self._store.replaced_log(previous[1])
        self._entries, self._bytes = [], 0
        self._append(*previous)
        self._append(*last)
        self._floor = max(self._floor, last[1])

    @property
    def term_is_durable(self) -> bool:
        """The term, and our vote in it, are on disk."""
        return self._durable_term == self._term

    @property
    def dirty(self) -> bool:
        """This turn has something to sync."""
        return self._stale_state or self._store.dirty

    def commit(self) -> bool:
        """One transaction for the turn. True when something was written."""
        if self._stale_state:
            end = self._entries[-1]
            self._store.set_state(RaftState(self._term, self._voted_for, end[1], end[2]))
            self._stale_state = False
        wrote = self._store.commit()
        self._durable_term = self._term
        return wrote

    def _append(self, command: bytes, index: int, term: int) -> None:
        self._entries.append((command, index, term))
        self._store.add_entry(command, index, term)
        self._bytes += len(command)
        self._stale_state = True

    def _truncate(self, index: int) -> None:
        keep = index - self._entries[0][1]
        self._bytes -= sum(len(entry[0]) for entry in self._entries[keep:])
        del self._entries[keep:]
        self._store.truncate_from(index)
        self._stale_state = True
