"""Each kind of look against real sockets and processes on loopback, and the pace of the schedule."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from agent_process import runs
from aiohttp import web
from free_ports import free_ports

from agents.actions.down_checks import CommandSaysDown, PortRefused
from agents.probes.base import ProbeResult
from agents.probes.command import OUTPUT_BYTES_MAX, run_command
from agents.probes.exec import ExecProbe
from agents.probes.http import BODY_BYTES_MAX, HttpProbe
from agents.probes.memory import MemoryProbe
from agents.probes.schedule import ProbeSchedule, ScheduledProbe
from agents.probes.tcp import REFUSED, TcpProbe, connect_problem
from proto.units import GroupId

GROUP = GroupId("g")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def closed_port() -> int:
    (port,) = free_ports(1)
    return port


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - conditions of the outside world have no event
            await asyncio.sleep(0.005)


pytestmark = pytest.mark.process


async def test_tcp_tells_open_from_refused() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await TcpProbe("127.0.0.1", port, 2_000).look() == ProbeResult(passed=True)
    port = closed_port()
    assert await TcpProbe("127.0.0.1", port, 2_000).look() == ProbeResult(passed=False, detail=REFUSED)


async def test_a_silent_host_is_not_refused() -> None:
    """A full accept queue answers nothing: that proves nothing about what runs there."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        words = await connect_problem("127.0.0.1", port, 100)
        for filler in fillers:
            filler.close()
    assert words == "no connection within its timeout"


async def test_only_a_clear_answer_proves_down() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert "takes connections" in await PortRefused("p", "127.0.0.1", port, 2_000).still_up()
    assert await PortRefused("p", "127.0.0.1", closed_port(), 2_000).still_up() == ""
    assert await CommandSaysDown("c", ("/bin/true",), 2_000).still_up() == ""
    assert await CommandSaysDown("c", ("/bin/false",), 2_000).still_up() == "exit code 1"
    assert "cannot be started" in await CommandSaysDown("c", ("/nonexistent",), 2_000).still_up()
    assert "no end" in await CommandSaysDown("c", ("/bin/sleep", "60"), 50).still_up()


async def test_http_status_body_and_timeout() -> None:
    mode = {"status": 200, "body": b"ok", "hang": False}
    release = asyncio.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        if mode["hang"]:
            await release.wait()
        return web.Response(status=int(mode["status"]), body=mode["body"])

    async with serving(answer) as url:
        probe = HttpProbe(url, (200, 204), 2_000)
        assert (await probe.look()).passed
        mode["status"] = 503
        assert (await probe.look()).detail == "status 503"
        mode |= {"status": 200, "body": b"x" * (BODY_BYTES_MAX + 1)}
        assert "body above" in (await probe.look()).detail
        await probe.close()
        mode["hang"] = True
        impatient = HttpProbe(url, (200,), 50)
        assert (await impatient.look()).detail == "no answer within its timeout"
        await impatient.close()
        release.set()
    gone = HttpProbe(url, (200,), 2_000)
    assert not (await gone.look()).passed
    await gone.close()


async def test_exec_tells_the_exit_and_the_last_line() -> None:
    probe = ExecProbe(("/bin/sh", "-c", "echo first; echo disk full; exit 3"), 5_000, measures=False)
    assert await probe.look() == ProbeResult(passed=False, detail="exit code 3: disk full")
    assert (await ExecProbe(("/bin/true",), 5_000, measures=False).look()).passed
    missing = await ExecProbe(("/nonexistent",), 5_000, measures=False).look()
    assert missing.detail == "cannot be started: No such file or directory"
    killed = await ExecProbe(("/bin/sh", "-c", "kill -9 $$"), 5_000, measures=False).look()
    assert killed.detail == "ended by SIGKILL"


@pytest.mark.parametrize(
    ("printed", "value"),
    [("1500", 1500), ("12.6", 13), ("0", 0), ("nan", None), ("-1", None), ("soon", None)],
)
async def test_a_lag_probe_reads_milliseconds(printed: str, value: int | None) -> None:
    result = await ExecProbe(("/bin/echo", printed), 5_000, measures=True).look()
    assert result.passed is (value is not None)
    assert result.value_ms == value


async def test_a_timeout_kills_the_whole_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {pid_file}; wait"
    result = await run_command(("/bin/sh", "-c", script), 300)
    assert result.problem == "no end within its timeout"
    child = int(pid_file.read_text())
    await wait_for(lambda: not runs(child))


async def test_an_escaped_grandchild_delays_nobody(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"setsid sleep 600 & echo $! > {pid_file}; echo done"
    try:
        result = await run_command(("/bin/sh", "-c", script), 60_000)
        assert (result.exit_code, result.output) == (0, "done\n")
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


async def test_output_is_capped() -> None:
    result = await run_command(("/bin/sh", "-c", "head -c 1000000 /dev/zero"), 10_000)
    assert result.exit_code == 0
    assert len(result.output) == OUTPUT_BYTES_MAX


async def test_a_cancelled_look_leaves_nothing(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    look = asyncio.create_task(run_command(("/bin/sh", "-c", f"echo $$ > {pid_file}; exec sleep 600"), 60_000))
    await wait_for(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
    look.cancel()
    with pytest.raises(asyncio.CancelledError):
        await look
    pid = int(pid_file.read_text())
    await wait_for(lambda: not runs(pid))


async def test_commands_get_no_secret_of_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_SECRET", "x")
    result = await run_command(("/usr/bin/env",), 5_000, {"OWN": "1"})
    assert "AGENT_SECRET" not in result.output
    assert "OWN=1" in result.output
    assert "PATH=" in result.output


class Seen:
    def __init__(self) -> None:
        self.results: list[tuple[str, ProbeResult]] = []

    def __call__(self, _group: GroupId, name: str, result: ProbeResult) -> None:
        self.results.append((name, result))

    def of(self, name: str) -> list[ProbeResult]:
        return [result for probe, result in self.results if probe == name]


async def test_a_hung_probe_fails_and_disturbs_nobody() -> None:
    hung, well, seen = MemoryProbe(), MemoryProbe(), Seen()
    hung.answering.clear()
    schedule = ProbeSchedule(
        (ScheduledProbe(GROUP, "hung", hung, 50, 50), ScheduledProbe(GROUP, "well", well, 50, 50)),
        seen,
        lambda: 0.0,
    )
    running = asyncio.create_task(schedule.run())
    await wait_for(lambda: len(seen.of("hung")) >= 3)
    assert all(not result.passed and result.detail == "the look hangs" for result in seen.of("hung"))
    assert hung.looks == 1, "a second look would overlap"
    assert len(seen.of("well")) >= 3
    assert all(result.passed for result in seen.of("well"))
    hung.answering.set()
    await wait_for(lambda: seen.of("hung")[-1].passed)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert hung.closed
    assert well.closed


async def test_a_bug_in_a_probe_ends_the_schedule() -> None:
    class Broken(MemoryProbe):
        async def look(self) -> ProbeResult:
            raise KeyError("bug")

    schedule = ProbeSchedule((ScheduledProbe(GROUP, "p", Broken(), 50, 50),), Seen(), lambda: 0.5)
    with pytest.raises(ExceptionGroup) as caught:
        await schedule.run()
    assert caught.group_contains(KeyError)
