"""`site-agent exec` against the agent's registry: only under the lease, dead by the deadline, honest exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from guard_world import GROUP, MS, died_by, lives, now_ns, stamps, stays_dead, until, until_ns, victim_argv

from agents.fencing import exec_entry, leftover
from agents.fencing.exec_registry import ExecRegistry
from proto.errors import LocalFault

pytestmark = [
    pytest.mark.process,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a PID namespace without a user namespace"),
]
S = 1_000 * MS


class Bench:
    """A registry and the exec guards started against it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = path / "agent.sock"
        self.registry = ExecRegistry(self.socket, [GROUP])
        self.processes: list[asyncio.subprocess.Process] = []

    async def exec(self, *command: str, options: tuple[str, ...] = ()) -> asyncio.subprocess.Process:
        argv = exec_entry.exec_guard_argv(["--group", GROUP, "--socket", str(self.socket), *options, "--", *command])
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        self.processes.append(process)
        return process

    async def waiting(self, *command: str) -> asyncio.subprocess.Process:
        process = await self.exec(*command)
        assert process.stderr is not None
        line = await asyncio.wait_for(process.stderr.readline(), 10)
        assert line == b"site-agent exec: waiting for the lease of shop\n"
        return process

    def deadline(self, ttl_ms: int, epoch: int = 1) -> int:
        at = now_ns()
        deadline = at + ttl_ms * MS
        rungs = (at + ttl_ms * 6 // 10 * MS, at + ttl_ms * 8 // 10 * MS)
        self.registry.set_deadline(GROUP, epoch, *rungs, deadline)
        return deadline

    async def close(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()
        await self.registry.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.registry.start()
    yield made
    await made.close()


async def ended(process: asyncio.subprocess.Process, bound_s: float = 15) -> int:
    return await asyncio.wait_for(process.wait(), bound_s)


async def test_a_command_waits_for_the_lease_and_keeps_its_exit_code(bench: Bench) -> None:
    process = await bench.waiting("sh", "-c", "echo hello; exit 7")
    bench.deadline(30_000)
    assert await ended(process) == 7
    assert process.stdout is not None
    assert await process.stdout.read() == b"hello\n"
    late = await bench.exec("sh", "-c", "kill -9 $$")
    assert await ended(late) == 128 + 9
    assert await ended(await bench.exec("/nonexistent")) == 127
    assert not list(bench.path.glob("*.guard"))


async def test_the_command_is_told_the_epoch_that_it_runs_under(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THIRDSITE_EPOCH", "6")
    process = await bench.waiting("sh", "-c", "echo $THIRDSITE_GROUP $THIRDSITE_EPOCH")
    bench.deadline(30_000, epoch=7)
    assert await ended(process) == 0
    assert process.stdout is not None
    assert await process.stdout.read() == b"shop 7\n"


async def test_what_a_command_leaves_behind_ends_with_it(bench: Bench) -> None:
    path = bench.path / "v.stamps"
    process = await bench.waiting(*victim_argv(path, "daemon", "stubborn"))
    bench.deadline(30_000)
    assert await ended(process) == 0
    await stays_dead(path)


async def test_signals_reach_the_command(bench: Bench) -> None:
    path = bench.path / "ready"
    script = f"trap 'exit 42' TERM; echo 1 1 >{path}; while :; do sleep 0.02; done"
    process = await bench.waiting("sh", "-c", script)
    bench.deadline(30_000)
    await until(path.exists, "the command runs")
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == 42


async def test_the_command_may_be_told_another_name(bench: Bench) -> None:
    process = await bench.exec("/bin/sh", "-c", "ps -o args= -p $$", options=("--argv0", "another"))
    bench.deadline(30_000)
    assert await ended(process) == 0
    assert process.stdout is not None
    assert (await process.stdout.read()).split()[0] == b"another"


async def test_what_forks_is_held_until_nothing_of_it_is_left(bench: Bench) -> None:
    path = bench.path / "v.stamps"
    process = await bench.exec(*victim_argv(path, "daemon"), options=("--forking",))
    bench.deadline(60_000)
    await lives(path)
    await until(lambda: any(one.running for one in bench.registry.status()), "it is reported running")
    assert process.returncode is None
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == 0
    await stays_dead(path)


async def test_what_forks_and_ends_by_itself_ends_its_guard(bench: Bench) -> None:
    mark = bench.path / "done"
    process = await bench.exec("sh", "-c", f"(sleep 0.3; echo 1 >{mark}) & exit 0", options=("--forking",))
    bench.deadline(60_000)
    assert await ended(process) == 0
    assert mark.exists(), "the guard stayed until the last process had ended"


async def test_a_forking_command_that_fails_ends_at_once(bench: Bench) -> None:
    process = await bench.exec("sh", "-c", "sleep 60 & exit 3", options=("--forking",))
    bench.deadline(60_000)
    assert await ended(process) == 3


async def test_a_guard_may_be_started_before_its_agent_makes_the_directory(bench: Bench) -> None:
    later = ExecRegistry(bench.path / "later" / "agent.sock", [GROUP])
    argv = exec_entry.exec_guard_argv(
        ["--group", GROUP, "--socket", str(later.socket_path), "--", "sh", "-c", "exit 7"]
    )
    process = await asyncio.create_subprocess_exec(*argv)
    bench.processes.append(process)
    later.socket_path.parent.mkdir()
    await later.start()
    at = now_ns()
    later.set_deadline(GROUP, 1, at + 20 * S, at + 25 * S, at + 30 * S)
    assert await ended(process) == 7
    assert [one.name for one in later.socket_path.parent.iterdir()] == ["agent.sock"]
    await later.close()


async def test_a_signal_ends_the_waiting(bench: Bench) -> None:
    process = await bench.waiting("true")
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == 128 + signal.SIGTERM


async def test_without_renewals_it_is_dead_by_the_deadline(bench: Bench) -> None:
    path = bench.path / "v.stamps"
    process = await bench.waiting(*victim_argv(path, "stubborn", "bystander"))
    first = bench.deadline(2_000)
    await lives(path)
    for _ in range(3):
        await asyncio.sleep(0.7)
        deadline = bench.deadline(2_000)
    await until(lambda: stamps(path)[-1] > first, "renewals keep it alive")
    assert await ended(process) == 75
    died_by(path, deadline)
    await stays_dead(path)


async def test_stopped_it_is_dead_by_the_deadline_and_the_registry_knows(bench: Bench) -> None:
    path = bench.path / "v.stamps"
    process = await bench.waiting(*victim_argv(path, "stubborn"))
    deadline = bench.deadline(700)
    await lives(path)
    process.send_signal(signal.SIGSTOP)
    (down,) = await bench.registry.stop_all(GROUP, S)
    assert down.pid == process.pid
    died_by(path, deadline)
    await stays_dead(path)
    assert now_ns() < deadline + 5 * S
    assert await ended(process) == -signal.SIGKILL


async def test_stop_all_returns_when_everything_is_proven_down(bench: Bench) -> None:
    paths = [bench.path / f"{number}.stamps" for number in range(3)]
    manners = [(), ("stubborn",), ("stubborn", "bystander")]
    processes = [await bench.waiting(*victim_argv(p, *m)) for p, m in zip(paths, manners, strict=True)]
    bench.deadline(60_000)
    for path in paths:
        await lives(path)
    await until(lambda: sum(one.running for one in bench.registry.status()) == 3, "all are reported running")
    downs = await asyncio.wait_for(bench.registry.stop_all(GROUP, S // 5), 20)
    sizes = [path.stat().st_size for path in paths]
    assert [down.verified for down in downs] == [True] * 3
    await asyncio.sleep(0.05)  # a span in which a survivor would have written
    assert [path.stat().st_size for path in paths] == sizes
    assert [await ended(process) for process in processes] == [75] * 3
    # The next lease needs a new start: nothing is held any more.
    assert await bench.registry.stop_all(GROUP, S) == ()
    again = await bench.waiting("true")
    bench.deadline(30_000, epoch=2)
    assert await ended(again) == 0


async def test_fence_kills_at_once(bench: Bench) -> None:
    path = bench.path / "v.stamps"
    process = await bench.waiting(*victim_argv(path, "stubborn"))
    bench.deadline(60_000)
    await lives(path)
    await until(lambda: any(one.running for one in bench.registry.status()), "it is reported running")
    bench.registry.fence(GROUP)
    (down,) = await asyncio.wait_for(bench.registry.stop_all(GROUP, 0), 10) or (None,)
    assert down is None or down.verified
    await stays_dead(path)
    assert await ended(process) == -signal.SIGKILL


async def test_the_agent_may_go_and_come_back(bench: Bench) -> None:
    path = bench.path / "v.stamps"
    process = await bench.waiting(*victim_argv(path))
    bench.deadline(3_000)
    await lives(path)
    await until(lambda: any(one.running for one in bench.registry.status()), "it is reported running")
    await bench.registry.close()
    bench.registry = ExecRegistry(bench.socket, [GROUP])
    await bench.registry.start()
    await until(lambda: any(one.running for one in bench.registry.status()), "it registered again")
    deadline = bench.deadline(1_000)
    assert deadline  # shorter than the first: refused within the epoch, the first one still counts
    second = bench.deadline(900, epoch=2)
    assert await ended(process) == 75
    died_by(path, second)


async def test_a_new_agent_stops_what_its_predecessor_allowed(bench: Bench) -> None:
    path = bench.path / "v.stamps"
    process = await bench.waiting(*victim_argv(path, "stubborn"))
    bench.deadline(60_000)
    await lives(path)
    await bench.registry.close()
    bench.registry = ExecRegistry(bench.socket, [GROUP])
    await bench.registry.start()
    await until(lambda: any(one.running for one in bench.registry.status()), "it registered again")
    (down,) = await bench.registry.stop_all(GROUP, S // 10)
    assert down.verified
    await stays_dead(path)
    assert await ended(process) == 75


async def test_a_dead_agents_exec_guards_are_found_by_their_records(bench: Bench) -> None:
    path = bench.path / "v.stamps"
    process = await bench.waiting(*victim_argv(path, "daemon", "stubborn", "bystander"))
    bench.deadline(60_000)
    other = bench.path / "w.stamps"
    second = await bench.exec(*victim_argv(other, "stubborn"))
    await lives(other)
    await ended(process)
    ends = await asyncio.to_thread(leftover.end_leftovers, bench.path, GROUP)
    assert [one.leftover.record.guard_pid for one in ends] == [second.pid]
    await stays_dead(other)


async def test_no_agent_no_group_no_usage(bench: Bench) -> None:
    stranger = exec_entry.exec_guard_argv(["--group", "other", "--socket", str(bench.socket), "--", "true"])
    nobody = exec_entry.exec_guard_argv(
        ["--group", GROUP, "--socket", str(bench.path / "none"), "--wait", "0.3", "--", "true"]
    )
    usage = exec_entry.exec_guard_argv(["--group", GROUP])
    for argv, code, says in ((stranger, 78, b"'other'"), (nobody, 69, b"no agent"), (usage, 64, b"usage")):
        process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
        _, error = await asyncio.wait_for(process.communicate(), 15)
        assert process.returncode == code
        assert says in error


async def test_a_deadline_that_has_passed_starts_nothing(bench: Bench) -> None:
    path = bench.path / "ran"
    process = await bench.waiting("sh", "-c", f"echo 1 1 >{path}")
    at = now_ns()
    bench.registry.set_deadline(GROUP, 1, at - 3 * MS, at - 2 * MS, at + 60 * MS)
    await until_ns(at + 100 * MS)
    assert process.returncode is None
    assert not path.exists()
    bench.deadline(30_000, epoch=2)
    assert await ended(process) == 0


async def test_the_socket_is_private_and_one_agents_only(bench: Bench) -> None:
    assert stat.S_IMODE(bench.socket.stat().st_mode) == 0o600
    with pytest.raises(LocalFault, match="another agent"):
        await ExecRegistry(bench.socket, [GROUP]).start()
    reader, writer = await asyncio.open_unix_connection(str(bench.socket))
    writer.write(b'{"type":"down","cause":"x","duration_ms":1}\n')
    assert json.loads(await reader.readline())["code"] == "not-registered"
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    first = ExecRegistry(tmp_path / "agent.sock", [GROUP])
    await first.start()
    kept = tmp_path / "kept.sock"
    kept.hardlink_to(tmp_path / "agent.sock")
    await first.close()
    kept.rename(tmp_path / "agent.sock")
    again = ExecRegistry(tmp_path / "agent.sock", [GROUP], mode=0o660)
    await again.start()
    assert stat.S_IMODE((tmp_path / "agent.sock").stat().st_mode) == 0o660
    await again.close()
