"""The loop around a SiteAgent (agents/runtime/loop.py): from streams, probes and runners to effects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from agents.core.agent import SiteAgent
from agents.core.effects import (
    AnswerSite,
    Effect,
    ExtendDeadline,
    Fence,
    KeepAuthority,
    KeepRelays,
    KeepSealed,
    LookAtKey,
    NoteIncarnation,
    ReopenStreams,
    SealKey,
    Send,
    SendSite,
    StartPlan,
    StoreBounds,
    StorePermit,
    StorePromise,
    StoreSites,
    Tell,
)
from agents.core.health import HealthFold, HealthSummary
from agents.core.lease_holder import NO_EPOCH
from agents.core.license import KeptKeys, Look
from agents.core.view import agent_view, group_view
from agents.license.stance import Stance, may_seal
from agents.probes.base import ProbeResult
from agents.runtime.loop import CoreLoop
from agents.site_link.port import SiteAsk, SiteSays
from proto.clock import Clock, ClockReading
from proto.health import SiteState
from proto.invariants import require
from proto.messages import AgentMessage, GroupSites, WitnessMessage
from proto.permit import Permit
from proto.units import Epoch, GroupId, Incarnation, LicenseName, SiteId, WitnessId

if TYPE_CHECKING:
    from agents.license.room import LicenseSink


class Runner(Protocol):
    """One group's plans and fences (agents/actions/runner.py)."""

    def start_plan(self, plan: StartPlan) -> None: ...
    def extend(self, effect: ExtendDeadline) -> None: ...
    def fence(self, effect: Fence) -> None: ...
    def status(self) -> dict[str, object]: ...
    def let_go(self) -> None: ...

    def step_done(self, step: str, epoch: Epoch) -> bool:
        """Of the activation of that epoch."""


class Shell(Protocol):
    """What the driver's surroundings do for it."""

    def send(self, witness: WitnessId, message: AgentMessage, via: SiteId | None) -> bool: ...

    def keep_relays(self, witnesses: tuple[WitnessId, ...]) -> None:
        """Streams through another site's agent to these witnesses, and to no other."""

    def ask_site(self, site: SiteId, request: SiteAsk) -> bool: ...

    def answer_site(self, site: SiteId, answer: SiteSays) -> bool: ...

    def store_promise(self, effect: StorePromise) -> Mapping[LicenseName, KeptKeys]:
        """Blocking and durable, sealed keys first; called from a thread, one call at a time for each group.

        What is kept of the licenses that it brought keys of.
        """

    def store_sites(self, group: GroupId, sites: GroupSites) -> None:
        """Blocking and durable; called from a thread, one call at a time for each group."""

    def reopen_streams(self) -> None:
        """Ends every stream; each opens again with a Hello of the core's present incarnation."""

    def store_bounds(self, group: GroupId, bound: Epoch, finished: Epoch) -> None:
        """Blocking and durable; called from a thread, one call at a time for each group."""

    def note_incarnation(self, incarnation: Incarnation) -> None:
        """Blocking and durable; called from a thread, one call at a time, in order. Never fails."""

    def keep_authority(self, incarnation: Incarnation, effect: KeepAuthority) -> None:
        """For the next process; blocking, called from a thread, one call at a time. Never fails."""

    async def seal_key(self, effect: SealKey) -> tuple[KeptKeys, str]:
        """What is kept now, and the problem's code, '' for none; one call at a time for each license."""

    async def look_at_key(self, effect: LookAtKey, sink: LicenseSink) -> None:
        """Once; what it says is told to `sink` before it returns."""

    async def keep_sealed(self, effect: KeepSealed) -> tuple[KeptKeys, str]:
        """Durable; what is kept now, and the problem's code."""

    def store_permit(self, effect: StorePermit) -> None:
        """Blocking and durable; called from a thread, one call at a time, in order."""

    def told(self, effect: Effect) -> None:
        """Every effect passes here first, for logs and counters."""


class Driver(CoreLoop):
    """Implements StreamEvents, RunnerReports and the probes' sink. Everything runs on one thread."""

    def __init__(
        self,
        *,
        agent: SiteAgent,
        folds: Mapping[GroupId, HealthFold],
        clock: Clock,
        fatal: Callable[[BaseException], NoReturn],
        shell: Shell,
    ) -> None:
        super().__init__(agent, clock, fatal, shell.store_bounds)
        self.agent = agent
        self.runners: dict[GroupId, Runner] = {}
        self._folds = folds
        self._summaries: dict[GroupId, HealthSummary] = {}
        self._shell = shell
        self._keep_lock = asyncio.Lock()
        self._note_lock = asyncio.Lock()
        self._file_lock = asyncio.Lock()

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """After the runners are in place: the core has plans to start from its first moment."""
        require(self.runners.keys() == self.agent.groups.keys(), "every group needs its runner")
        for group, fold in self._folds.items():
            self._observe(group, fold.summary())
        self.begin()

    def shutdown(self) -> None:
        self._input(self.agent.shutdown)

    def machine_changed(self, text: str) -> None:
        self._input(lambda now: self.agent.machine_changed(text, now))

    # -- break-glass --------------------------------------------------------------------------------------

    def break_glass(self, group: GroupId, permit: Permit) -> str:
        """'' when it is taken, else why not. Its signature was verified."""
        return self._asked(lambda now: self.agent.break_glass(group, permit, now))

    def end_break_glass(self, group: GroupId) -> str:
        return self._asked(lambda now: self.agent.end_break_glass(group, now))

    def _asked(self, step: Callable[[ClockReading], str]) -> str:
        said: list[str] = []
        self._input(lambda now: said.append(step(now)))
        return said[0] if said else "the agent is in the middle of something else: try again"

    # -- StreamEvents -------------------------------------------------------------------------------------

    def stream_opened(self, witness: WitnessId, leading: bool, via: SiteId | None = None) -> None:
        self._input(lambda now: self.agent.stream_opened(witness, leading, now, via))

    def stream_closed(self, witness: WitnessId, via: SiteId | None = None) -> None:
        self._input(lambda now: self.agent.stream_closed(witness, now, via))

    def received(self, witness: WitnessId, message: WitnessMessage, via: SiteId | None = None) -> None:
        self._input(lambda now: self.agent.received(witness, message, now, via))

    # -- the site link ------------------------------------------------------------------------------------

    def site_opened(self, site: SiteId) -> None:
        self._input(lambda now: self.agent.site_link_opened(site, now))

    def site_closed(self, site: SiteId) -> None:
        self._input(lambda now: self.agent.site_link_closed(site, now))

    def site_asked(self, site: SiteId, request: SiteAsk) -> None:
        received = self._clock.read()
        self._input(lambda now: self.agent.site_asked(site, request, received, now))

    def site_answered(self, site: SiteId, answer: SiteSays) -> None:
        self._input(lambda now: self.agent.site_received(site, answer, now))

    def site_measured(self, site: SiteId, took_ns: int) -> None:
        self.agent.streams.linked(site, took_ns)

    def carries(self) -> bool:
        """With a reading of the clock of its own: may another site's streams go through this agent?"""
        return self.agent.carries(self._clock.read())

    # -- probes -------------------------------------------------------------------------------------------

    def probed(self, group: GroupId, name: str, result: ProbeResult) -> None:
        fold = self._folds[group]
        fold.observe(name, result.passed, result.detail, result.value_ms)
        self._observe(group, fold.summary())

    def _observe(self, group: GroupId, summary: HealthSummary) -> None:
        if summary != self._summaries.get(group):
            self._summaries[group] = summary
            self._input(lambda now: self.agent.observe(group, summary, now))

    # -- licenses -----------------------------------------------------------------------------------------

    def license_looked(
        self, group: GroupId, name: LicenseName, look: Look, problem: str, epoch: Epoch, *, reseal: bool
    ) -> None:
        self._input(lambda now: self.agent.license_looked(group, name, look, problem, epoch, now, reseal=reseal))

    def license_probed(self, group: GroupId, name: LicenseName, activated: bool | None, problem: str) -> None:
        self._input(lambda now: self.agent.license_probed(group, name, activated, problem, now))

    def license_stance(self, group: GroupId, name: LicenseName, restore_step: str) -> Stance:
        found, runner = self.agent.groups[group], self.runners[group]
        epoch = found.holder.epoch
        restored = found.state is SiteState.ACTIVATING and runner.step_done(restore_step, epoch)
        sealing = may_seal(found.state, restored=restored, read=found.licenses.read_under(name) == epoch)
        holds = sealing and found.holder.alive(self._clock.read())
        return Stance(found.licenses.role, epoch if holds else NO_EPOCH)

    async def _seal_key(self, effect: SealKey) -> None:
        kept, problem = await self._shell.seal_key(effect)
        self._input(lambda now: self.agent.license_sealed(effect.group, effect.license, kept, problem, now))

    async def _look_at_key(self, effect: LookAtKey) -> None:
        await self._shell.look_at_key(effect, self)
        self._input(lambda now: self.agent.license_looked_last(effect.group, effect.license, now))

    async def _keep_sealed(self, effect: KeepSealed) -> None:
        kept, problem = await self._shell.keep_sealed(effect)
        self._input(lambda now: self.agent.license_kept(effect.group, effect.item.license, kept, problem, now))

    # -- RunnerReports ------------------------------------------------------------------------------------

    def plan_finished(self, group: GroupId, plan: int, ok: bool, text: str, *, orderly: bool = True) -> None:
        if ok and self.agent.groups[group].state is SiteState.ACTIVATING:
            self._folds[group].service_began()
            self._observe(group, self._folds[group].summary())
        self._input(lambda now: self.agent.plan_finished(group, plan, ok, text, now, orderly=orderly))

    def fenced(self, group: GroupId, ok: bool, text: str) -> None:
        self._input(lambda now: self.agent.fenced(group, ok, text, now))

    def guard_lost(self, group: GroupId, text: str) -> None:
        self._input(lambda now: self.agent.guard_lost(group, text, now))

    def guard_containment(self, group: GroupId, words: str) -> None:
        self._input(lambda _now: self.agent.guard_containment(group, words))

    def guard_lacks(self, group: GroupId, lacks: tuple[str, ...]) -> None:
        self._input(lambda now: self.agent.guard_lacks(group, lacks, now))

    def alarm(self, group: GroupId, text: str) -> None:
        self._shell.told(Tell(group, text, alarm=True))

    # -- what people and programs ask -----------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        view: dict[str, Any] = agent_view(self.agent, self._clock.read())
        for group in view["groups"]:
            name = GroupId(group["group"])
            group.update(self.runners[name].status())
            group["probes"] = {
                probe: {"passing": passing, "detail": detail}
                for probe, (passing, detail) in self._folds[name].probes().items()
            }
        return view

    def group_status(self, group: GroupId) -> dict[str, Any] | None:
        """With a reading of the clock of its own: a deadline that has passed is passed, whatever was told before."""
        found = self.agent.groups.get(group)
        return None if found is None else group_view(found, self._clock.read())

    # -- effects --------------------------------------------------------------------------------------------

    def perform(self, effect: Effect) -> None:
        self._shell.told(effect)
        if isinstance(effect, Send):
            self._shell.send(effect.witness, effect.message, effect.via)
        elif isinstance(effect, KeepRelays):
            self._shell.keep_relays(effect.witnesses)
        elif isinstance(effect, ReopenStreams):
            self._shell.reopen_streams()
        elif isinstance(effect, StoreBounds):
            self.start_storing(effect)
        elif isinstance(effect, NoteIncarnation):
            self.spawn(self._note(effect), "note the incarnation")
        elif isinstance(effect, KeepAuthority):
            self.spawn(self._keep(self.agent.incarnation, effect), f"keep {effect.group}")
        elif isinstance(effect, StartPlan):
            self.runners[effect.group].start_plan(effect)
        elif isinstance(effect, ExtendDeadline):
            self.runners[effect.group].extend(effect)
        elif isinstance(effect, Fence):
            self.runners[effect.group].fence(effect)
        elif isinstance(effect, SendSite):
            self._shell.ask_site(effect.site, effect.message)
        elif isinstance(effect, AnswerSite):
            self._shell.answer_site(effect.site, effect.message)
        elif isinstance(effect, StorePromise):
            self.spawn(self._store_promise(effect), f"promise {effect.group}")
        elif isinstance(effect, StoreSites):
            self.spawn(self._store_sites(effect), f"sites {effect.group}")
        elif isinstance(effect, SealKey):
            self.spawn(self._seal_key(effect), f"seal {effect.group}/{effect.license}")
        elif isinstance(effect, LookAtKey):
            self.spawn(self._look_at_key(effect), f"look {effect.group}/{effect.license}")
        elif isinstance(effect, KeepSealed):
            self.spawn(self._keep_sealed(effect), f"keep {effect.group}/{effect.item.license}")
        elif isinstance(effect, StorePermit):
            self.spawn(self._store_permit(effect), f"permit {effect.group}")
        else:
            require(isinstance(effect, Tell), f"nobody performs {effect}")

    async def _store_permit(self, effect: StorePermit) -> None:
        """Each is answered, in order: the core counts them."""
        async with self._file_lock:
            await asyncio.to_thread(self._shell.store_permit, effect)
        self._input(lambda now: self.agent.permit_stored(effect.group, now))

    async def _note(self, effect: NoteIncarnation) -> None:
        async with self._note_lock:
            await asyncio.to_thread(self._shell.note_incarnation, effect.incarnation)
        self._input(lambda now: self.agent.incarnation_noted(effect.incarnation, now))

    async def _keep(self, incarnation: Incarnation, effect: KeepAuthority) -> None:
        async with self._keep_lock:
            await asyncio.to_thread(self._shell.keep_authority, incarnation, effect)

    async def _store_promise(self, effect: StorePromise) -> None:
        """The core has one of a group under way at most."""
        changed = await asyncio.to_thread(self._shell.store_promise, effect)
        for name, kept in changed.items():
            self._license_kept(effect.group, name, kept)
        self._input(lambda now: self.agent.promise_stored(effect.group, now))

    def _license_kept(self, group: GroupId, name: LicenseName, kept: KeptKeys) -> None:
        self._input(lambda now: self.agent.license_kept(group, name, kept, "", now))

    async def _store_sites(self, effect: StoreSites) -> None:
        """The core has one of a group under way at most."""
        await asyncio.to_thread(self._shell.store_sites, effect.group, effect.sites)
        self._input(lambda now: self.agent.sites_stored(effect.group, now))
