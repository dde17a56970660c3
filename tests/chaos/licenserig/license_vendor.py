"""The vendor of a run, a process of its own: who is let in, who lives, and the record that the run is judged by.

    license_vendor.py ADDRESS PORT SESSIONS_PORT RECORD FIRST_KEY

Its law is that of `navixy_vendor.Vendor`: a key is usable once and in one place, else the license is dead for good. It
is stricter in one thing: an instance lives until the kernel closed its connection, however long it says nothing, so
that a frozen one counts as active. Everything is appended to RECORD as one JSON object a line, before it is answered.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from aiohttp import web

INTEGRATION = Path(__file__).resolve().parents[2] / "integration"
if str(INTEGRATION) not in sys.path:
    sys.path.insert(0, str(INTEGRATION))  # there are no packages in tests/
from navixy_vendor import Vendor  # noqa: E402  # after the line above

LINE_BYTES_MAX = 4_096


@dataclass(slots=True)
class SessionVendor(Vendor):
    """`open` are the connections by instance: as many as services that live."""

    record: IO[str] = sys.stdout
    open: dict[str, int] = field(default_factory=dict)

    def note(self, what: str, **said: Any) -> None:
        at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.record.write(json.dumps({"at_ns": at_ns, "what": what, **said}) + "\n")
        self.record.flush()

    def _lives(self) -> bool:
        return self._instance in self.open

    def _violated(self, words: str) -> web.Response:
        self.note("violation", words=words)
        return Vendor._violated(self, words)

    async def _exchange(self, request: web.Request) -> web.Response:
        said: dict[str, Any] = await request.json()
        begun = len(self.activations)
        answer = await Vendor._exchange(self, request)
        if answer.status == 200:
            started = len(self.activations) > begun
            self.note("exchange", site=said["site"], instance=said["instance"], started=started, key=self.key)
        return answer

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Of one service, until its connection is closed; the kernel does that when it is dead."""
        name = ""
        try:
            line = await reader.readline()
            if not line:
                return
            said = json.loads(line)
            name = f"{said['site']} {said['service']} {said['instance']}"
            self.open[said["instance"]] = self.open.get(said["instance"], 0) + 1
            self.note("open", site=said["site"], service=said["service"], instance=said["instance"])
            while await reader.read(LINE_BYTES_MAX):
                continue
        except OSError:
            return  # a reset is an end, too
        finally:
            writer.close()
            if name:
                del self.open[said["instance"]]
                self.note("closed", site=said["site"], service=said["service"], instance=said["instance"])


async def serve(address: str, port: int, sessions_port: int, record: Path, key: str) -> None:
    with record.open("w", encoding="utf-8") as file:
        vendor = SessionVendor(key, record=file)
        sessions = await asyncio.start_server(vendor.session, address, sessions_port, limit=LINE_BYTES_MAX)
        await vendor.start(address, port)
        vendor.note("begins", key=key)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        try:
            await ended.wait()
        finally:
            sessions.close()
            await vendor.stop()


if __name__ == "__main__":
    where, its_port, their_port, to, first = sys.argv[1:]
    asyncio.run(serve(where, int(its_port), int(their_port), Path(to), first))
