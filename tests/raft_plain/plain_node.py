"""One process of the library as it is shipped: its journal and its dumps on real files, ticked by hand.

The state is the list of what was put. Everything a user of the library can see is read by its public names; the log,
which it does not show, is read by its private one, here and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plain_library as library

Message = dict[str, Any]
Send = Callable[[str, Message], None]


@dataclass(frozen=True, slots=True)
class PlainSettings:
    """What a test varies; everything else is the library's default."""

    journal: bool = True
    dump: bool = True
    batch_bytes: int = 2**16
    dump_batch_bytes: int = 2**16
    fork: bool = False
    membership: bool = False
    min_timeout_s: float = 0.4
    max_timeout_s: float = 1.4
    append_s: float = 0.1
    compaction_entries: int = 5_000
    fallback_s: float = 30.0


class PlainFiles:
    """The files of one witness: what is there, and what a power loss would leave."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = directory / "journal"
        self.meta = directory / "journal.meta"
        self.dump = directory / "dump"
        self._written = directory / "written-back"
        directory.mkdir(parents=True, exist_ok=True)
        self.write_back()

    def write_back(self, *files: Path) -> None:
        """The kernel writes the pages of these files (all of them by default) to the disk by itself."""
        self._written.mkdir(exist_ok=True)
        for file in files or (self.journal, self.meta, self.dump):
            kept = self._written / file.name
            kept.unlink(missing_ok=True)
            if file.exists():
                shutil.copyfile(file, kept)

    def power_cut(self, loses: Callable[[], bool] = lambda: True) -> None:
        """What the kernel did not write by itself is gone: the library syncs nothing (D-6). Asks for each file."""
        for file in (self.journal, self.meta, self.dump):
            if not loses():
                continue
            kept = self._written / file.name
            file.unlink(missing_ok=True)
            if kept.exists():
                shutil.copyfile(kept, file)

    def wipe(self) -> None:
        shutil.rmtree(self.directory)
        self.directory.mkdir()


class State(library.syncobj.SyncObj):
    """What a user of the library writes: a class with a replicated method."""

    def __init__(self, *arguments: Any, on_put: Callable[[bytes], None] | None, **named: Any) -> None:
        self._on_put = on_put  # set before the library's part, so it stays out of dumps (D-24)
        super().__init__(*arguments, **named)
        self.data: list[bytes] = []

    @library.syncobj.replicated
    def put(self, data: bytes) -> int:
        self.data.append(data)
        if self._on_put is not None:
            self._on_put(data)
        return len(self.data)


class _Outlet(library.transport.Transport):
    def __init__(self, send: Send) -> None:
        super().__init__(None, None, [])
        self._send = send

    def send(self, node: Any, message: Message) -> bool:
        self._send(node.id, dict(message))
        return True


class PlainNode:
    def __init__(
        self,
        name: str,
        peers: Iterable[str],
        files: PlainFiles,
        send: Send,
        settings: PlainSettings,
        clock: library.PlainClock,
        rng: Any,
        on_put: Callable[[bytes], None] | None = None,
        state: Any = State,
        peer: Any = library.Peer,
    ) -> None:
        self.name = name
        self.files = files
        self.acknowledged: list[bytes] = []
        self.failed: list[bytes] = []
        self.errors: list[Exception] = []
        self._clock = clock
        self._rng = rng
        self._nodes = {other: peer(other) for other in peers}
        self._outlet = _Outlet(send)
        self._begin()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the library leaves the file of term and vote open
            self.engine = state(
                peer(name),
                list(self._nodes.values()),
                conf=_configuration(settings, files),
                transport=self._outlet,
                on_put=on_put,
            )

    def _begin(self) -> None:
        library.ambient.clock = self._clock
        library.ambient.rng = self._rng

    # -- what drives it --------------------------------------------------------------------------------------

    def link_up(self, peer: str) -> None:
        self._outlet._onNodeConnected(self._nodes[peer])

    def link_down(self, peer: str) -> None:
        self._outlet._onNodeDisconnected(self._nodes[peer])

    def reader_connects(self) -> None:
        """A connection that introduced itself as "readonly"."""
        self._outlet._onReadonlyNodeConnected(library.Peer("0"))

    def receive(self, peer: str, message: Message) -> None:
        """As the library's poller does; its tick thread logs what is raised and goes on."""
        self._begin()
        try:
            self._outlet._onMessageReceived(self._nodes[peer], message)
        except Exception as error:  # noqa: BLE001  # as the library does
            self.errors.append(error)

    def deliver(self, peer: str, message: Message) -> None:
        """In the middle of a turn, at its end: where the library polls."""
        self._outlet._onMessageReceived(self._nodes[peer], message)

    def turn(self) -> None:
        self._begin()
        try:
            self.engine.doTick(0)
        except Exception as error:  # noqa: BLE001  # as the library does
            self.errors.append(error)

    def propose(self, data: bytes) -> None:
        def told(_result: object, reason: int) -> None:
            (self.acknowledged if reason == library.SUCCESS else self.failed).append(data)

        self._begin()
        self.engine.put(data, callback=told)

    def compact(self) -> None:
        self.engine.forceLogCompaction()

    def await_dump(self) -> None:
        """Until the child that writes a dump has ended, in real time."""
        child = self.dump_child
        if child > 0:
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)

    @property
    def dump_child(self) -> int:
        return self.engine._SyncObj__serializer._Serializer__pid

    def close(self) -> None:
        """Lets its files go; nothing is written by it that was not there."""
        with contextlib.suppress(ValueError):  # closed by a write that failed
            self.engine._SyncObj__raftLog._destroy()
        serializer = self.engine._SyncObj__serializer
        for transmission in serializer._Serializer__transmissions.values():
            if "file" in transmission:
                transmission["file"].close()
        incoming = serializer._Serializer__incomingTransmissionFile
        if hasattr(incoming, "close"):
            incoming.close()

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def data(self) -> list[bytes]:
        return self.engine.data

    @property
    def leads(self) -> bool:
        return bool(self.engine._isLeader())

    @property
    def leader(self) -> str | None:
        node = self.engine._getLeader()
        return None if node is None else node.id

    @property
    def term(self) -> int:
        return self.engine.raftCurrentTerm

    @property
    def commit_index(self) -> int:
        return self.engine.raftCommitIndex

    @property
    def applied_index(self) -> int:
        return self.engine.raftLastApplied

    @property
    def log_end(self) -> tuple[int, int]:
        journal = self.engine._SyncObj__raftLog
        return (journal[-1][1], journal[-1][2]) if len(journal) else (0, 0)  # it can empty its log (D-56)

    def term_at(self, index: int) -> int:
        journal = self.engine._SyncObj__raftLog
        return journal[index - journal[0][1]][2]

    @property
    def log(self) -> list[tuple[int, int]]:
        """Index and term of each entry."""
        journal = self.engine._SyncObj__raftLog
        return [(entry[1], entry[2]) for entry in journal[:]]


def _configuration(settings: PlainSettings, files: PlainFiles) -> Any:
    return library.config.SyncObjConf(
        autoTick=False,
        journalFile=str(files.journal) if settings.journal else None,
        fullDumpFile=str(files.dump) if settings.dump else None,
        appendEntriesBatchSizeBytes=settings.batch_bytes,
        logCompactionBatchSize=settings.dump_batch_bytes,
        logCompactionMinEntries=settings.compaction_entries,
        useFork=settings.fork,
        dynamicMembershipChange=settings.membership,
        raftMinTimeout=settings.min_timeout_s,
        raftMaxTimeout=settings.max_timeout_s,
        appendEntriesPeriod=settings.append_s,
        leaderFallbackTimeout=settings.fallback_s,
    )
