"""The process that delivers: `python -m witness.notify.worker`, started by a witness that has something to tell.

Orders come as lines of JSON on stdin, reports go as lines to stdout; it ends with its stdin. It reads the secrets, it
loads what means need, it waits for receivers, at a lower priority than the witness, which loses nothing when this one
is killed: what was not reported is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from proto.clock import Clock, SystemClock
from proto.edge.logs import setup_logging
from proto.units import NS_PER_S
from witness.core.notify.settings import Means, Way
from witness.notify.apprise_body import HUNG_MAX, AppriseDelivery, warm_up
from witness.notify.command import CommandDelivery
from witness.notify.outlet import LOADING
from witness.notify.port import Delivery, Report
from witness.notify.webhook import WebhookDelivery

LINE_BYTES_MAX: Final = 256 * 1024
UNDER_WAY_MAX: Final = 64
NICE: Final = 5
"""More would keep an alarm from a starved machine, which is when there is one."""


def bodies() -> dict[str, Delivery]:
    clock = SystemClock()
    web = WebhookDelivery(lambda: clock.read().wall_ns // NS_PER_S)
    return {
        Means.WEBHOOK.value: web,
        Means.GET.value: web,
        Means.POST.value: web,
        Means.EXEC.value: CommandDelivery(),
        Means.APPRISE.value: AppriseDelivery(clock),
    }


class Worker:
    def __init__(self, by_means: dict[str, Delivery], clock: Clock) -> None:
        self._by_means = by_means
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Until the end of the orders."""
        while line := await reader.readline():
            order = json.loads(line)
            if len(self._tasks) >= UNDER_WAY_MAX:
                _say(order["id"], Report(ok=False, again=True, text="too many deliveries are under way"))
                continue
            task = asyncio.create_task(self._one(order))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, order: dict[str, Any]) -> None:
        if (
            self._clock.now() >= order["until_ns"]
        ):  # the witness has given this attempt up: sent now, it would come twice
            _say(order["id"], Report(ok=False, again=True, text="too late"))
            return
        raw = order["way"]
        way = Way(**{**raw, "command": tuple(raw["command"])})
        try:
            report = await self._by_means[way.means].deliver(way, order["letter"])
        except Exception as error:  # noqa: BLE001  # a fault of one means is no reason to leave the others untold
            report = Report(ok=False, again=True, text=f"the {way.means} means failed ({type(error).__name__})")
        _say(order["id"], report)


def _say(number: int, report: Report) -> None:
    sys.stdout.write(json.dumps({"id": number, **dataclasses.asdict(report)}) + "\n")
    sys.stdout.flush()


async def serve() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=UNDER_WAY_MAX + HUNG_MAX))
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    if LOADING in sys.argv[1:]:
        loading = asyncio.create_task(asyncio.to_thread(warm_up))
        loading.add_done_callback(lambda _: None)
    await Worker(bodies(), SystemClock()).run(reader)


def main() -> None:
    setup_logging(json=True)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    asyncio.run(serve())
    sys.stdout.flush()
    os._exit(0)  # threads that hang must not keep it


if __name__ == "__main__":
    main()
