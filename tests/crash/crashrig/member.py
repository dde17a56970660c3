"""One witness of the campaign, in a process of its own: lines of JSON over a socket, failpoints armed on order.

`["do", text, bytes]` is answered `{"done": text}` only when it is applied here and the turn is synced: an
acknowledgement, as the product's answers are. A failpoint that is reached says so before it acts, also in a file: what
was on its way over a socket may be lost with the process. A death without these words was not ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import uvloop
from crashrig.chain import Chain

from proto.clock import SystemClock
from proto.errors import LocalFault
from proto.units import ClusterId, WitnessId
from witness.raft import failpoints
from witness.raft.journal import Journal
from witness.raft.peer_transport import Plaintext
from witness.raft.port import ProposalRefused
from witness.raft.posix_disk import PosixDisk
from witness.raft.space import SpaceLimits
from witness.raft.store import create_store, open_store
from witness.raft.store_checks import STORE_NAME
from witness.raft.syncobj import PySyncObjConsensus
from witness.raft.timers import CompactionLimits, RaftTimers

CLUSTER = ClusterId("c4" * 16)
EXIT_FATAL = 70
EXIT_REFUSED = 78
LATE_TURNS = 40


class ShortLog(PosixDisk):
    """SQLite's log is copied into the database all the time."""

    wal_pages = 60


class Member:
    def __init__(self, config: dict[str, Any], sock: socket.socket) -> None:
        self._sock = sock
        self._words = config["words"]
        self._writer: asyncio.StreamWriter | None = None
        self._remove: list[Any] = []
        if config.get("arm"):
            self._arm(*config["arm"])
        if config["broken"]:
            _write_late()
        me = WitnessId(config["self"])
        disk = ShortLog(Path(config["directory"]))
        if config["space"] is not None and not disk.exists(STORE_NAME):
            create_store(disk, CLUSTER, me)  # the small disk is seen from here only
        store = open_store(disk, CLUSTER, me, None if config["space"] is None else SpaceLimits(*config["space"]))
        self.state = Chain(store, config["ballast"])
        self.node = PySyncObjConsensus(
            self_id=me,
            peers={WitnessId(name): (host, port) for name, (host, port) in config["peers"].items()},
            listen=tuple(config["listen"]),
            store=store,
            replicated=self.state,
            tls=Plaintext(),
            fatal=self._fatal,
            clock_ns=SystemClock().now,
            timers=RaftTimers(*config["timers"]),
            compaction=CompactionLimits(entries_max=config["entries_max"], tail_entries=config["tail_entries"]),
        )

    async def run(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._sock)
        await self.node.start()
        self._say(started=True)
        while line := await reader.readline():
            self._handle(json.loads(line))
        await self.node.stop()

    def _handle(self, command: list[Any]) -> None:
        name = command[0]
        if name == "do":
            self._do(*command[1:])
        elif name == "arm":
            self._arm(*command[1:])
            self._say(armed=command[1])
        elif name == "disarm":
            while self._remove:
                self._remove.pop()()
            self._say(disarmed=True)
        elif name == "look":
            self._say(look=self._look())
        elif name == "segments":
            self._say(segments=[_shown(segment) for segment in self.state.segments])

    def _do(self, text: str, size: int) -> None:
        key = text.encode()
        waiters = self.state.waiting.setdefault(key, [])
        if not waiters:
            waiters.append(lambda: self._say(done=text))
        try:
            self.node.propose(key if size <= len(key) else (key + b"\n").ljust(size, b"."))
        except ProposalRefused:
            self.state.waiting.pop(key, None)
            self._say(refused=text)

    def _look(self) -> dict[str, Any]:
        seen = self.node.status()
        return {
            "leader": seen.leader,
            "leading": seen.leader == self.node.self_id,
            "quorum": seen.has_quorum,
            "caught_up": seen.caught_up,
            "connected": len(seen.connected),
            "restores": self.state.restores,
            "count": self.state.count,
        }

    def _arm(self, order: str, others: list[int]) -> None:
        """`others` die with us: their pids, killed first, then we."""
        parsed = failpoints.read_order(order)
        own = failpoints.ACTIONS[parsed.action]

        def act() -> None:
            _last_words(self._words, hit=parsed.name)
            self._say(hit=parsed.name)
            for pid in others:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            own()

        self._remove.append(failpoints.install(parsed, act))

    def _fatal(self, error: BaseException) -> None:
        _last_words(self._words, fatal=repr(error))
        os._exit(EXIT_FATAL)

    def _say(self, **fields: Any) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(fields).encode() + b"\n")


def _write_late() -> None:
    """A wrong witness, to see that the campaign sees: most turns leave before they are on disk."""
    original, turns = Journal.commit, itertools.count()

    def late(journal: Journal) -> bool:
        return original(journal) if next(turns) % LATE_TURNS == 0 else True

    Journal.commit = late


def _last_words(path: str, **said: str) -> None:
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123  # nothing between it and the kernel
        file.write(json.dumps(said) + "\n")


def _shown(segment: dict[str, Any]) -> dict[str, Any]:
    ends = {end: [segment[end][0], bytes(segment[end][1]).hex()] for end in ("base", "end")}
    return {"barrier": segment["barrier"].decode(), "texts": [text.decode() for text in segment["texts"]], **ends}


def main(config: dict[str, Any], descriptor: int) -> None:
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    try:
        uvloop.run(Member(config, sock).run())
    except LocalFault as refused:
        _last_words(config["words"], refused_start=str(refused))
        os._exit(EXIT_REFUSED)
