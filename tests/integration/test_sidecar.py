"""In a container, a guard or an agent is the first process: the deadline holds, orphans are reaped, signals arrive."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from container_rig import STRONG, WEAK, Container
from guard_world import GROUP, MS, died_by, lives, now_ns, stays_dead, until, victim_argv

from agents.fencing import exec_entry, exec_registry, leftover, life_lock
from agents.fencing.base import NotProvenDown
from agents.fencing.exec_registry import ExecRegistry
from agents.fencing.leftover import end_leftovers

pytestmark = [
    pytest.mark.process,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: PID namespaces stand for containers"),
]
S = 1_000 * MS


class Pod:
    """An agent's registry, and containers that share its directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = path / "agent.sock"
        self.registry = ExecRegistry(self.socket, [GROUP])
        self.containers: list[Container] = []

    async def start(self, *command: str, options: tuple[str, ...] = (), how: tuple[str, ...] = STRONG) -> Container:
        """A container whose entrypoint is `site-agent exec`."""
        argv = exec_entry.exec_guard_argv(["--group", GROUP, "--socket", str(self.socket), *options, "--", *command])
        made = await Container.start(*argv, how=how)
        self.containers.append(made)
        known = len(self.containers)
        await until(lambda: len(self.registry.status()) >= known, "it is registered")
        return made

    def deadline(self, ttl_ms: int, epoch: int = 1) -> int:
        at = now_ns()
        rungs = (at + ttl_ms * 6 // 10 * MS, at + ttl_ms * 8 // 10 * MS)
        self.registry.set_deadline(GROUP, epoch, *rungs, at + ttl_ms * MS)
        return at + ttl_ms * MS

    async def close(self) -> None:
        for one in self.containers:
            await one.close()
        await self.registry.close()


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    made = Pod(tmp_path)
    await made.registry.start()
    yield made
    await made.close()


async def test_the_first_process_hands_out_exit_code_and_signals(pod: Pod) -> None:
    ready = pod.path / "ready"
    script = f"trap 'exit 42' TERM; echo >{ready}; while :; do sleep 0.02; done"
    container = await pod.start("sh", "-c", script)
    pod.deadline(60_000)
    await until(ready.exists, "the command runs")
    container.signal(signal.SIGTERM)
    assert await container.ended() == 42
    assert [one.name for one in pod.path.iterdir() if one.suffix in (".guard", ".lock")] == []


async def test_a_waiting_container_ends_by_its_engines_signal(pod: Pod) -> None:
    container = await pod.start("true")
    container.signal(signal.SIGTERM)
    assert await container.ended() == 128 + signal.SIGTERM


@pytest.mark.parametrize("how", [STRONG, WEAK, ()], ids=["first", "first-weak", "not-first"])
async def test_a_container_may_wait_for_the_next_lease(pod: Pod, how: tuple[str, ...]) -> None:
    path = pod.path / "v.stamps"
    container = await pod.start(*victim_argv(path, "stubborn"), options=("--again",), how=how)
    deadline = pod.deadline(800)
    await lives(path)
    await until(lambda: now_ns() > deadline, "its lease is over")
    died_by(path, deadline)
    await pod.registry.stop_all(GROUP, 0)
    await until(lambda: any(one.connected for one in pod.registry.status()), "a fresh guard waits")
    await stays_dead(path)
    path.unlink()
    pod.deadline(60_000, epoch=2)
    await lives(path)
    assert container.process.returncode is None
    (container.signal if how else container.process.send_signal)(signal.SIGTERM)
    pod.registry.fence(GROUP)
    await pod.registry.stop_all(GROUP, 0)
    await container.ended()
    await stays_dead(path)


async def test_a_stopped_container_is_dead_by_the_deadline(pod: Pod) -> None:
    """The first process would survive its own timer: this is what its child is for."""
    path = pod.path / "v.stamps"
    container = await pod.start(*victim_argv(path, "stubborn", "daemon"), options=("--forking",))
    deadline = pod.deadline(1_500)
    await lives(path)
    container.signal_all(signal.SIGSTOP)
    await asyncio.sleep(max(0, deadline - now_ns()) / 1e9)  # the span up to the deadline must pass
    await stays_dead(path)
    container.signal_all(signal.SIGCONT)
    died_by(path, deadline)
    assert await container.ended() == 128 + signal.SIGKILL
    await stays_dead(path)


async def test_without_rights_it_is_said_and_the_container_ends_with_its_guard(pod: Pod) -> None:
    path = pod.path / "v.stamps"
    container = await pod.start(*victim_argv(path, "stubborn", "daemon"), options=("--forking",), how=WEAK)
    deadline = pod.deadline(1_500)
    await lives(path)
    await until(lambda: pod.registry.status()[0].containment == "process-group", "its containment is told")
    assert await container.ended() == 75
    died_by(path, deadline)
    await stays_dead(path)
    assert container.process.stderr is not None
    assert b"weaker: no PID namespace" in await container.process.stderr.read()
    assert not list(pod.path.glob("*.guard"))


async def test_without_rights_a_killed_guard_takes_the_container_with_it(pod: Pod) -> None:
    path = pod.path / "v.stamps"
    container = await pod.start(*victim_argv(path, "stubborn", "daemon"), options=("--forking",), how=WEAK)
    pod.deadline(60_000)
    await lives(path)
    guard = next(pid for pid in container.processes() if _parent(pid) == container.first)
    os.kill(guard, signal.SIGKILL)
    assert await container.ended() == 128 + signal.SIGKILL
    await stays_dead(path)
    assert not list(pod.path.glob("*.guard")), "the first process proved the container empty"


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_containers_that_share_an_agent_are_told_apart(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both guards have the same process id in their own namespaces, and 0 is what the kernel says of a sibling's."""
    monkeypatch.setattr(exec_registry, "_peer_pid", lambda _writer: 0)
    paths = [pod.path / f"{number}.stamps" for number in range(2)]
    for path in paths:
        await pod.start(*victim_argv(path, "stubborn"))
    pod.deadline(60_000)
    for path in paths:
        await lives(path)
    assert len(pod.registry.status()) == 2
    await until(lambda: all(one.running for one in pod.registry.status()), "both are reported running")
    downs = await pod.registry.stop_all(GROUP, 0)
    assert [down.verified for down in downs] == [True, True]
    for container in pod.containers:
        await container.ended()
    for path in paths:
        await stays_dead(path)


async def test_a_new_agent_proves_nothing_while_a_container_of_the_former_one_runs(pod: Pod) -> None:
    """Its process ids mean nothing to the agent when that lives in a container, too; its lock does."""
    path = pod.path / "v.stamps"
    container = await pod.start(*victim_argv(path, "stubborn"))
    pod.deadline(60_000)
    await lives(path)
    look = "import sys; sys.path.insert(0, {0!r}); from pathlib import Path; from agents.fencing import leftover as l\n"
    look += "try: l.end_leftovers(Path({1!r}), {2!r})\nexcept l.NotProvenDown as e: print(e); sys.exit(9)\n"
    checkout = str(Path(leftover.__file__).parents[2])
    other = await Container.start(sys.executable, "-c", look.format(checkout, str(pod.path), GROUP))
    assert await other.ended() == 9, await other.process.communicate()
    await lives(path)
    container.signal(signal.SIGKILL)
    await container.ended()
    (record,) = pod.path.glob("*.guard")
    assert life_lock.is_held(str(record)) is False
    assert life_lock.of_container(str(record))
    await asyncio.to_thread(end_leftovers, pod.path, GROUP)
    assert not list(pod.path.glob("*.guard")) + list(pod.path.glob("*.lock"))
    await stays_dead(path)


def test_a_lock_that_is_held_elsewhere_is_no_proof(tmp_path: Path) -> None:
    record = tmp_path / f"{GROUP}.exec-1.guard"
    assert life_lock.is_held(str(record)) is None
    fd = life_lock.hold(str(record))
    assert life_lock.is_held(str(record)) is True
    os.close(fd)
    assert life_lock.is_held(str(record)) is False
    assert not life_lock.of_container(str(record)), "this process is not the first of its namespace"


def test_locks_of_guards_that_were_killed_while_they_waited_are_swept(tmp_path: Path) -> None:
    old, young, held = (tmp_path / f"{GROUP}.exec-{name}.lock" for name in ("a", "b", "c"))
    for path in (old, young):
        path.write_text("")
    fd = life_lock.hold(str(held.with_suffix(".guard")))
    past = time.time() - 3_600
    for path in (old, held):
        os.utime(path, (past, past))
    end_leftovers(tmp_path, GROUP)
    assert [path.exists() for path in (old, young, held)] == [False, True, True]
    os.close(fd)


async def test_the_first_process_reaps_orphans(tmp_path: Path) -> None:
    """An agent as the entrypoint: what its children leave behind is nobody's but the first process's."""
    code = (
        "import os, subprocess, sys, time\n"
        "from agents.fencing import pid_one\n"
        "def state(pid):\n"
        "    try: return open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0]\n"
        "    except (FileNotFoundError, ProcessLookupError): return 'gone'\n"
        "pid_one.stand_in(pid_one.Work())\n"
        "for _ in range(20): subprocess.run(['sh', '-c', 'sleep 0.01 &'])\n"
        "ends = time.monotonic() + 10\n"
        "while time.monotonic() < ends:\n"
        "    pids = [pid for pid in os.listdir('/proc') if pid.isdigit()]\n"
        "    states = [state(pid) for pid in pids]\n"
        "    if len(states) == 2 and not {'Z', 'gone'} & set(states): sys.exit(7)\n"
        "    time.sleep(0.02)\n"
        "sys.exit(1)\n"
    )
    script = tmp_path / "entry.py"
    script.write_text(code)
    checkout = str(Path(leftover.__file__).parents[2])
    container = await Container.start("env", f"PYTHONPATH={checkout}", sys.executable, str(script))
    assert await container.ended() == 7, await container.process.communicate()


async def test_an_agent_as_the_first_process_refuses_as_ever(tmp_path: Path) -> None:
    container = await Container.start(sys.executable, "-m", "agents", "run", "-c", str(tmp_path / "none.yaml"))
    assert await container.ended() == 78
    assert NotProvenDown is leftover.NotProvenDown
