"""The loop around a SiteMember (agents/runtime/loop.py): from the lead's stream, runners and looks to effects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

from agents.actions.runner import GroupRunner
from agents.core.effects import ExtendDeadline, Fence, KeepAuthority, StartPlan, StoreBounds, Tell
from agents.core.member import Ask, Reconnect, SiteMember
from agents.core.member_view import member_group_view, member_view
from agents.member.steps import MemberSteps
from agents.member.stream import LeadStream
from agents.probes.base import ProbeResult
from agents.runtime.loop import CoreLoop
from agents.runtime.telemetry import Telemetry
from proto.clock import Clock
from proto.member_messages import AskNow, LeadAnswer, LeadMessage, RunStep, TwinSeen
from proto.units import Epoch, GroupId, Incarnation

STEPS_ASKED_MAX = 64


class MemberDriver(CoreLoop):
    """Implements LeadEvents, RunnerReports and the looks' sink. Everything runs on one thread."""

    def __init__(
        self,
        member: SiteMember,
        clock: Clock,
        fatal: Callable[[BaseException], NoReturn],
        store_bounds: Callable[[GroupId, Epoch, Epoch], None],
        telemetry: Telemetry,
        keep: Callable[[Incarnation, KeepAuthority], None],
    ) -> None:
        """`keep`: for the next process; blocking, called from a thread, one call at a time. Never fails."""
        super().__init__(member, clock, fatal, store_bounds)
        self.member = member
        self.runners: dict[GroupId, GroupRunner] = {}
        self.steps: dict[GroupId, MemberSteps] = {}
        self.stream: LeadStream | None = None
        self._telemetry = telemetry
        self._keep = keep
        self._keep_lock = asyncio.Lock()
        self._asked: set[asyncio.Task[None]] = set()
        self._guard_lacks: dict[GroupId, tuple[str, ...]] = {}
        self._found: dict[GroupId, dict[str, str]] = {group: {} for group in member.groups}
        """Components that speak against being ready, by their look."""

    def shutdown(self) -> None:
        self._input(self.member.shutdown)

    def machine_changed(self, text: str) -> None:
        self._input(lambda now: self.member.machine_changed(text, now))

    # -- LeadEvents -----------------------------------------------------------------------------------------

    def stream_opened(self) -> None:
        self._input(self.member.stream_opened)

    def stream_closed(self) -> None:
        self._input(self.member.stream_closed)

    def received(self, message: LeadMessage) -> None:
        if isinstance(message, LeadAnswer):
            self._input(lambda now: self.member.answered(message, now))
        elif isinstance(message, AskNow):
            self._input(self.member.told_to_ask)
        elif isinstance(message, TwinSeen):
            self.machine_changed(message.text)
        elif isinstance(message, RunStep) and message.group in self.steps and len(self._asked) < STEPS_ASKED_MAX:
            task = self.spawn(self._run_step(message), f"step {message.step_id}")
            self._asked.add(task)
            task.add_done_callback(self._asked.discard)

    async def _run_step(self, order: RunStep) -> None:
        """The end is told to whoever is connected by then; a lead that missed it asks again."""
        ended = await self.steps[order.group].run(order)
        if self.stream is not None:
            self.stream.send(ended)

    # -- RunnerReports --------------------------------------------------------------------------------------

    def plan_finished(self, group: GroupId, plan: int, ok: bool, text: str, *, orderly: bool = True) -> None:
        """Steps are the lead's; in order is what the guard ended because it was asked."""
        self._input(lambda now: self.member.plan_finished(group, plan, ok, text, now, orderly=orderly))

    def fenced(self, group: GroupId, ok: bool, text: str) -> None:
        self._input(lambda now: self.member.fenced(group, ok, text, now))

    def guard_lost(self, group: GroupId, text: str) -> None:
        self._input(lambda now: self.member.guard_lost(group, text, now))

    def guard_containment(self, group: GroupId, words: str) -> None:
        self.member.groups[group].containment = words

    def guard_lacks(self, group: GroupId, lacks: tuple[str, ...]) -> None:
        self._guard_lacks[group] = lacks
        self._tell_lacks(group)

    def alarm(self, group: GroupId, text: str) -> None:
        self._telemetry.told(Tell(group, text, alarm=True))

    def probed(self, group: GroupId, name: str, result: ProbeResult) -> None:
        found = self._found[group]
        if result.passed == (name not in found) and (result.passed or found[name] == result.detail):
            return
        if result.passed:
            found.pop(name, None)
        else:
            found[name] = result.detail
        self._tell_lacks(group)

    def _tell_lacks(self, group: GroupId) -> None:
        components = tuple(f"{name}: {detail}" for name, detail in sorted(self._found[group].items()))
        lacks = (self._guard_lacks.get(group, ()) + components)[:16]
        self._input(lambda now: self.member.guard_lacks(group, lacks, now))

    # -- what people and programs ask -------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        view = member_view(self.member, self._clock.read())
        for group in view["groups"]:
            group.update(self.runners[GroupId(group["group"])].status())
        return view

    def group_status(self, group: GroupId) -> dict[str, Any] | None:
        found = self.member.groups.get(group)
        return None if found is None else member_group_view(found, self._clock.read())

    # -- effects --------------------------------------------------------------------------------------------

    def perform(self, effect: Any) -> None:
        if isinstance(effect, Ask):
            if self.stream is not None:
                self.stream.send(effect.message)
            return
        if isinstance(effect, Reconnect):
            if self.stream is not None:
                self.stream.reopen()
            return
        self._telemetry.told(effect)
        if isinstance(effect, StoreBounds):
            self.start_storing(effect)
        elif isinstance(effect, StartPlan):
            self.runners[effect.group].start_plan(effect)
        elif isinstance(effect, ExtendDeadline):
            self.runners[effect.group].extend(effect)
        elif isinstance(effect, Fence):
            self.runners[effect.group].fence(effect)
        elif isinstance(effect, KeepAuthority):
            self.spawn(self._keep_it(self.member.instance, effect), f"keep {effect.group}")

    async def _keep_it(self, instance: Incarnation, effect: KeepAuthority) -> None:
        async with self._keep_lock:
            await asyncio.to_thread(self._keep, instance, effect)
