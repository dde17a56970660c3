"""(12) Performs one group's plans and fences, with the guard that holds the group's processes.

Rule: at most one plan runs, and it is answered exactly once; a fence overtakes it at once and goes on until it is
proven. What has ended is said only on proof. With `enforce: false` nothing is started, stopped or looked for.
Guards outlive their plans: a guard is watched from its start to its end, and an end that was not asked for is
told as lost (agents/actions/group_guard.py).
"""

from __future__ import annotations

import asyncio
import itertools

import structlog

from agents.actions.again import FENCE_AGAIN_S, again_s
from agents.actions.arming import Arming
from agents.actions.group_guard import GroupGuard
from agents.actions.holding import LacksReport
from agents.actions.parts import RunnerParts, RunnerReports
from agents.actions.plan_journal import PlanJournal
from agents.actions.plan_notes import PlanNotes, StepFailed
from agents.actions.plans import GroupPlans
from agents.actions.proof import DownProof
from agents.actions.step_places import StepPlaces
from agents.actions.steps import StepRunner
from agents.actions.unwind import ALONE_MS_MAX, Unwinder
from agents.core.effects import ExtendDeadline, Fence, PlanKind, StartPlan
from agents.core.lease_holder import NO_EPOCH
from agents.core.plan_progress import PlanEnd, StepState
from agents.fencing.base import Guard, GuardError, NotProvenDown
from proto.errors import DurabilityLost
from proto.invariants import require
from proto.timing import LocalDeadlines
from proto.units import NS_PER_MS, Epoch

STOP_GRACE_MS_MAX = 10_000
"""After the deactivation steps: TERM to whatever still runs, and KILL after this."""
PROOF_S = 5.0
_IN_GUARD = frozenset({PlanKind.ACTIVATE, PlanKind.ON_EPOCH})
"""Plans whose steps run in a guard that goes on holding after them."""
WATCHES_ONLY = "enforce: false: this agent only watches"


class GroupRunner:
    """Owned by the driver; its inputs are effects of the core, its outputs go to `reports`."""

    def __init__(
        self,
        plans: GroupPlans,
        parts: RunnerParts,
        reports: RunnerReports,
        epoch_seen: Epoch = NO_EPOCH,
        journal: PlanJournal | None = None,
    ) -> None:
        """`epoch_seen`: the highest epoch that this host ever acted upon; guards refuse it and all below."""
        self.plans = plans
        self._parts = parts
        self._reports = reports
        self._log = structlog.stdlib.get_logger("agents.actions").bind(group=plans.group)
        self._lacks = LacksReport(plans.group, reports)
        self._arming = Arming(
            plans.group,
            parts.execs,
            parts.spawn,
            lambda text: self._log.warning("guard", why=text),
            self._lacks.heard,
        )
        self._proof = DownProof(plans, parts)
        self._notes = PlanNotes(journal if plans.enforce else None)
        self._unwinder = Unwinder(plans, parts, self._notes, lambda text: reports.alarm(plans.group, text))
        self._plan: StartPlan | None = None
        self._plan_task: asyncio.Task[None] | None = None
        self._fence_task: asyncio.Task[None] | None = None
        self._guards = GroupGuard(plans.group, parts, reports, self._lacks, self._arming, self._may_prepare, epoch_seen)
        self._settle_task: asyncio.Task[None] | None = None
        self._progress = ""
        self._orderly = True
        """Of the last deactivation: its steps were done, and what they left ended before its deadline."""

    # -- effects ------------------------------------------------------------------------------------------

    def start_plan(self, plan: StartPlan) -> None:
        require(self._plan is None, f"{self.plans.group}: plan {plan.plan} while {self._plan} runs")
        if not self.plans.enforce:
            self._reports.plan_finished(self.plans.group, plan.plan, ok=False, text=WATCHES_ONLY)
            return
        if plan.kind is PlanKind.ACTIVATE:
            require(plan.deadlines is not None, f"{self.plans.group}: an activation without deadlines")
            self._guards.end_asked = False
            if plan.deadlines is not None:
                self._arming.begin(plan.epoch, plan.deadlines)
        self._plan = plan
        former = self._plan_task, self._fence_task, self._settle_task, self._guards.replacing
        self._log.info("plan.start", plan=plan.plan, kind=plan.kind.value, epoch=plan.epoch, cause=plan.cause)
        self._plan_task = self._parts.spawn(self._run(plan, former), f"plan {self.plans.group}")

    def adopt(self, guard: Guard, epoch: Epoch, deadlines: LocalDeadlines) -> None:
        """Before the first effect: an armed guard of a former process of this incarnation."""
        self._arming.adopt(guard, epoch, deadlines)
        self._guards.adopt(guard)

    def let_go(self) -> None:
        """This process becomes another one: nothing that ends here asks the guard for anything any more."""
        if self._guards.guard is not None:
            self._guards.guard.let_go()

    def extend(self, effect: ExtendDeadline) -> None:
        if self.plans.enforce and not self._guards.end_asked and self._arming.latest is not None:
            self._arming.extend(effect.epoch, effect.deadlines)

    def fence(self, effect: Fence) -> None:
        if not self.plans.enforce:
            self._reports.fenced(self.plans.group, ok=False, text=WATCHES_ONLY)
            return
        self._log.warning("fence.start", cause=effect.cause)
        if self._plan is not None and self._plan_task is not None:
            self._plan_task.cancel()
            self._finish(self._plan, ok=False, text=f"cut short by a fence: {effect.cause}")
        self._guards.ask_end()
        self._parts.execs.fence(self.plans.group)
        if not self._fencing:
            self._fence_task = self._parts.spawn(self._fence_until_proven(), f"fence {self.plans.group}")

    def guard_of(self, epoch: Epoch) -> Guard | None:
        """That holds this epoch and takes steps: of a plan's own, and those that a lead asks a member for."""
        latest = self._arming.latest
        return self._guards.guard if latest is not None and latest[0] == epoch and self._plan is None else None

    def step_done(self, step: str, epoch: Epoch) -> bool:
        """Of the activation of that epoch."""
        noted = self._notes.progress
        ours = noted is not None and (noted.header.kind, noted.header.epoch) == (PlanKind.ACTIVATE, epoch)
        return noted is not None and ours and noted.states.get(step) is StepState.DONE

    @property
    def dormant(self) -> bool:
        """Nothing of the active role may run, and nothing is on its way to start or to end it."""
        return self.plans.enforce and self._plan is None and not self._fencing and self._arming.latest is None

    def component_found(self, words: str) -> None:
        """A component is up while the site is dormant: it is ended; a plan that comes meanwhile waits for that."""
        if not self.dormant or (self._settle_task is not None and not self._settle_task.done()):
            return
        self._log.error("component.up-while-dormant", what=words)
        self._settle_task = self._parts.spawn(self._settle(), f"settle {self.plans.group}")

    async def _settle(self) -> None:
        try:
            await self._proof.components_down(PROOF_S)
        except NotProvenDown as error:
            self._log.error("component.not-ended", why=str(error))

    @property
    def _fencing(self) -> bool:
        return self._fence_task is not None and not self._fence_task.done()

    def status(self) -> dict[str, object]:
        plan, noted = self._plan, self._notes.progress
        return {
            "plan": None if plan is None else {"kind": plan.kind.value, "number": plan.plan, "now": self._progress},
            "steps": {} if noted is None else {name: state.value for name, state in noted.states.items()},
            "fencing": self._fencing,
            "guard": self._guards.guard is not None,
            **self._lacks.status(self.plans.resources, self._guards.guard, self._parts.clock.now()),
        }

    # -- plans --------------------------------------------------------------------------------------------

    async def _run(self, plan: StartPlan, former: tuple[asyncio.Task[None] | None, ...]) -> None:
        self._progress = "waits for what was overtaken"
        before = {task for task in former if task is not None}
        if before:
            await asyncio.wait(before)
        try:
            async with asyncio.timeout(plan.timeout_ms / 1_000):
                await self._proof.settled()
                text = await self._perform(plan)
        except TimeoutError:
            text, ok = f"not done within {plan.timeout_ms} ms, at {self._progress}", False
        except (GuardError, StepFailed, OSError, DurabilityLost) as error:
            text, ok = str(error), False
        else:
            ok = True
        if plan.kind in _IN_GUARD:
            await self._notes.may(PlanEnd.SUCCEEDED if ok else PlanEnd.FAILED)
        self._finish(plan, ok=ok, text=text)

    async def _perform(self, plan: StartPlan) -> str:
        if plan.kind is PlanKind.VERIFY_DOWN:
            return await self._verify_down(plan)
        if plan.kind is PlanKind.ACTIVATE:
            return await self._activate(plan)
        if plan.kind is PlanKind.ON_EPOCH:
            return await self._tell_epoch(plan)
        return await self._deactivate(plan)

    def _finish(self, plan: StartPlan, *, ok: bool, text: str) -> None:
        """Once: whoever comes second finds another plan, or none, in the field."""
        if self._plan is not plan:
            return
        self._plan = None
        self._progress = ""
        self._log.log(20 if ok else 30, "plan.end", plan=plan.plan, kind=plan.kind.value, ok=ok, text=text)
        self._reports.plan_finished(self.plans.group, plan.plan, ok=ok, text=text, orderly=self._orderly)
        if ok and plan.kind not in _IN_GUARD:
            self._guards.prepare()

    async def _may_prepare(self) -> bool:
        """Nothing runs here, or is on its way: a guard may be started, or ended, for the next activation."""
        await self._proof.settled()
        return self._plan is None and not self._fencing

    async def _verify_down(self, plan: StartPlan) -> str:
        self._progress = "looking for what runs"
        await self._proof.prove(plan.timeout_ms * 0.8 / 1_000)
        await self._take_back(plan.timeout_ms // 2)
        return "nothing runs"

    async def _take_back(self, limit_ms: int) -> None:
        """Everything is proven dead: what an activation did outside of its namespace is taken back and proven again."""
        if self._unwinder.steps():
            if self._guards.there:
                return
            await self._unwinder.alone(limit_ms, self._note_progress)
            await self._proof.prove(PROOF_S)
        await self._notes.clear()

    async def _activate(self, plan: StartPlan) -> str:
        self._progress = "starting the guard"
        await self._notes.begin_plan(plan, self.plans.activation, self._parts)
        guard = await self._guards.for_epoch(plan.epoch)
        await guard.bind(self._parts.incarnation())
        self._progress = "arming the guard"
        await self._arming.attach(guard)
        await self._steps(plan, guard).run(self.plans.activation)
        return "active"

    async def _tell_epoch(self, plan: StartPlan) -> str:
        """The platform goes on; whatever keeps the highest epoch that it saw is told the new one."""
        guard = self._guards.guard
        if guard is None:
            raise GuardError("no guard holds")
        self._guards.goes_on_under(plan.epoch)
        await self._notes.begin_plan(plan, self.plans.on_epoch, self._parts)
        await self._steps(plan, guard).run(self.plans.on_epoch)
        return "the resources know the new epoch"

    def _steps(self, plan: StartPlan, guard: Guard) -> StepRunner:
        places, now = StepPlaces(guard, self._parts.members, plan.epoch), self._parts.clock.now
        return StepRunner(self.plans, plan, places, self._notes, self._deadlines, now, self._note_progress)

    def _note_progress(self, text: str) -> None:
        self._progress = text
        self._log.info("plan.step", at=text)

    def _deadlines(self) -> LocalDeadlines | None:
        return None if self._arming.latest is None else self._arming.latest[1]

    async def _deactivate(self, plan: StartPlan) -> str:
        """Steps that fail or take too long delay nothing: what they did not end is ended by the guard."""
        grace_ms = min(STOP_GRACE_MS_MAX, plan.timeout_ms // 3)
        note = ""
        self._orderly = True
        guard = self._guards.guard
        if guard is not None:
            try:
                async with asyncio.timeout((plan.timeout_ms - grace_ms) / 1_000):
                    note = await self._stop_in_order(plan, guard)
            except TimeoutError:
                note = f"; the steps were not done, at {self._progress}"
            except (StepFailed, GuardError, OSError) as error:
                note = f"; a step failed: {error}"
        self._progress = "stopping what is left"
        self._guards.ask_end()
        down, _ = await asyncio.gather(
            self._guards.end(grace_ms), self._parts.execs.stop_all(self.plans.group, grace_ms * NS_PER_MS)
        )
        done = not note and self._parts.members.orderly(self.plans.group)
        self._orderly = done and (down is None or down.stopped)
        self._progress = "proving that nothing is left"
        await self._proof.prove(PROOF_S)
        await self._take_back(plan.timeout_ms // 2)
        return f"verified down{note}"

    async def _stop_in_order(self, plan: StartPlan, guard: Guard) -> str:
        """First what a failed activation began, newest first; then the deactivation's own steps."""
        left = ""
        if self._unwinder.steps():
            left = await self._unwinder.within(guard, self._deadlines, plan.timeout_ms // 2, self._note_progress)
        try:
            await self._notes.begin_plan(plan, self.plans.deactivation, self._parts)
        except DurabilityLost as error:
            self._log.error("plan.not-noted", why=str(error))
        await self._steps(plan, guard).run(self.plans.deactivation)
        return f"; not taken back: {left}" if left else ""

    # -- fences -------------------------------------------------------------------------------------------

    async def _fence_until_proven(self) -> None:
        for attempt in itertools.count():
            try:
                await self._fence_once()
            except (GuardError, StepFailed, OSError) as error:
                self._log.error("fence.not-proven", why=str(error), attempt=attempt)
                self._reports.fenced(self.plans.group, ok=False, text=str(error))
                await asyncio.sleep(again_s(FENCE_AGAIN_S, attempt))
            else:
                break
        self._log.info("fence.proven")
        self._reports.fenced(self.plans.group, ok=True, text="nothing runs")
        self._guards.prepare()

    async def _fence_guard(self) -> None:
        try:
            await self._guards.end(None)
        except GuardError as error:
            self._log.error("guard.fence", why=str(error))

    async def _fence_once(self) -> None:
        """The guard's word is tried first; its record decides, also when its handle knows nothing any more."""
        guard = self._guards.guard
        await asyncio.gather(self._fence_guard(), self._proof.end_components())
        self._parts.execs.fence(self.plans.group)
        await self._parts.execs.stop_all(self.plans.group, 0)
        await self._proof.prove(PROOF_S)
        if guard is not None:  # its handle could not prove the end, its record and pids did
            await self._guards.forget(guard)
        await self._take_back(ALONE_MS_MAX)
