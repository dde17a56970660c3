"""A letter for a command of the operator: JSON on its standard input, a bounded run, and nothing of it left behind.

Exit code 0: taken. 65: do not try it again. Any other, a signal or the end of its time: again, after a pause. What it
writes to stderr helps whoever tests the target, and goes nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from typing import Any, Final

from witness.core.notify.settings import Way
from witness.notify.port import DETAIL_CHARS_MAX, TOLD, Report

EXIT_NEVER: Final = 65
"""EX_DATAERR of sysexits(3)."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT_BYTES: Final = 4 * 1024
_LAST_WORDS_S: Final = 0.2


class CommandDelivery:
    async def deliver(self, way: Way, letter: dict[str, Any]) -> Report:
        environment = {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "THIRDSITE_NOTIFY_ID": str(letter["id"]),
            "THIRDSITE_NOTIFY_TYPE": str(letter["type"]),
            "THIRDSITE_NOTIFY_SEVERITY": str(letter["severity"]),
            "THIRDSITE_NOTIFY_TITLE": str(letter["title"]),
        }
        try:
            process = await asyncio.create_subprocess_exec(
                *way.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "a zero byte in it"
            return Report(ok=False, again=True, text=f"the command cannot be started ({why})")
        return await self._finish(process, way, json.dumps(letter).encode())

    async def _finish(self, process: asyncio.subprocess.Process, way: Way, body: bytes) -> Report:
        said = bytearray()
        code: int | None
        listening = asyncio.create_task(_listen(process, said))
        try:
            async with asyncio.timeout(way.timeout_ms / 1_000):
                await _hand_over(process, body)
                code = await process.wait()
        except TimeoutError:
            code = None
        finally:
            _end(process)
            await asyncio.wait({listening, asyncio.create_task(process.wait())}, timeout=_LAST_WORDS_S)
            listening.cancel()
        if code is None:
            return Report(ok=False, again=True, text=f"not done within {way.timeout_ms} ms: ended", detail=_text(said))
        if code == 0:
            return TOLD
        return Report(ok=False, again=code != EXIT_NEVER, text=f"exit code {code}", detail=_text(said))


async def _hand_over(process: asyncio.subprocess.Process, body: bytes) -> None:
    """A command that does not read is no failure."""
    if process.stdin is None:
        return
    with contextlib.suppress(ConnectionError):
        process.stdin.write(body)
        await process.stdin.drain()
    process.stdin.close()


async def _listen(process: asyncio.subprocess.Process, said: bytearray) -> None:
    while process.stderr is not None:
        piece = await process.stderr.read(_KEPT_BYTES)
        if not piece:
            return
        if len(said) < _KEPT_BYTES:
            said += piece


def _text(said: bytearray) -> str:
    return said.decode("utf-8", "replace").strip()[-DETAIL_CHARS_MAX:]


def _end(process: asyncio.subprocess.Process) -> None:
    """Its whole session, also when the command itself is over and left something behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
