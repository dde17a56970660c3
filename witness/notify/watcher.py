"""Has the measurements of a running witness judged, once a period, a few groups at a time (core/notify/watch.py)."""

from __future__ import annotations

import asyncio
from typing import Final

from proto.edge.logs import get_logger
from proto.errors import ThirdsiteError
from witness.core.notify.rules import SINCE_LEVEL
from witness.core.notify.watch import PERIOD_S, Sample, Watch, lag_samples, left_behind
from witness.runtime.driver import Driver

SLICE: Final = 50
"""Groups that are looked at before the others on this thread have their turn."""
log = get_logger(__name__)


class Watcher:
    """Made and used on the witness's event loop. What fails here is logged, and ends nothing."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._watch = Watch()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self.look()
            except Exception:  # measurements are no reason to end a witness
                log.exception("watch_failed")

    async def look(self) -> None:
        node = self._driver.node
        for sample in self._watch.measured(node.measures):
            await self._judge(sample)
        for place, name in enumerate(list(node.machine.state.groups)):
            if place % SLICE == 0:
                await asyncio.sleep(0)
            group = node.machine.state.groups.get(name)
            for sample in () if group is None else list(lag_samples(name, group)):
                await self._judge(sample)
        state = node.machine.state
        for command in left_behind(state.notify.unusual, state.groups) if self._leads() else ():
            await self._driver.submit(command)

    async def _judge(self, sample: Sample) -> None:
        command = self._watch.judge(sample, self._driver.node.machine.state.notify.unusual)
        if command is None or not self._leads():
            return
        try:
            await self._driver.submit(command)
        except ThirdsiteError as error:  # too much waits already; the next period says it again
            log.info("not_noted", series=command.series, error=str(error))

    def _leads(self) -> bool:
        seen, level = self._driver.node.consensus, self._driver.node.machine.state.feature_level
        return seen.leading and seen.has_quorum and seen.caught_up and level >= SINCE_LEVEL
