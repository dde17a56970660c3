"""The witness's end of the pipe to the process that delivers: started when there is something to tell, and again.

Bounded: PENDING_MAX deliveries at once, each with an end in time whatever the other process does; what it was too
busy to begin by then it leaves alone. A process that says nothing at all for SILENT_MAX_S is ended, and started anew
after a pause that grows; to end it sooner would have a starved one begin from its start for ever. Nothing here waits
for a receiver.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
from typing import Any, Final, Protocol

from proto.clock import Clock
from proto.edge.logs import get_logger
from proto.units import NS_PER_S
from witness.core.notify.settings import Way
from witness.notify.letter import Letter
from witness.notify.port import Report

PENDING_MAX: Final = 60
SLACK_S: Final = 5.0
"""Beyond the way's own time limit, which the other process keeps."""
SILENT_MAX_S: Final = 180.0
PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 60.0
COMMAND: Final = (sys.executable, "-P", "-m", "witness.notify.worker")
LOADING: Final = "--apprise"
"""Has the process load the library at its start."""
log = get_logger(__name__)


class Outlet(Protocol):
    async def prepare(self) -> None: ...
    async def send(self, way: Way, letter: Letter) -> Report:
        """Within the way's time limit and SLACK_S; never raises."""

    async def close(self) -> None: ...


class WorkerOutlet:
    def __init__(self, clock: Clock, command: tuple[str, ...] = COMMAND) -> None:
        self._clock = clock
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._pending: dict[int, asyncio.Future[Report]] = {}
        self._number = 0
        self._pause_s = PAUSE_FIRST_S
        self._not_before = 0
        self._heard = 0
        """When the process said something, or was started."""
        self._closed = False

    async def send(self, way: Way, letter: Letter) -> Report:
        if len(self._pending) >= PENDING_MAX:
            return Report(ok=False, again=True, text="too many deliveries are under way")
        try:
            async with asyncio.timeout(way.timeout_ms / 1_000 + SLACK_S):
                return await self._ask(way, letter)
        except TimeoutError:
            self._end_if_silent()
            return Report(ok=False, again=True, text="the process that delivers did not answer in time")
        except OSError as error:
            return Report(ok=False, again=True, text=f"the process that delivers is gone ({error.strerror})")

    async def prepare(self) -> None:
        """Starts the process before there is something to tell: what it loads takes seconds."""
        try:
            async with self._starting:
                await self._running()
        except OSError as error:
            log.warning("delivering_process_not_started", error=str(error))

    def _end_if_silent(self) -> None:
        if self._clock.now() - self._heard >= SILENT_MAX_S * NS_PER_S:
            log.warning("delivering_process_silent", consequence="it is ended and started anew")
            self._kill()

    async def _ask(self, way: Way, letter: Letter) -> Report:
        until_ns = self._clock.now() + int((way.timeout_ms / 1_000 + SLACK_S) * NS_PER_S)
        async with self._starting:
            process = await self._running()
        if process is None or process.stdin is None:
            return Report(ok=False, again=True, text="the process that delivers ended; it is started anew")
        self._number += 1
        number = self._number
        future: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            order = {"id": number, "until_ns": until_ns, "way": dataclasses.asdict(way), "letter": letter.to_json()}
            process.stdin.write(json.dumps(order).encode() + b"\n")
            await process.stdin.drain()
            return await future
        finally:
            self._pending.pop(number, None)

    async def _running(self) -> asyncio.subprocess.Process | None:
        """None during the pause after its end."""
        if self._process is not None and self._process.returncode is None:
            return self._process
        if self._closed or self._clock.now() < self._not_before:
            return None
        self._not_before = self._clock.now() + int(self._pause_s * NS_PER_S)
        self._pause_s = min(PAUSE_MAX_S, self._pause_s * 2)
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self._heard = self._clock.now()
        self._reading = asyncio.create_task(self._read(self._process), name="notify-reports")
        return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        while process.stdout is not None:
            try:
                line = await process.stdout.readline()
                said: dict[str, Any] = json.loads(line) if line else {}
            except ValueError:
                break  # not ours, or too long: as good as gone
            if not line:
                break
            self._heard = self._clock.now()
            future = self._pending.get(said.pop("id"))
            if future is not None and not future.done():
                future.set_result(Report(**said))
                self._pause_s = PAUSE_FIRST_S
        self._kill(process)
        code = await process.wait()
        if not self._closed:
            log.warning("delivering_process_ended", code=code)
        for future in self._pending.values():
            if not future.done():
                future.set_result(Report(ok=False, again=True, text="the process that delivers ended"))

    def _kill(self, process: asyncio.subprocess.Process | None = None) -> None:
        process = process or self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def close(self) -> None:
        self._closed = True
        self._kill()
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=1.0)
