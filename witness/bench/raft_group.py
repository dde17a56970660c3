"""Three Raft members on loopback without TLS and API (witness.bench.raft_member), their stores on the bench's disk."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from proto.units import ClusterId, WitnessId
from witness.bench.figures import Json, cpu_seconds, latency
from witness.demo.eyes import Expected, wait_for
from witness.demo.layout import HOST, Ports
from witness.raft.store import create_store

MEMBERS = ("r1", "r2", "r3")
CLUSTER = ClusterId("be" * 16)
START_S = 20.0
ANSWER_S = 60.0
_LINE_BYTES_MAX = 1 << 28


class RaftGroup:
    def __init__(self, root: Path, ports: Ports) -> None:
        self.root = root
        self._address = {name: (HOST, ports.take()) for name in MEMBERS}
        self._members: dict[str, asyncio.subprocess.Process] = {}

    async def start(self) -> str:
        """Returns the leader's name."""
        for name in MEMBERS:
            create_store(self.root / name, CLUSTER, WitnessId(name))
            job = {
                "self": name,
                "cluster": CLUSTER,
                "peers": {other: where for other, where in self._address.items() if other != name},
                "listen": self._address[name],
                "directory": str(self.root / name),
            }
            path = self.root / f"{name}.job.json"
            path.write_text(json.dumps(job), encoding="utf-8")
            self._members[name] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "witness.bench.raft_member",
                str(path),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES_MAX,
                start_new_session=True,
            )
        for name in MEMBERS:
            await self._answer(name)
        return await wait_for("the members elect a leader", self._leader, START_S)

    async def _leader(self) -> str | None:
        for name in MEMBERS:
            if (await self._ask(name, "status"))["leading"]:
                return name
        return None

    async def load(self, leader: str, in_flight: int, seconds: float) -> Json:
        before = {name: cpu_seconds(member.pid) for name, member in self._members.items()}
        result = await self._ask(leader, [in_flight, seconds])
        spent = result["seconds"]
        cpu = {
            name: round((cpu_seconds(member.pid) - before[name]) / spent, 2) for name, member in self._members.items()
        }
        return latency(result["samples_ns"], spent) | {"cpu_per_process": cpu}

    async def end(self) -> None:
        for member in self._members.values():
            if member.returncode is None:
                member.kill()
                await member.wait()

    async def _ask(self, name: str, question: object) -> Json:
        stdin = self._members[name].stdin
        if stdin is not None:
            stdin.write(json.dumps(question).encode() + b"\n")
        return await self._answer(name)

    async def _answer(self, name: str) -> Json:
        stdout = self._members[name].stdout
        line = b""
        if stdout is not None:
            async with asyncio.timeout(ANSWER_S):
                line = await stdout.readline()
        answer: Json = json.loads(line or '{"error": "it died"}')
        if "error" in answer:
            raise Expected(f"Raft member {name}: {answer['error']}")
        return answer
