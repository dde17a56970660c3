"""Three real processes, killed with SIGKILL: what was acknowledged is there afterwards, and commits resume."""

from __future__ import annotations

import json
import os
import random
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raft_cluster import CLUSTER, IDS, bound_socket

from proto.units import WitnessId
from witness.raft.store import create_store

ROOT = Path(__file__).parents[2]
ANSWER_S = 30.0

pytestmark = pytest.mark.process


class Processes:
    def __init__(self, root: Path) -> None:
        self.root = root
        sockets = {witness: bound_socket() for witness in IDS}
        self.address = {witness: sock.getsockname() for witness, sock in sockets.items()}
        for sock in sockets.values():
            sock.close()
        self.running: dict[WitnessId, subprocess.Popen[bytes]] = {}
        for witness in IDS:
            create_store(root / witness, CLUSTER, witness)
            config = {
                "self": witness,
                "peers": {peer: self.address[peer] for peer in IDS if peer != witness},
                "listen": self.address[witness],
                "directory": str(root / witness),
                "compaction": {"entries_max": 100, "tail_entries": 10},
            }
            (root / f"{witness}.json").write_text(json.dumps(config))

    def start(self, *witnesses: WitnessId) -> None:
        script = str(Path(__file__).with_name("raft_process.py"))
        for witness in witnesses or IDS:
            self.running[witness] = subprocess.Popen(
                [sys.executable, script, str(self.root / f"{witness}.json")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        for witness in witnesses or IDS:
            assert self.answer(witness) == {"started": True}

    def answer(self, witness: WitnessId) -> dict[str, Any]:
        """One line within a bound; the process prints whole lines."""
        stdout = self.running[witness].stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], ANSWER_S)
        assert ready, f"{witness} does not answer"
        line = stdout.readline()
        assert line, f"{witness} ended with {self.running[witness].wait()}"
        return json.loads(line)

    def ask(self, witness: WitnessId, *command: object) -> dict[str, Any]:
        stdin = self.running[witness].stdin
        assert stdin is not None
        stdin.write(json.dumps(command).encode() + b"\n")
        stdin.flush()
        return self.answer(witness)

    def kill(self, *witnesses: WitnessId) -> None:
        """All at once, then reaped."""
        ended = [self.running.pop(witness) for witness in witnesses or tuple(self.running)]
        for process in ended:
            process.kill()
        for process in ended:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def leader(self) -> WitnessId:
        deadline_s = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline_s:
            told = [self.ask(witness, "status") for witness in self.running]
            leaders = {status["leader"] for status in told}
            if len(leaders) == 1 and None not in leaders and all(status["quorum"] for status in told):
                return WitnessId(leaders.pop())
            time.sleep(0.02)
        raise AssertionError("no leader")

    def agreed(self) -> list[str]:
        """What all have applied, up to a barrier that is committed now: copies that are equal because all of them
        stand at the same snapshot, before the new leader committed anything, prove nothing about what is in the log.
        """
        barrier = f"barrier-{secrets.token_hex(4)}"
        assert self.ask(self.leader(), "commit", barrier) == {"committed": barrier}
        deadline_s = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline_s:
            told = [self.ask(witness, "data")["data"] for witness in self.running]
            if all(data == told[0] for data in told) and barrier in told[0]:
                return [text for text in told[0] if not text.startswith("barrier-")]
            time.sleep(0.02)
        raise AssertionError("the copies differ")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    made.start()
    yield made
    made.kill()


def test_commits_resume_after_the_leader_is_killed(processes: Processes) -> None:
    for number in range(3):
        leader = processes.leader()
        survivor = next(witness for witness in IDS if witness != leader)
        assert processes.ask(survivor, "commit", f"before{number}") == {"committed": f"before{number}"}
        processes.kill(leader)
        assert processes.ask(survivor, "commit", f"after{number}") == {"committed": f"after{number}"}
        processes.start(leader)
    data = processes.agreed()
    assert set(data) == {f"{when}{number}" for when in ("before", "after") for number in range(3)}


def test_nothing_acknowledged_is_lost_when_all_are_killed_at_once(processes: Processes) -> None:
    """Repeated with kills at arbitrary moments of a stream of commits, over several foldings of the log."""
    rng = random.Random(11)
    acknowledged: list[str] = []
    for round_ in range(4):
        processes.leader()
        writer = rng.choice(IDS)
        for number in range(rng.randrange(20, 60)):
            text = f"{round_}-{number}"
            assert processes.ask(writer, "commit", text) == {"committed": text}
            acknowledged.append(text)
        stdin = processes.running[writer].stdin
        assert stdin is not None
        stdin.write(json.dumps(["commit", f"{round_}-in-doubt"]).encode() + b"\n")
        stdin.flush()
        processes.kill()
        processes.start()
    processes.leader()
    data = [text for text in processes.agreed() if not text.endswith("in-doubt")]
    assert data == acknowledged


def test_each_killed_in_turn_under_load(processes: Processes) -> None:
    rng = random.Random(5)
    acknowledged: set[str] = set()
    for round_ in range(6):
        processes.leader()
        victim = IDS[round_ % 3]
        writer = rng.choice([witness for witness in IDS if witness != victim])
        for number in range(40):
            if number == 20:
                processes.kill(victim)
            text = f"{round_}-{number}"
            assert processes.ask(writer, "commit", text) == {"committed": text}
            acknowledged.add(text)
        processes.start(victim)
    processes.leader()
    assert acknowledged <= set(processes.agreed())
