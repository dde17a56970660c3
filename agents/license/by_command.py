"""A key that a command of the operator's prints, or takes on its standard input.

Rule: exit code 0 and nothing printed means that there is no key; any other exit code is no answer. What it prints
beside is thrown away. The key is never part of an argument or of the environment, which others can see.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from agents.license.place import (
    SINK_REFUSED,
    SINK_UNREACHABLE,
    SOURCE_UNREACHABLE,
    PlaceFault,
    too_long,
    without_newline,
)
from agents.license.spec import VALUE_BYTES_MAX
from agents.probes.command import base_environment, signal_name

END_S = 1.0


class CommandPlace:
    """A source or a sink, as it is called."""

    def __init__(self, argv: tuple[str, ...], timeout_ms: int, about: dict[str, str]) -> None:
        """`about`: group, site and license, for the command's environment."""
        self._argv = argv
        self._timeout_s = timeout_ms / 1_000
        self._about = about

    async def read(self) -> bytes | None:
        code, output = await self._run(b"", SOURCE_UNREACHABLE)
        if code:
            raise PlaceFault(SOURCE_UNREACHABLE, f"{self._argv[0]}: {_words(code)}")
        if len(output) > VALUE_BYTES_MAX + 2:
            raise too_long(VALUE_BYTES_MAX)
        return without_newline(output)

    async def write(self, value: bytes) -> None:
        code, _ = await self._run(value + b"\n", SINK_UNREACHABLE)
        if code:
            raise PlaceFault(SINK_REFUSED, f"{self._argv[0]}: {_words(code)}")

    async def close(self) -> None:
        """Nothing is held."""

    async def _run(self, given: bytes, fault: str) -> tuple[int, bytes]:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env=base_environment() | self._about,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "its words cannot be used"
            raise PlaceFault(fault, f"{self._argv[0]} cannot be started: {why}") from None
        try:
            async with asyncio.timeout(self._timeout_s):
                return await _spoken(process, given)
        except TimeoutError:
            raise PlaceFault(fault, f"{self._argv[0]}: no end within its timeout") from None
        finally:
            await _end(process)


async def _spoken(process: asyncio.subprocess.Process, given: bytes) -> tuple[int, bytes]:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may end without reading
            process.stdin.write(given)
            await process.stdin.drain()
        process.stdin.close()
    output = b""
    while process.stdout is not None and (chunk := await process.stdout.read(4_096)):
        output += chunk[: VALUE_BYTES_MAX + 3 - len(output)]
    return await process.wait(), output


async def _end(process: asyncio.subprocess.Process) -> None:
    """With what it started in its group; and its pipes, whoever may still hold their other ends."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), END_S)
    transport: asyncio.SubprocessTransport | None = getattr(process, "_transport", None)  # there is no public way
    if transport is not None:
        transport.close()
    await asyncio.sleep(0)  # what was closed is told to the loop in its next turn


def _words(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"ended by {signal_name(-code)}"
