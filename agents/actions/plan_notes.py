"""The journal of a group's plans, as its runner uses it: in order, off the loop, and never in the way of a stop.

Rule: one write at a time; a caller that is cut short leaves its write to end before the next one begins. Who
activates may not go on without its mark (`must`); who stops or takes back goes on without it, because a full disk
must not keep a platform running (`may`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from agents.actions.parts import RunnerParts
from agents.actions.plan_journal import PlanJournal
from agents.core.effects import StartPlan
from agents.core.plan_progress import BadMark, Mark, PlanHeader, PlanProgress
from agents.settings import StepSpec
from proto.errors import DurabilityLost


class StepFailed(Exception):
    """A step, or a plan, did not succeed; the text says which, why, and what it printed last."""


class PlanNotes:
    """Owned by one runner."""

    def __init__(self, journal: PlanJournal | None) -> None:
        """None: nothing is kept (a group that is only watched)."""
        self._journal = journal
        self._writing: asyncio.Future[None] | None = None
        self._log = structlog.stdlib.get_logger("agents.actions")

    @property
    def progress(self) -> PlanProgress | None:
        return None if self._journal is None else self._journal.progress

    @property
    def damage(self) -> str:
        return "" if self._journal is None else self._journal.damage

    async def begin(self, header: PlanHeader) -> None:
        """Raises DurabilityLost."""
        journal = self._journal
        if journal is not None:
            await self._write(lambda: journal.begin(header))

    async def begin_plan(self, plan: StartPlan, steps: Sequence[StepSpec], parts: RunnerParts) -> None:
        """Raises DurabilityLost; and StepFailed for a plan that cannot go on where a former agent left it."""
        names = tuple(step.name for step in steps)
        noted = self.progress
        if plan.resumed and noted is not None and noted.header.plan == plan.plan and noted.header.kind is plan.kind:
            if not noted.may_resume(names):
                raise StepFailed(
                    "it cannot go on where the former agent left it: a step failed, or its steps are others now"
                )
            return
        await self.begin(
            PlanHeader(
                plan=plan.plan,
                kind=plan.kind,
                epoch=plan.epoch,
                cause=plan.cause,
                incarnation=parts.incarnation(),
                boot_id=parts.boot_id,
                began_ns=parts.clock.now(),
                steps=names,
            )
        )

    async def must(self, mark: Mark) -> None:
        """Raises DurabilityLost: then nothing that rests on the mark may happen."""
        journal = self._journal
        if journal is not None and journal.progress is not None:
            await self._write(lambda: journal.note(mark))

    async def may(self, mark: Mark) -> None:
        try:
            await self.must(mark)
        except (DurabilityLost, BadMark) as error:
            self._log.error("plan.not-noted", why=str(error))

    async def clear(self) -> None:
        journal = self._journal
        if journal is None:
            return
        try:
            await self._write(journal.clear)
        except DurabilityLost as error:
            self._log.error("plan.not-noted", why=str(error))

    async def _write(self, work: Callable[[], None]) -> None:
        while self._writing is not None and not self._writing.done():
            await asyncio.wait({self._writing})
        self._writing = asyncio.ensure_future(asyncio.to_thread(work))
        self._writing.add_done_callback(_seen)
        await asyncio.shield(self._writing)


def _seen(future: asyncio.Future[None]) -> None:
    """Its error was for whoever waited; one that was cut short has a later look at the journal."""
    if not future.cancelled():
        future.exception()
