"""Has a running witness's groups judged, a few at a time: measurements (core/notify/watch.py), and who could take over.

The second of them (core/notify/standby.py) looks more often: what it tells of lasts half a minute.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Final

from proto.clock import Clock
from proto.commands import NoteStandby, NoteUnusual
from proto.edge.logs import get_logger
from proto.errors import ThirdsiteError
from witness.core.notify.rules import SINCE_LEVEL
from witness.core.notify.standby import StandbyWatch
from witness.core.notify.watch import PERIOD_S, Sample, Watch, lag_samples, left_behind
from witness.runtime.driver import Driver

SLICE: Final = 50
"""Groups that are looked at before the others on this thread have their turn."""
STANDBY_S: Final = 5
log = get_logger(__name__)


class Looker(ABC):
    """Made and used on the witness's event loop. What fails here is logged, and ends nothing."""

    period_s = PERIOD_S

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.period_s)
            try:
                await self.look()
            except Exception:  # what people are told is no reason to end a witness
                log.exception("watch_failed")

    @abstractmethod
    async def look(self) -> None:
        """Once, at every group."""

    async def _note(self, command: NoteUnusual | NoteStandby) -> None:
        if not self._leads():
            return
        try:
            await self._driver.submit(command)
        except ThirdsiteError as error:  # too much waits already; the next period says it again
            log.info("not_noted", group=command.group, text=command.text, error=str(error))

    def _leads(self) -> bool:
        seen, level = self._driver.node.consensus, self._driver.node.machine.state.feature_level
        return seen.leading and seen.has_quorum and seen.caught_up and level >= SINCE_LEVEL


class Watcher(Looker):
    """Measurements against their own history."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self._watch = Watch()

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
        for command in left_behind(state.notify.unusual, state.groups):
            await self._note(command)

    async def _judge(self, sample: Sample) -> None:
        command = self._watch.judge(sample, self._driver.node.machine.state.notify.unusual)
        if command is not None:
            await self._note(command)


class StandbyWatcher(Looker):
    """Dormant sites that are silent, and groups that nobody could take over."""

    period_s = STANDBY_S

    def __init__(self, driver: Driver, clock: Clock) -> None:
        super().__init__(driver)
        self._clock = clock
        self._watch = StandbyWatch()

    async def look(self) -> None:
        node = self._driver.node
        groups = node.machine.state.groups
        self._watch.forget([name for name in self._watch.known if name not in groups])
        for place, name in enumerate(list(groups)):
            if place % SLICE == 0:
                await asyncio.sleep(0)
            group, now = groups.get(name), self._clock.now()
            for command in () if group is None else self._watch.look(group, node.sight(name, now), now):
                await self._note(command)
