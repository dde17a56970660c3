"""One witness's consensus as a process of its own, for tests and measurements: driven by lines on stdin.

    python raft_process.py CONFIG.json        -> one JSON object a line on stdout

Commands, a JSON list a line: ["commit", text], ["load", clients, seconds, bytes], ["status"], ["data"],
["snapshot"], ["stop"]. "committed" is printed only after the own copy applied it and the turn was synced.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import uvloop
from raft_cluster import CLUSTER, Recorder

from proto.clock import SystemClock
from proto.edge.logs import setup_logging
from proto.units import WitnessId
from witness.raft.peer_transport import Plaintext
from witness.raft.port import ProposalRefused
from witness.raft.store import open_store
from witness.raft.syncobj import PySyncObjConsensus
from witness.raft.timers import CompactionLimits

ATTEMPT_S = 1.0


class LeanRecorder(Recorder):
    """Keeps no list when measuring: a digest would cost more than the commit."""

    lean = False

    def apply(self, entry: Any) -> None:
        if not self.lean:
            super().apply(entry)
            return
        self.last_index = entry.index
        waiter = self.waiting.pop(entry.data[:16], None)
        if waiter is not None:
            self._released.append(waiter)


class Process:
    def __init__(self, config: dict[str, Any]) -> None:
        self.state = LeanRecorder()
        self.state.lean = config.get("lean", False)
        me = WitnessId(config["self"])
        limits = CompactionLimits(**config["compaction"]) if "compaction" in config else None
        self.node = PySyncObjConsensus(
            self_id=me,
            peers={WitnessId(name): (host, port) for name, (host, port) in config["peers"].items()},
            listen=tuple(config["listen"]),
            store=open_store(Path(config["directory"]), CLUSTER, me),
            replicated=self.state,
            tls=Plaintext(),
            fatal=self.fatal,
            clock_ns=SystemClock().now,
            compaction=limits,
        )

    def fatal(self, error: BaseException) -> None:
        self.say(fatal=repr(error))
        os._exit(70)

    @staticmethod
    def say(**fields: Any) -> None:
        print(json.dumps(fields), flush=True)

    async def commit(self, data: bytes, key: bytes) -> None:
        loop = asyncio.get_running_loop()
        while True:
            done = loop.create_future()
            self.state.waiting[key] = lambda done=done: done.done() or done.set_result(None)
            try:
                self.node.propose(data)
                await asyncio.wait_for(done, ATTEMPT_S)
                return
            except (TimeoutError, ProposalRefused):
                if not self.state.lean and data in self.state.data:
                    return
                await asyncio.sleep(0.001)

    async def load(self, clients: int, seconds: float, size: int) -> None:
        taken: list[float] = []
        end_s = time.perf_counter() + seconds

        async def client(number: int) -> None:
            count = 0
            while time.perf_counter() < end_s:
                count += 1
                key = b"%06d-%09d" % (number, count)
                started_s = time.perf_counter()
                await self.commit(key.ljust(size, b"."), key[:16])
                taken.append(time.perf_counter() - started_s)

        cpu_s, began_s = time.process_time(), time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(clients)))
        span_s = time.perf_counter() - began_s
        taken.sort()
        self.say(
            load=clients,
            per_s=round(len(taken) / span_s),
            p50_ms=round(taken[len(taken) // 2] * 1e3, 2),
            p99_ms=round(taken[len(taken) * 99 // 100] * 1e3, 2),
            cpu=round((time.process_time() - cpu_s) / span_s, 2),
            turns=self.node.turns,
        )

    async def handle(self, command: list[Any]) -> bool:
        if command[0] == "commit":
            data = command[1].encode()
            await self.commit(data, data)
            self.say(committed=command[1])
        elif command[0] == "load":
            await self.load(*command[1:])
        elif command[0] == "data":
            self.say(data=[data.decode() for data in self.state.data], restores=self.state.restores)
        elif command[0] == "snapshot":
            self.node.force_snapshot()
        elif command[0] == "status":
            status = self.node.status()
            self.say(
                role=status.role.value,
                leader=status.leader,
                term=status.term,
                applied=status.applied_index,
                quorum=status.has_quorum,
                caught_up=status.caught_up,
                cpu_s=time.process_time(),
            )
        return command[0] != "stop"

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        await self.node.start()
        self.say(started=True)
        while line := await reader.readline():
            if not await self.handle(json.loads(line)):
                break
        await self.node.stop()


if __name__ == "__main__":
    setup_logging(level="error")  # on stderr: stdout is the test's
    uvloop.run(Process(json.loads(Path(sys.argv[1]).read_text())).run())
