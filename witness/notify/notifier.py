"""Telling people, in the process of a witness: looks at the ledger, has commands committed, hands letters out.

The thinking is done by pure cores (witness/core/notify: desk, reminders, wellness), the delivering by another process
(outlet.py). What is here never waits for either on the loop's time, and no failure of it ends the witness: it is
logged, and tried again at the next look. Everything is bounded by the number of targets.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from proto.clock import Clock
from proto.commands import BeginTelling, Command, EndTelling
from proto.decisions import Reason
from proto.edge.logs import get_logger
from proto.errors import BadValue, ThirdsiteError
from proto.events import Event
from proto.units import GroupId, WallMs
from witness.core.effects import Outcome
from witness.core.notify.desk import Desk, Order, Tell
from witness.core.notify.reminders import Remind, Reminders
from witness.core.notify.rules import SINCE_LEVEL
from witness.core.notify.settings import NotifySettings, Target
from witness.core.notify.state import Telling
from witness.core.notify.wellness import unwell
from witness.notify.letter import Letter, Sender, alarm_fields, of_events, of_reminder, of_test
from witness.notify.monitors import Monitors
from witness.notify.outlet import Outlet
from witness.notify.port import Report
from witness.runtime.driver import Driver
from witness.runtime.facade import Facade

LOOK_S: Final = 0.25
"""A new event is seen within this."""
TEST_S: Final = 12.0
"""Below the limit of an operator's request."""
_SETTLED: Final = frozenset({Reason.ALREADY_SO, Reason.MALFORMED})
"""Somebody else told it, or the lane made room for another one: saying it again changes nothing."""
log = get_logger(__name__)


class LedgerSource:
    """Implements witness.core.notify.desk.Source and witness.notify.monitors.Groups, on a running witness."""

    def __init__(self, driver: Driver, facade: Facade, clock: Clock) -> None:
        self._driver = driver
        self._facade = facade
        self._clock = clock

    @property
    def head(self) -> int:
        return self._facade.events_head()

    @property
    def lanes(self) -> Mapping[str, Telling]:
        return self._driver.node.machine.state.notify.lanes

    def after(self, seq: int, limit: int) -> Sequence[Event]:
        return self._facade.events(seq, limit)

    def before(self, seq: int) -> Iterable[Event]:
        return (event for event in reversed(self._driver.node.machine.state.ledger.recent) if event.seq < seq)

    def names(self) -> list[GroupId]:
        return self._facade.group_names()

    def unwell(self, group: GroupId, *, standby: bool) -> str:
        node = self._driver.node
        state, now = node.machine.state.groups.get(group), self._clock.now()
        return "" if state is None else unwell(state, node.sight(group, now), now, standby=standby)

    def cluster_unwell(self) -> str:
        leading, has_quorum, caught_up = self._facade.place()
        if not (leading and has_quorum and caught_up):
            return "this witness does not lead a majority"
        missing = self._facade.peering().get("unconnected") or {}
        return f"no connection with {', '.join(sorted(missing))}" if missing else ""


class Notifier:
    """Made and used on the witness's event loop."""

    def __init__(
        self,
        settings: NotifySettings,
        sender: Sender,
        driver: Driver,
        source: LedgerSource,
        outlet: Outlet,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self._sender = sender
        self._driver = driver
        self._source = source
        self._outlet = outlet
        self._clock = clock
        self._desk = Desk(settings, sender.cluster, sender.witness)
        self._reminders = Reminders(settings, sender.cluster)
        self._monitors = Monitors(settings.monitors, sender, outlet, source)
        self._zones = _zones(settings)
        self._tasks: set[asyncio.Task[None]] = set()
        self._led = False

    # -- life -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self._look()
            except Exception:  # telling people is no reason to end a witness
                log.exception("notify_failed")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._outlet.close()

    def _look(self) -> None:
        state, seen = self._driver.node.machine.state, self._driver.node.consensus
        leading = seen.leading and seen.has_quorum and seen.caught_up and state.feature_level >= SINCE_LEVEL
        if leading and not self._led:
            self._spawn(self._outlet.prepare())
        self._led = leading
        self._desk.lead(leading=leading)
        self._reminders.lead(leading=leading)
        now, wall_ms = self._clock.now(), self._clock.read().wall_ms
        for order in self._desk.step(self._source, now, wall_ms, self._offsets(wall_ms)):
            self._carry_out(order)
        if not leading:
            return
        for remind in self._reminders.step(state.notify.alarms, wall_ms):
            self._spawn(self._remind(remind))
        for monitor in self._monitors.due(now):
            self._spawn(self._monitors.ping(monitor, now))

    def _offsets(self, wall_ms: WallMs) -> dict[str, int]:
        offsets: dict[str, int] = {}
        for name, zone in self._zones.items():
            offset = datetime.fromtimestamp(wall_ms / 1_000, zone).utcoffset()
            offsets[name] = 0 if offset is None else int(offset.total_seconds()) // 60
        return offsets

    # -- orders ---------------------------------------------------------------------------------------------

    def _carry_out(self, order: Order) -> None:
        if isinstance(order, Tell):
            self._spawn(self._tell(order))
        elif isinstance(order, BeginTelling):
            self._spawn(self._begin(order))
        else:
            self._spawn(self._end(order))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("notify_failed", error=repr(task.exception()))

    async def _begin(self, order: BeginTelling) -> None:
        outcome = await self._submit(order)
        for later in self._desk.begun(order.lane, self._source, self._clock.now(), ok=outcome.ok):
            self._carry_out(later)

    async def _end(self, order: EndTelling) -> None:
        outcome = await self._submit(order)
        self._desk.over(order.lane, ok=outcome.ok or outcome.reason in _SETTLED)

    async def _submit(self, command: Command) -> Outcome:
        try:
            return await self._driver.submit(command)
        except ThirdsiteError as error:  # too much waits already
            return Outcome(Reason.OVERLOADED, str(error))

    async def _tell(self, order: Tell) -> None:
        report = Report(ok=False, again=True, text="the letter could not be made")
        try:
            report = await self._outlet.send(order.target.way, of_events(self._sender, order))
        finally:  # whatever happened: the lane goes on
            found = self._desk.answered(
                order.lane, self._clock.now(), ok=report.ok, again=report.again, text=report.text
            )
            for later in found:
                self._carry_out(later)
        said = {"target": order.target.name, "lane": order.lane, "events": len(order.found), "attempt": order.attempt}
        if report.ok:
            log.info("told", **said)
        else:
            log.warning("not_told", **said, why=report.text, again=report.again)

    async def _remind(self, remind: Remind) -> None:
        report = await self._outlet.send(remind.target.way, of_reminder(self._sender, remind))
        log.info(
            "reminded", target=remind.target.name, alarms=len(remind.alarms), ok=report.ok, why=report.text or None
        )

    # -- what operators ask -----------------------------------------------------------------------------------

    def view(self) -> dict[str, Any]:
        now, state = self._clock.now(), self._driver.node.machine.state.notify
        lanes = []
        for seen in self._desk.view():
            telling = state.lanes.get(f"{seen['target']}.{seen['lane']}")
            replicated = {
                "told": None if telling is None else telling.told,
                "under_way": telling is not None and telling.upto > telling.told,
                "by": None if telling is None else telling.witness,
                "failing": telling is not None and telling.failing,
            }
            lanes.append({**seen, **replicated})
        return {
            "witness": self._sender.witness,
            "head": self._source.head,
            "targets": [_target_view(target) for target in self.settings.targets],
            "lanes": lanes,
            "alarms": [alarm_fields(number, alarm) for number, alarm in sorted(state.alarms.items())],
            "monitors": self._monitors.view(now),
        }

    async def test(self, name: str, author: str) -> list[dict[str, Any]]:
        """One letter to a target, or to each. Raises BadValue for a name that is none."""
        chosen = self.settings.targets if not name else tuple(one for one in (self.settings.target(name),) if one)
        if not chosen:
            known = ", ".join(target.name for target in self.settings.targets) or "none"
            raise BadValue("target", name, f"this witness knows: {known}", "use one of them, or none for all")
        return list(await asyncio.gather(*(self._test(target, author) for target in chosen)))

    async def _test(self, target: Target, author: str) -> dict[str, Any]:
        begun = self._clock.now()
        letter: Letter = of_test(self._sender, target.name, secrets.token_hex(16), author)
        try:
            async with asyncio.timeout(TEST_S):
                report = await self._outlet.send(target.way, letter)
        except TimeoutError:
            report = Report(ok=False, text=f"no end within {TEST_S:.0f} s")
        took_ms = (self._clock.now() - begun) // 1_000_000
        return {
            "target": target.name,
            "means": target.way.means,
            "ok": report.ok,
            "text": report.text,
            "detail": report.detail,
            "took_ms": took_ms,
        }


def _zones(settings: NotifySettings) -> dict[str, ZoneInfo]:
    """A zone that this machine does not know is never quiet: everything is told."""
    found: dict[str, ZoneInfo] = {}
    for name in sorted({hours.time_zone for hours in settings.quiet_hours}):
        try:
            found[name] = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            log.warning("time_zone_unknown", zone=name, consequence="its quiet hours hold nothing back")
    return found


def _target_view(target: Target) -> dict[str, Any]:
    """Without files and addresses."""
    return {
        "target": target.name,
        "means": target.way.means,
        "severity": target.severity,
        "groups": list(target.groups),
        "quiet_hours": list(target.quiet_hours),
        "remind": target.remind,
    }
