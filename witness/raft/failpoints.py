"""Named moments at which a witness can be made to die, to stop or to see its disk fail: for tests of real processes.

    THIRDSITE_FAILPOINT="journal-commit-before:3:kill"       name : how often it is passed : action

Rule: they cost nothing when they are off. Nothing here is called by the code that it watches: a failpoint replaces
one method of a class while it is armed, and with the variable unset this module is not even loaded. Its table names
the moments on both sides of everything that must be on disk before something else may happen.

Actions: `kill` (SIGKILL of this process: the default), `stop` (SIGSTOP), `eio` and `enospc` (the call fails as a disk
does). Rejected: `if failpoint(...)` in the code (a branch on every path, and a test's words in it), patching by a
debugger (real processes under load must reach the moment at their own speed).
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from proto.errors import BadValue
from witness.raft.engine_adapter import Engine
from witness.raft.journal import Journal
from witness.raft.node import RaftNode
from witness.raft.peer_link import PeerLink
from witness.raft.port import Role
from witness.raft.posix_disk import PosixDatabase, PosixDisk, PosixNote
from witness.raft.store import Store
from witness.raft.syncobj import PySyncObjConsensus

VARIABLE: Final = "THIRDSITE_FAILPOINT"
COUNT_MAX: Final = 1_000_000

Act = Callable[[], None]
Call = Callable[..., Any]
When = Callable[..., bool]
Wrap = Callable[[Call, Act], Call]


@dataclass(frozen=True, slots=True)
class Point:
    words: str
    owner: Any
    """The class (or module) whose attribute is replaced while the point is armed."""
    attribute: str
    wrap: Wrap


# -- ways to stand beside a call ---------------------------------------------------------------------------------


def _always(*_args: Any) -> bool:
    return True


def _before(when: When = _always) -> Wrap:
    def wrap(original: Call, act: Act) -> Call:
        def replaced(*args: Any, **named: Any) -> Any:
            if when(*args):
                act()
            return original(*args, **named)

        return replaced

    return wrap


def _after(when: When = _always) -> Wrap:
    def wrap(original: Call, act: Act) -> Call:
        def replaced(*args: Any, **named: Any) -> Any:
            reached = when(*args)
            result = original(*args, **named)
            if reached:
                act()
            return result

        return replaced

    return wrap


def _both(name: str, words: str, owner: Any, attribute: str, when: When = _always) -> dict[str, Point]:
    return {
        f"{name}-before": Point(f"before {words}", owner, attribute, _before(when)),
        f"{name}-after": Point(f"after {words}", owner, attribute, _after(when)),
    }


# -- which calls are meant ---------------------------------------------------------------------------------------


def _statement(start: str) -> When:
    def meant(_database: Any, statement: str, *_args: Any) -> bool:
        return statement.startswith(start)

    return meant


def _renames_snapshot(_source: Any, target: Any, *_args: Any) -> bool:
    return str(target).endswith("snapshot.bin")


def _syncs(end: str) -> When:
    def meant(fd: int, *_args: Any) -> bool:
        path = f"/proc/self/fd/{fd}"
        with contextlib.suppress(OSError):
            target = os.readlink(path)  # noqa: PTH115  # a name in /proc, not a path of ours
            return target.endswith(end) if end else os.path.isdir(target)  # noqa: PTH112  # the same
        return False

    return meant


def _installs(*_args: Any) -> bool:
    """Called by RaftNode.install, and not for a snapshot of our own: frames here, when, wrapper, its caller."""
    return sys._getframe(2).f_code.co_name == "install"  # noqa: SLF001  # no public way, and only while armed


def _new_term(journal: Journal, *_args: Any) -> bool:
    return not journal.term_is_durable


def _writes(_consensus: Any, outbox: Mapping[Any, Any], *_args: Any) -> bool:
    return any(outbox.values())


def _leads(node: RaftNode, *_args: Any) -> bool:
    return node.status().role is Role.LEADER


# -- moments inside of a call ------------------------------------------------------------------------------------


def _between_peers(original: Call, act: Act) -> Call:
    """The first of two peers has the turn's messages, the second one does not."""

    def replaced(consensus: PySyncObjConsensus, outbox: Mapping[Any, Any]) -> None:
        peers = [peer for peer in outbox if outbox[peer]]
        if len(peers) < 2:
            original(consensus, outbox)
            return
        original(consensus, {peers[0]: outbox[peers[0]]})
        act()
        original(consensus, {peer: outbox[peer] for peer in peers[1:]})

    return replaced


def _frame_half(original: Call, act: Act) -> Call:
    """Half of the bytes are on their way."""

    def replaced(link: PeerLink, data: bytes) -> None:
        half = len(data) // 2
        original(link, data[:half])
        act()
        original(link, data[half:])

    return replaced


def _snapshot_half(original: Call, act: Act) -> Call:
    def replaced(disk: PosixDisk, name: str, data: bytes) -> None:
        (disk.directory / f"{name}.tmp").write_bytes(data[: len(data) // 2])
        act()
        original(disk, name, data)

    return replaced


def _many(start: str) -> tuple[Any, str, When]:
    return PosixDatabase, "many", _statement(start)


def _one(start: str) -> tuple[Any, str, When]:
    return PosixDatabase, "execute", _statement(start)


POINTS: Final[Mapping[str, Point]] = {
    **_both("journal-begin", "a turn's transaction begins", *_one("BEGIN")),
    **_both("journal-truncate", "entries in conflict are deleted", *_one("DELETE FROM entries WHERE idx >=")),
    **_both("journal-entries", "entries are written", *_many("INSERT OR REPLACE INTO entries")),
    **_both("journal-trim", "entries below the snapshot are deleted", *_one("DELETE FROM entries WHERE idx <")),
    **_both("journal-state", "term, vote and the log's end are written", *_one("INSERT OR REPLACE INTO raft_state")),
    **_both("journal-marks", "marks are written", *_many("INSERT OR REPLACE INTO meta")),
    **_both("journal-events", "events are written", *_many("INSERT INTO events")),
    **_both("journal-commit", "a turn's transaction is committed", *_one("COMMIT")),
    **_both("note", "the note of the last turn is written", PosixNote, "write"),
    **_both("checkpoint", "SQLite's log is copied into the database", *_one("PRAGMA wal_checkpoint(PASSIVE")),
    **_both("start-checkpoint", "the same, at the start", *_one("PRAGMA wal_checkpoint(TRUNCATE")),
    **_both("vote", "a new term or vote is on disk", Journal, "commit", _new_term),
    **_both("image", "the state is written into an image", RaftNode, "image"),
    **_both("snapshot", "the snapshot file is replaced", PosixDisk, "replace"),
    "snapshot-half": Point("half of the new snapshot is written", PosixDisk, "replace", _snapshot_half),
    **_both("snapshot-sync", "the new snapshot is synced", os, "fsync", _syncs("snapshot.bin.tmp")),
    **_both("snapshot-rename", "the new snapshot takes its name", os, "rename", _renames_snapshot),
    **_both("directory-sync", "the directory is synced", os, "fsync", _syncs("")),
    **_both("log-trim", "the log lets go what the snapshot covers", Journal, "deleteEntriesTo"),
    **_both("install", "a leader's snapshot is installed", RaftNode, "install"),
    "install-restored": Point("restored, not yet in a file", Store, "save_snapshot", _before(_installs)),
    "install-written": Point("in its file, not yet adopted", Store, "save_snapshot", _after(_installs)),
    **_both("adopt", "the log is set to a snapshot's end", Engine, "_adopt"),
    **_both("early-send", "the leader's appends leave before its own sync", RaftNode, "_send_early", _leads),
    **_both("turn-sent", "a turn's messages leave", PySyncObjConsensus, "_send", _writes),
    "between-peers": Point("one peer has the turn's messages", PySyncObjConsensus, "_send", _between_peers),
    "frame-half": Point("half of a frame has left", PeerLink, "_write", _frame_half),
    **_both("effects", "the owner's effects go", RaftNode, "finish"),
    **_both("admitted", "a peer's disk is judged and marked", PySyncObjConsensus, "admit"),
}


# -- arming ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    name: str
    count: int
    action: str


def read_order(text: str) -> Order:
    """`name`, `name:count` or `name:count:action`; BadValue says what is wrong and what there is."""
    name, _, rest = text.partition(":")
    count, _, action = rest.partition(":")
    if name not in POINTS:
        raise BadValue(VARIABLE, text, f"no failpoint is named {name!r}", f"choose one of {', '.join(POINTS)}")
    if count and not (count.isascii() and count.isdecimal() and 1 <= int(count) <= COUNT_MAX):
        raise BadValue(VARIABLE, text, f"the count must be 1 to {COUNT_MAX}", "write name:count, such as vote-after:1")
    if action and action not in ACTIONS:
        raise BadValue(VARIABLE, text, f"no action is named {action!r}", f"choose one of {', '.join(ACTIONS)}")
    return Order(name, int(count or 1), action or "kill")


def install(order: Order, act: Act | None = None) -> Callable[[], None]:
    """Arms one point in this process; the result takes it off again. `act` stands in for the order's own action."""
    point, left, own = POINTS[order.name], [order.count], act or ACTIONS[order.action]
    original = vars(point.owner)[point.attribute]

    def passed() -> None:
        left[0] -= 1
        if left[0] == 0:
            own()

    setattr(point.owner, point.attribute, point.wrap(original, passed))
    _armed.append(order.name)

    def remove() -> None:
        if order.name in _armed:
            _armed.remove(order.name)
            setattr(point.owner, point.attribute, original)

    return remove


def armed() -> Iterator[str]:
    """The points that are armed now."""
    return iter(tuple(_armed))


_armed: list[str] = []


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _fail(number: int) -> Act:
    def act() -> NoReturn:
        raise OSError(number, f"{os.strerror(number)} (a failpoint)")

    return act


ACTIONS: Final[Mapping[str, Act]] = {
    "kill": _kill,
    "stop": _stop,
    "eio": _fail(errno.EIO),
    "enospc": _fail(errno.ENOSPC),
}
