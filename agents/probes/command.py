"""Runs one short command to its end or its timeout, and keeps the head of what it prints.

Rule: the command has its own process group and session, gets nothing of the agent's but PATH and locale, and is
killed with its whole group at the timeout and when the look is cancelled. A grandchild that left the group and
holds the pipe delays nobody: the result is there when the command itself has ended.
Used by exec probes and by checks that something is down; never by activation steps, which run under the guard.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass

OUTPUT_BYTES_MAX = 16 * 1024
"""Kept of what a command prints; the rest is read and thrown away."""
DRAIN_S = 0.1
"""How long the output may still come after the command ended."""
KILL_WAIT_S = 1.0
INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class CommandResult:
    exit_code: int | None
    """None: not started or killed at the timeout; negative: the signal that ended it."""
    output: str
    problem: str = ""
    """Why there is no exit code, in words without figures that change."""

    @property
    def words(self) -> str:
        if self.problem:
            return self.problem
        code = self.exit_code or 0
        return f"exit code {code}" if code >= 0 else f"ended by {signal_name(-code)}"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def base_environment() -> dict[str, str]:
    """What every command of the platform gets beside its own variables."""
    return {"PATH": DEFAULT_PATH} | {name: os.environ[name] for name in INHERITED if name in os.environ}


class _Command(asyncio.SubprocessProtocol):
    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.output = bytearray()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.drained: asyncio.Future[None] = loop.create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        del fd
        self.output += data[: OUTPUT_BYTES_MAX - len(self.output)]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        del fd, exc
        if not self.drained.done():
            self.drained.set_result(None)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)


async def run_command(argv: tuple[str, ...], timeout_ms: int, env: dict[str, str] | None = None) -> CommandResult:
    """Never raises for what the command does; at most one process group is alive, and none after the return."""
    loop = asyncio.get_running_loop()
    try:
        started = await loop.subprocess_exec(
            _Command,
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            cwd="/",
            env=base_environment() | (env or {}),
        )
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return CommandResult(None, "", f"cannot be started: {words}")
    transport, command = started
    try:
        return await _finish(transport, command, timeout_ms)
    finally:
        await _end(transport, command)


async def _finish(transport: asyncio.SubprocessTransport, command: _Command, timeout_ms: int) -> CommandResult:
    await asyncio.wait({command.exited}, timeout=timeout_ms / 1_000)
    if not command.exited.done():
        return CommandResult(None, _text(command.output), "no end within its timeout")
    await asyncio.wait({command.drained}, timeout=DRAIN_S)
    return CommandResult(transport.get_returncode(), _text(command.output))


async def _end(transport: asyncio.SubprocessTransport, command: _Command) -> None:
    """Kills only while the process is not reaped: until then its group cannot be anybody else's."""
    try:
        if transport.get_returncode() is None:
            # Gone already, or another user's by now: then close() below is all that is left.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
            await asyncio.wait({command.exited}, timeout=KILL_WAIT_S)
    finally:
        transport.close()


def _text(output: bytearray) -> str:
    return output.decode("utf-8", "replace")
