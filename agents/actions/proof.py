"""Proves that nothing of a group runs on this host in the active role; silence is no proof.

Five parts, all of which must hold: each member of the site is verified down or out of authority, no former guard is
left (records, by pid and start time), no exec guard says that something runs under it, every configured check says
"down", and so does every component, or that it is out of the active role. A component that does not is ended: a proof
is asked for only where nothing may run.
"""

from __future__ import annotations

import asyncio

from agents.actions.parts import RunnerParts
from agents.actions.plans import GroupPlans
from agents.fencing.base import NotProvenDown

AGAIN_S = 0.2
"""A port closes and a namespace empties within moments of the kill; then the checks pass."""


class DownProof:
    """Owned by one runner. Leftovers are ended by one thread at a time: an overtaken one still removes records."""

    def __init__(self, plans: GroupPlans, parts: RunnerParts) -> None:
        self._plans = plans
        self._parts = parts
        self._ending: asyncio.Future[None] | None = None

    async def settled(self) -> None:
        """Until no thread is at work any more; nothing may be started before."""
        if self._ending is not None:
            await asyncio.wait({self._ending})

    async def prove(self, limit_s: float) -> None:
        """Raises NotProvenDown with what still stands against it after `limit_s`."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + limit_s
        while True:
            problem = await self._problem()
            if not problem:
                return
            if loop.time() + AGAIN_S >= ends:
                raise NotProvenDown(problem)
            await asyncio.sleep(AGAIN_S)

    async def _problem(self) -> str:
        if out := self._parts.members.still_out(self._plans.group):
            return out
        try:
            await self._end_leftovers()
        except NotProvenDown as error:
            return str(error)
        running = self._parts.execs.running(self._plans.group)
        if running:
            return f"exec guards still have something running: pids {', '.join(map(str, running[:8]))}"
        seen = await asyncio.gather(*(check.still_up() for check in self._plans.checks))
        up = [f"{check.name}: {words}" for check, words in zip(self._plans.checks, seen, strict=True) if words]
        up += await self.end_components()
        return f"not down: {'; '.join(up)}" if up else ""

    async def components_down(self, limit_s: float) -> None:
        """Of these alone: the next guard, which is dormant, is no leftover. Raises NotProvenDown."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + limit_s
        while up := await self.end_components():
            if loop.time() + AGAIN_S >= ends:
                raise NotProvenDown(f"not down: {'; '.join(up)}")
            await asyncio.sleep(AGAIN_S)

    async def end_components(self) -> list[str]:
        """Ends each component that is up; what was seen, and what stands against its end."""
        components = self._plans.components
        seen = await asyncio.gather(*(one.still_up() for one in components))
        up = [(one, words) for one, words in zip(components, seen, strict=True) if words]
        problems = await asyncio.gather(*(one.end() for one, _ in up))
        told = zip(up, problems, strict=True)
        return [f"{one.spec.name}: {words}{f' ({problem})' if problem else ''}" for (one, words), problem in told]

    async def _end_leftovers(self) -> None:
        await self.settled()
        self._ending = asyncio.ensure_future(asyncio.to_thread(self._parts.end_leftovers, self._plans.group))
        self._ending.add_done_callback(_seen)
        await asyncio.shield(self._ending)


def _seen(future: asyncio.Future[None]) -> None:
    """Its error was for whoever waited; when nobody does any more the next look finds it again."""
    if not future.cancelled():
        future.exception()
