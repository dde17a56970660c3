"""One witness's consensus as a process of its own, without TLS and without the API: `... raft_member JOB.json`.

What it measures is Raft alone: a proposal's way through journal, peers and back to the own copy, applied and synced.
The load sits in the leading process, as a client of the port would. Lines of JSON: `started` is told on stdout, then
each line of stdin (`"status"` or `[in flight, seconds]`) is answered with one line.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from proto.clock import SystemClock
from proto.edge.logs import setup_logging
from proto.units import ClusterId, LogIndex, WitnessId
from witness.raft.peer_transport import Plaintext
from witness.raft.port import PROPOSALS_QUEUED_MAX, CommittedEntry, ConsensusStatus, ProposalRefused, Role
from witness.raft.store import open_store
from witness.raft.syncobj import PySyncObjConsensus

ENTRY_BYTES = 96
"""About what one group's heartbeat weighs as an entry."""
_NUMBER_BYTES = 16
STUCK_S = 10.0


class Counted:
    """Implements witness.raft.port.Replicated; keeps nothing: a digest would cost more than the commit."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, Callable[[], None]] = {}
        self.refused: deque[Callable[[], None]] = deque()
        """Whose proposals the port did not take; it has room again after a turn."""
        self._released: list[Callable[[], None]] = []

    def apply(self, entry: CommittedEntry) -> None:
        waiter = self.waiting.pop(entry.data[:_NUMBER_BYTES], None)
        if waiter is not None:
            self._released.append(waiter)

    def snapshot(self) -> bytes:
        return b"nothing"

    def restore(self, image: bytes, last_index: LogIndex) -> None:
        pass

    def turn_synced(self) -> None:
        released, self._released = self._released, []
        for waiter in released:
            waiter()
        for _ in range(min(PROPOSALS_QUEUED_MAX, len(self.refused))):
            self.refused.popleft()()

    def status_changed(self, status: ConsensusStatus) -> None:
        pass


class Member:
    def __init__(self, job: dict[str, Any]) -> None:
        self.state = Counted()
        me = WitnessId(job["self"])
        self.node = PySyncObjConsensus(
            self_id=me,
            peers={WitnessId(name): (host, port) for name, (host, port) in job["peers"].items()},
            listen=tuple(job["listen"]),
            store=open_store(Path(job["directory"]), ClusterId(job["cluster"]), me),
            replicated=self.state,
            tls=Plaintext(),
            fatal=_fatal,
            clock_ns=SystemClock().now,
        )

    async def run(self) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        await self.node.start()
        _say(started=True)
        while line := await reader.readline():
            asked = json.loads(line)
            if asked == "status":
                seen = self.node.status()
                _say(leading=seen.role is Role.LEADER and seen.caught_up and len(seen.connected) == 2)
            else:
                _say(**await self.load(*asked))
        await self.node.stop()

    async def load(self, in_flight: int, seconds: float) -> dict[str, Any]:
        samples: list[int] = []
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(self._client(at, began + seconds, samples) for at in range(in_flight)))
        spent = time.perf_counter() - began
        return {"samples_ns": samples, "seconds": spent, "cpu_s": time.process_time() - cpu}

    async def _client(self, number: int, ends: float, samples: list[int]) -> None:
        loop, count = asyncio.get_running_loop(), 0
        while time.perf_counter() < ends:
            count += 1
            key = b"%06d-%09d" % (number, count)
            began_ns = time.perf_counter_ns()
            done: asyncio.Future[None] = loop.create_future()
            self.state.waiting[key] = _resolver(done)
            async with asyncio.timeout(STUCK_S):
                while not self._proposed(key.ljust(ENTRY_BYTES, b".")):
                    room: asyncio.Future[None] = loop.create_future()
                    self.state.refused.append(_resolver(room))
                    await room
                await done
            samples.append(time.perf_counter_ns() - began_ns)

    def _proposed(self, data: bytes) -> bool:
        """The port takes so many proposals at a time and refuses more: then the client waits its turn."""
        try:
            self.node.propose(data)
        except ProposalRefused:
            return False
        return True


def _resolver(future: asyncio.Future[None]) -> Callable[[], None]:
    def resolve() -> None:
        if not future.done():
            future.set_result(None)

    return resolve


def _fatal(error: BaseException) -> None:
    _say(error=repr(error))
    os._exit(70)


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)  # noqa: T201 - the parent reads these lines


if __name__ == "__main__":
    setup_logging(level="error")  # on stderr: stdout is the parent's
    uvloop.run(Member(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))).run())
