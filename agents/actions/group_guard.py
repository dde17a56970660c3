"""(12) The one guard of a group, from its start to its proven end.

Rule: a guard that was asked for is always known here, also when its plan is gone meanwhile; it is watched, and an end
that nobody asked for is told as lost. The next guard is started while the group is dormant, unarmed and holding
nothing: a takeover does not wait for an interpreter to start, and how processes can be held here is known before it
matters. A guard looks for what is required of its host when it starts. While a dormant one lacks something, the site is
not eligible; it is replaced again and again, sooner at first, so that what comes back (the driver of a watchdog) is
seen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from agents.actions.again import LACKING_AGAIN_S, SPARE_AGAIN_S, again_s
from agents.actions.arming import Arming
from agents.actions.holding import LacksReport, containment_words, down_words
from agents.actions.parts import RunnerParts, RunnerReports
from agents.fencing.base import Down, Guard, GuardError
from proto.units import NS_PER_MS, Epoch, GroupId


class GroupGuard:
    """Owned by one runner."""

    def __init__(
        self,
        group: GroupId,
        parts: RunnerParts,
        reports: RunnerReports,
        lacks: LacksReport,
        arming: Arming,
        may_prepare: Callable[[], Awaitable[bool]],
        epoch_seen: Epoch,
    ) -> None:
        """`may_prepare`: waits until nothing is looked for any more; False: a plan or a fence has come.

        `epoch_seen`: the highest epoch that this host ever acted upon; guards refuse it and all below.
        """
        self.guard: Guard | None = None
        self.end_asked = False
        self.replacing: asyncio.Task[None] | None = None
        """A dormant guard that lacks something is being ended; a plan waits for it."""
        self._group = group
        self._parts = parts
        self._reports = reports
        self._lacks = lacks
        self._arming = arming
        self._may_prepare = may_prepare
        self._epoch_seen = epoch_seen
        self._starting: asyncio.Future[Guard] | None = None
        self._spare_task: asyncio.Task[None] | None = None
        self._log = structlog.stdlib.get_logger("agents.actions").bind(group=group)

    @property
    def there(self) -> bool:
        """A guard lives, or is about to."""
        return self.guard is not None or self._starting is not None

    def adopt(self, guard: Guard) -> None:
        """An armed guard of a former process of this incarnation."""
        self.guard = guard
        self._parts.spawn(self._watch(guard), f"guard {self._group}")
        self._parts.spawn(self._tell_taken_over(guard), f"containment {self._group}")

    # -- before it is needed --------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Proven down: the guard of the next activation may start now."""
        if self._spare_task is None or self._spare_task.done():
            self._spare_task = self._parts.spawn(self._keep_spare(), f"next guard {self._group}")

    async def _keep_spare(self) -> None:
        failed = lacking = 0
        while await self._may_prepare() and not self.there:
            self.end_asked = False
            try:
                guard = await self._started(self._epoch_seen)
                lacks = await self._tell_ready(guard)
            except (GuardError, OSError) as error:
                words = f"no guard can be started: {error}"
                self._log.error("guard.start", why=words)
                self._reports.guard_containment(self._group, words)
                await asyncio.sleep(again_s(SPARE_AGAIN_S, failed))
                failed += 1
                continue
            if not lacks:
                return
            await asyncio.sleep(again_s(LACKING_AGAIN_S, lacking))
            lacking += 1
            if not await self._may_prepare() or self.guard is not guard or self._arming.latest is not None:
                return
            self.replacing = self._parts.spawn(self._end_lacking(guard), f"replace guard {self._group}")
            await asyncio.wait({self.replacing})

    async def _end_lacking(self, guard: Guard) -> None:
        """It was never armed. What cannot be proven of it here is proven by the next plan."""
        self.guard = None
        with contextlib.suppress(GuardError):
            await guard.fence()
        await self._parts.release_guard(guard)

    async def _tell_ready(self, guard: Guard) -> tuple[str, ...]:
        """What it lacks."""
        status = await guard.status()
        self._lacks.ready(status)
        self._reports.guard_containment(self._group, containment_words(status))
        return status.missing

    async def _tell_taken_over(self, guard: Guard) -> None:
        with contextlib.suppress(GuardError):  # then its end is told by its watch
            await self._tell_ready(guard)

    # -- its life -------------------------------------------------------------------------------------------

    async def for_epoch(self, epoch: Epoch) -> Guard:
        """The dormant one, unless it is gone. An epoch that was begun here is never begun again, by whichever guard."""
        finished = self._epoch_seen
        self._epoch_seen = Epoch(max(finished, epoch))
        await self._has_started()
        return self.guard or await self._started(Epoch(max(finished, epoch - 1)))

    def goes_on_under(self, epoch: Epoch) -> None:
        """What runs was granted a later epoch in place: no later guard begins it again."""
        self._epoch_seen = Epoch(max(self._epoch_seen, epoch))

    async def _has_started(self) -> None:
        if self._starting is not None:
            await asyncio.wait({self._starting})

    async def _started(self, finished: Epoch) -> Guard:
        """Shielded: see the rule."""
        self._starting = asyncio.ensure_future(self._parts.start_guard(self._group, finished))
        self._starting.add_done_callback(self._took)
        return await asyncio.shield(self._starting)

    def _took(self, starting: asyncio.Future[Guard]) -> None:
        self._starting = None
        if starting.cancelled() or starting.exception() is not None:
            return
        self.guard = starting.result()
        self._parts.spawn(self._watch(self.guard), f"guard {self._group}")

    async def _watch(self, guard: Guard) -> None:
        try:
            down = await guard.wait_down()
            text = down.cause
        except GuardError as error:
            text = str(error)
        if guard is not self.guard or self.end_asked:
            return
        if self._arming.latest is None:
            self._log.warning("guard.lost", why=text, while_="dormant")
            self.guard = None
            await self._parts.release_guard(guard)
            self.prepare()
        else:
            self._reports.guard_lost(self._group, text)

    # -- its end --------------------------------------------------------------------------------------------

    def ask_end(self) -> None:
        self.end_asked = True
        self._arming.detach()

    async def end(self, grace_ms: int | None) -> Down | None:
        """With a grace: stop; without: fence. Afterwards the guard is spent and its end proven."""
        await self._has_started()
        guard = self.guard
        if guard is None:
            return None
        down = await (guard.fence() if grace_ms is None else guard.stop(grace_ms * NS_PER_MS))
        self._log.info("guard.down", **down_words(down))
        if self.guard is guard:
            self.guard = None
        await self._parts.release_guard(guard)
        return down

    async def forget(self, guard: Guard) -> None:
        """Its end is proven otherwise."""
        if self.guard is guard:
            self.guard = None
            await self._parts.release_guard(guard)
