"""The simulated runner of one group at one site: plans and fences of the agent's core, with the real guard's rules.

Rule: the runner lives in the agent's process and stops, dies and wakes with it; the guard is another process
(witness.sim.guards). Only here is known what really runs, and it is told to the checkers when it begins and ends, not
when somebody noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agents.actions.proof import AGAIN_S
from agents.actions.runner import PROOF_S, STOP_GRACE_MS_MAX
from agents.core.effects import ExtendDeadline, Fence, PlanKind, StartPlan
from agents.core.plan_progress import PlanProgress, StepInput
from agents.fencing.base import Down, DownBy, GuardError, Step, StepEnd, StepResult
from agents.fencing.guard_model import Behaviour, GuardEvent, GuardModel
from proto.units import NS_PER_MS, NS_PER_S, Epoch, GroupId
from witness.sim.guards import GuardPost, works_on
from witness.sim.host.component import ComponentCare
from witness.sim.members.placing import Placing
from witness.sim.notes import Notes
from witness.sim.platform import Platform

if TYPE_CHECKING:
    from witness.sim.site import SiteHost

STOP_GRACE_NS = 300 * NS_PER_MS
HOUSEKEEPING_NS = NS_PER_MS
CLOCKS = "clocks disagree"
"""So begins the cause of an end by clocks that part (agents.fencing.authority)."""
_VERB = {PlanKind.ACTIVATE: "start", PlanKind.DEACTIVATE: "stop", PlanKind.VERIFY_DOWN: "verify"}
"""Of a plan, before its number in the names of its steps."""
FENCE_AGAIN_NS = 200 * NS_PER_MS
PROOF_AGAIN_NS = round(AGAIN_S * NS_PER_S)
PROOF_TRIES = round(PROOF_S / AGAIN_S)


class GroupShell:
    def __init__(self, host: SiteHost, group: GroupId, platform: Platform) -> None:
        self.group = group
        self.platform = platform
        self.post = GuardPost(host, group, lambda step: self._acts[step.step_id], self._heard, self._emptied)
        self.components = ComponentCare(host, self, self.post.hardware.component)
        self._host = host
        self._acts: dict[str, Behaviour] = {}
        self._stop_step = Behaviour()
        self._plan: StartPlan | None = None
        self._on_down: list[Callable[[], None]] = []
        self._ending: StartPlan | None = None
        self._ran = False
        self._fencing = False
        self.plans_begun = 0
        self._epoch = Epoch(0)
        """Under which it began."""
        self._orderly = False
        """The deactivation's steps were done."""
        self._notes = Notes(host, platform)
        self._steps: list[Behaviour] = []
        """Of the activation, on this host, after those that are placed on members."""
        self._members = Placing(host, group)

    @property
    def guard(self) -> GuardModel | None:
        return self.post.guard

    @property
    def journal(self) -> PlanProgress | None:
        """On disk."""
        return self._notes.progress

    @property
    def dormant(self) -> bool:
        """As agents.actions.runner judges it."""
        return self._plan is None and not self._fencing and self.guard is None

    # -- effects ------------------------------------------------------------------------------------------

    def start_plan(self, plan: StartPlan) -> None:
        self._plan = plan
        self.plans_begun += 1
        self._host.later(plan.timeout_ms * NS_PER_MS, lambda: self._timed_out(plan))
        start = {
            PlanKind.VERIFY_DOWN: lambda: self._end_guard(plan, "verify"),
            PlanKind.ACTIVATE: lambda: self._activate(plan),
            PlanKind.DEACTIVATE: lambda: self._deactivate(plan),
            PlanKind.ON_EPOCH: lambda: self._tell_epoch(plan),
        }[plan.kind]
        if plan.kind is PlanKind.ACTIVATE and plan.deadlines is not None:
            self.post.latest = (plan.epoch, plan.deadlines)
            self._members.begin(self.post.latest)
        self._host.later(self._host.rng.randint(1, 15) * NS_PER_MS, start)

    def extend(self, effect: ExtendDeadline) -> None:
        self.post.latest = (effect.epoch, effect.deadlines)
        if self._host.judges.moved(self.group, self._host.name, effect.epoch):
            self._host.hit(self._host.judges.permits.went_on(self.group, self._epoch))
            self._epoch = effect.epoch
        self.post.arm()
        self._members.extend(self.post.latest)

    def adopted(self) -> None:
        """A new process of the agent goes on where the former one was."""
        self.post.taken_over()
        self._members.begin(self.post.latest)

    def fence(self, effect: Fence) -> None:
        del effect
        self._plan = None
        self._fencing = True
        self._members.fence()
        if self.guard is not None:
            self.guard.fence(self._host.clock.now())
            self._on_down.append(self._fenced)
            self.post.wake()
        else:
            self._host.later(HOUSEKEEPING_NS, self._fenced)

    def _fenced(self) -> None:
        self._members.end(0, lambda: self._prove("fence", self._fence_proven))

    def _fence_proven(self, ok: bool) -> None:
        if ok and self._members.undo(self.journal, lambda: self._fence_proven(ok)):
            return
        if ok:
            self._fencing = False
            self.post.prepare_soon()
            self._host.feed(lambda agent, now: agent.fenced(self.group, True, "", now))
        else:
            self._host.feed(lambda agent, now: agent.fenced(self.group, False, "a process is still seen", now))
            self._host.later(FENCE_AGAIN_NS, self._fenced)

    def _prove(self, what: str, then: Callable[[bool], None], tries: int = PROOF_TRIES) -> None:
        """Nothing is left that no kill ends, no resource, no component in the active role; that is waited for."""
        seen = self._members.still_out() or self.components.end() + self.post.hardware.left()
        if seen and tries:
            self._host.later(PROOF_AGAIN_NS, lambda: self._prove(what, then, tries - 1))
            return
        ok = not seen and not self.post.undead and self.platform.proves(what)
        if ok:
            self._host.judges.members.said_down(self.group, self._host.name)
            self._host.judges.held.said_down(self.group, self._host.name, active=self.components.active)
        then(ok)

    # -- plans --------------------------------------------------------------------------------------------

    def _activate(self, plan: StartPlan) -> None:
        if self._plan is not plan:
            return
        if plan.resumed:
            self._go_on(plan)
            return
        if self.guard is not None:
            self._host.judges.found("guard", f"{self._host.name} activates {self.group} over a living guard")
        self._ran = self._orderly = False
        self.post.begin(self._notes.incarnation)
        if not self.post.arm():
            self._finish(plan, ok=False, text="the guard refused the deadline")
            return
        self._steps = self._host.licenses.refusal(self.group) or self.platform.start_steps()
        steps = self._members.count + len(self._steps)
        self._notes.begin(plan, tuple(f"start-{number}" for number in range(steps)))
        self._after_members(plan, lambda: self._step(plan, 0))

    def _after_members(self, plan: StartPlan, then: Callable[[], None]) -> None:
        """No step before each required member holds the lease."""

        def armed(why: str) -> None:
            if self._plan is plan:
                self._finish(plan, ok=False, text=why) if why else then()

        self._members.held(plan, armed)

    def _tell_epoch(self, plan: StartPlan) -> None:
        if self._plan is plan:
            self._notes.begin(plan, ())
            self._host.later(self._host.rng.randint(1, 50) * NS_PER_MS, lambda: self._finish(plan, ok=True, text=""))

    def _step(self, plan: StartPlan, number: int) -> None:
        """Noted, then begun; what is done already is passed over."""
        placed = self._members.count
        while number < placed + len(self._steps) and self.journal is not None and self.journal.done(f"start-{number}"):
            number += 1
        if number == placed + len(self._steps):
            self._finish(plan, ok=True, text="")
        elif self._notes.note(number, StepInput.BEGIN):
            if number < placed:
                self._place(plan, number)
            else:
                self._run(plan, f"start-{plan.plan}-{number}", self._steps[number - placed])

    def _place(self, plan: StartPlan, number: int) -> None:
        step_id = f"start-{plan.plan}-{number}"
        self._members.run(plan, number, step_id, lambda result: self._stepped(plan, result))

    def _go_on(self, plan: StartPlan) -> None:
        """Where a former process of this agent was: a begun step is asked for at the guard."""
        self.post.arm()
        guard, journal = self.guard, self.journal
        if guard is None or journal is None:
            self._finish(plan, ok=False, text="the guard is gone")
            return
        if not journal.may_resume(journal.header.steps):
            if plan.kind is PlanKind.ACTIVATE:
                self._finish(plan, ok=False, text="a step had failed")
            else:
                self._end_guard(plan, "stop")
            return
        for number, name in enumerate(journal.header.steps):
            if journal.begun(name) is not None:
                self._ask(plan, guard, number)
                return
        if plan.kind is PlanKind.ACTIVATE:
            self._after_members(plan, lambda: self._step(plan, 0))
        else:
            self._end_guard(plan, "stop")

    def _ask(self, plan: StartPlan, guard: GuardModel, number: int) -> None:
        step_id = f"{_VERB[plan.kind]}-{plan.plan}-{number}"
        placed = self._members.count if plan.kind is PlanKind.ACTIVATE else 0
        if number < placed:
            self._host.hit("member-step-asked-again")
            self._after_members(plan, lambda: self._place(plan, number))
        elif step_id in guard.ended:
            self._host.hit("step-outcome-asked")
            self._stepped(plan, guard.ended[step_id])
        elif step_id not in guard.running:
            behaviour = self._steps[number - placed] if plan.kind is PlanKind.ACTIVATE else self._stop_step
            self._run(plan, step_id, behaviour)

    def _run(self, plan: StartPlan, step_id: str, behaviour: Behaviour) -> bool:
        guard = self.guard
        if guard is None or self._plan is not plan:
            return False
        self._acts[step_id] = behaviour
        try:
            guard.run(Step(step_id, (step_id,), {}, Path("/dev/null")), self._host.clock.now())
        except GuardError as error:
            if plan.kind is PlanKind.ACTIVATE:
                self._finish(plan, ok=False, text=str(error))
            return False
        if not self._ran:
            self._ran = True
            self._epoch = plan.epoch
            self._host.activates(self.group, plan.epoch)
            self._host.judges.held.begun(self.group, self._host.name, unwatched=self.post.hardware.unwatched)
            works_on(self._host, self.post, self.act)
        if plan.kind is PlanKind.ACTIVATE:
            if behaviour is self._steps[-1]:
                self.components.begins()
            self._host.step_begins()
        self.post.wake()
        return True

    def _stepped(self, plan: StartPlan, result: StepResult) -> None:
        if self._plan is not plan or not result.step_id.startswith(f"{_VERB[plan.kind]}-{plan.plan}-"):
            return
        number = int(result.step_id.rpartition("-")[2])
        noted = StepInput.SUCCEED if result.ok else StepInput.FAIL
        if result.end is not StepEnd.GUARD_DOWN and not self._notes.note(number, noted):
            return
        if plan.kind is PlanKind.DEACTIVATE:
            self._orderly = result.ok
            if result.ok:
                self.components.rests()
            self._end_guard(plan, "stop")
        elif not result.ok:
            self._finish(plan, ok=False, text=f"{result.step_id}: {result.end.value}")
        else:
            self._step(plan, number + 1)

    def _deactivate(self, plan: StartPlan) -> None:
        """Steps that fail or take too long delay nothing: what they did not end is ended by the guard."""
        if self._plan is not plan or self._members.undo(self.journal, lambda: self._deactivate(plan)):
            return
        if plan.resumed:
            self._go_on(plan)
        elif not self._stop_in_order(plan):
            self._end_guard(plan, "stop")
            return
        if self._plan is plan:
            patience_ms = plan.timeout_ms - min(STOP_GRACE_MS_MAX, plan.timeout_ms // 3)
            self._host.later(patience_ms * NS_PER_MS, lambda: self._end_guard(plan, "stop"))

    def _stop_in_order(self, plan: StartPlan) -> bool:
        """False when its step could not be begun; True also when the agent is dead now."""
        if self.guard is None:
            return False
        self._notes.begin(plan, ("stop-0",))
        self._stop_step = self.platform.stop_step()
        if not self._notes.note(0, StepInput.BEGIN):
            return True
        return self._run(plan, f"stop-{plan.plan}-0", self._stop_step)

    def _end_guard(self, plan: StartPlan, what: str) -> None:
        if self._plan is not plan or self._ending is plan:
            return
        self._ending = plan  # by identity: each life of an agent numbers its plans from one
        waits = 1 if what == "verify" else 2
        """For its own part, and for its members; a verification asks of those by its proof alone."""

        def proven(ok: bool) -> None:
            if not ok or self._plan is not plan or not self._members.undo(self.journal, lambda: proven(ok)):
                self._finish(plan, ok=ok, text="" if ok else "a process is still seen")

        def down() -> None:
            nonlocal waits
            waits -= 1
            if waits:
                self._members.awaited()
            else:
                tries = PROOF_TRIES if what != "verify" else plan.timeout_ms * NS_PER_MS * 4 // 5 // PROOF_AGAIN_NS
                self._prove(what, proven, tries)

        if waits > 1:
            self._members.end(STOP_GRACE_NS, down)
        if self.guard is None:
            self._host.later(HOUSEKEEPING_NS, down)
            return
        self._on_down.append(down)
        now = self._host.clock.now()
        self.guard.fence(now) if what == "verify" else self.guard.stop(STOP_GRACE_NS, now)
        self.post.wake()

    def _timed_out(self, plan: StartPlan) -> None:
        if self._plan is plan:
            self._host.hit("plan-timeout")
            self._finish(plan, ok=False, text=f"not done within {plan.timeout_ms} ms")

    def _finish(self, plan: StartPlan, *, ok: bool, text: str) -> None:
        """Once: whoever comes second finds another plan, or none."""
        if self._plan is not plan:
            return
        self._plan = None
        if plan.kind in (PlanKind.ACTIVATE, PlanKind.ON_EPOCH):
            self._notes.ended(ok=ok)
        elif ok:
            self.post.prepare_soon()
        group = self.group
        orderly = plan.kind is not PlanKind.DEACTIVATE or (self._orderly and self._members.orderly())
        self._host.feed(lambda agent, now: agent.plan_finished(group, plan.plan, ok, text, now, orderly=orderly))

    # -- the guard ----------------------------------------------------------------------------------------

    def _heard(self, event: GuardEvent) -> None:
        plan = self._plan
        if isinstance(event, Down):
            self._went_down(event)
        elif plan is not None:
            self._host.do(lambda: self._stepped(plan, event))

    def _emptied(self) -> None:
        """No process of the active role is left; what its guard waits for is judged by itself (checkers/held.py)."""
        self._host.judges.down(self.group, self._host.name, clean=self._orderly)

    def _went_down(self, down: Down) -> None:
        self._host.note(self._host.name, f"{self.group}'s guard ended it, by {down.by.value}: {down.cause}")
        if self.post.undead:
            self._host.note(self._host.name, f"something of {self.group} is left that no kill ends")
        else:
            clean = self._orderly and (down.stopped or self.post.emptied)
            self._host.judges.down(self.group, self._host.name, clean=clean)
        self._orderly = self._orderly and down.stopped
        if down.by is DownBy.GUARD:
            self._host.judges.held.proven(self.group, self._host.name, active=self.components.active)
        self._host.hit(f"down-by-{'clocks' if down.cause.startswith(CLOCKS) else down.by.value}")
        waiting, self._on_down = self._on_down, []
        plan = self._plan
        for told in waiting:
            self._host.do(told)
        if not waiting:
            self._host.feed(lambda agent, now: agent.guard_lost(self.group, down.cause, now))
        if plan is not None and plan.kind is PlanKind.ACTIVATE:
            self._host.do(lambda: self._finish(plan, ok=False, text=down.cause))

    # -- what the platform does ---------------------------------------------------------------------------

    def act(self) -> None:
        if self.guard is not None and not self.guard.frozen and not self._host.suspended:
            self._host.resource.effect(self.group, self._host.name, self._epoch)

    # -- life ---------------------------------------------------------------------------------------------

    def runs(self) -> bool:
        return self.guard is not None and self._ran and not self.guard.emptied

    def agent_gone(self) -> None:
        """The agent's process ended: its plans and what it waited for are gone, the guard goes on."""
        self._plan = None
        self._fencing = False
        self._members.gone()
        self._on_down.clear()
        self.post.agent_gone()

    def power_off(self) -> None:
        self.agent_gone()
        if self.post.power_off():
            self._host.judges.down(self.group, self._host.name, clean=False)
