"""One simulated site: machine, disk, agent process and its streams around the real agent core.

Rule: an input reaches the agent only while its process runs; while it is stopped, inputs wait as they would in
socket buffers and pipes. A crash loses what was not on disk. The guards are other processes (witness.sim.plans) and
go on: the next process of the agent takes over what they still hold, by the agent's own rules, or starts cold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from agents.core.agent import SiteAgent
from agents.core.effects import (
    AnswerSite,
    Effect,
    ExtendDeadline,
    Fence,
    KeepAuthority,
    KeepRelays,
    ReopenStreams,
    Send,
    SendSite,
    StartPlan,
    StoreBounds,
    StorePromise,
    StoreSites,
)
from agents.core.settings import AgentSettings
from agents.core.takeover import (
    AdoptedGroup,
    KeptGroup,
    KeptIncarnation,
    Machine,
    Takeover,
    adopt_group,
    incarnation_problem,
)
from proto.clock import ClockReading
from proto.health import SiteState
from proto.messages import Heartbeat, HeartbeatAnswer, WitnessMessage
from proto.units import NS_PER_MS, GroupId, SiteId, WitnessId
from witness.sim.clock import NEVER_NS, NodeClock
from witness.sim.guest import Guest
from witness.sim.plans import GroupShell
from witness.sim.platform import Platform
from witness.sim.site_link import SiteLink
from witness.sim.stream import StreamKeeper
from witness.sim.surroundings import Disk, Surroundings

Input = Callable[[SiteAgent, ClockReading], None]
FIRST_PROBE_NS_MAX = 300 * NS_PER_MS
INBOX_MAX = 20_000


class SiteHost:
    def __init__(
        self,
        name: str,
        settings: AgentSettings,
        clock: NodeClock,
        around: Surroundings,
        rng: random.Random,
        platforms: Mapping[GroupId, Platform],
    ) -> None:
        self.name = name
        self.settings = settings
        self.clock = clock
        self.rng = rng
        self.events = around.events
        self.network = around.network
        self.judges = around.judges
        self.resource = around.resource
        self.witnesses = around.witnesses
        self.hit = around.hit
        self.note = around.note
        self.parts = around.parts
        self.fitting = around.fitting
        self.disk = Disk()
        self.kept: KeptIncarnation | None = None
        """In the runtime directory: a power failure empties it."""
        self.agent: SiteAgent | None = None
        self.stopped = False
        """SIGSTOP to the agent's process."""
        self.suspended = False
        """Nothing executes, in a suspend or under a hypervisor that stopped it."""
        self.guest = Guest(self)
        self.at_next_step: Callable[[], None] | None = None
        """Told once, when a step of an activation begins."""
        self.shells = {group: GroupShell(self, group, platform) for group, platform in platforms.items()}
        self.streams = StreamKeeper(self)
        self.link = SiteLink(self)
        self.disturbed = 0
        """How often something kept the agent from its work."""
        self._life = 0
        self._suspended_ns = 0
        self._outages = 0
        self.off = False
        """Without power: no process begins until it is back."""
        self._inbox: list[Callable[[], None]] = []
        self._armed_ns = NEVER_NS
        self._states: dict[GroupId, SiteState] = {}

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The agent's process begins: it takes over what a guard still holds, or starts cold."""
        if self.agent is not None or self.off:
            return
        takeover = self._takeover()
        self._life += 1
        self._armed_ns = NEVER_NS
        self.note(self.name, "agent starts")
        self.agent = SiteAgent(
            self.settings,
            tokens=lambda: self.rng.randbytes(16),
            bounds=dict(self.disk.bounds),
            started=self.clock.read(),
            takeover=takeover,
            promises=dict(self.disk.promises),
            sites=dict(self.disk.sites),
        )
        for group in () if takeover is None else takeover.groups:
            self.agent.observe(group, self.shells[group].platform.health(), self.clock.read())
        for group in self.shells:
            self.later(self.rng.randint(1, FIRST_PROBE_NS_MAX), partial(self.probe, group))
            self.shells[group].components.watch()
        for group in () if takeover is None else takeover.groups:
            self.shells[group].post.taken_over()
        self._perform()
        self.streams.begin()

    def machine(self) -> Machine:
        return Machine(f"boot-{self._outages}", "")

    def _takeover(self) -> Takeover | None:
        """As agents.runtime.take_over does it, with the same judge."""
        kept = self.kept
        if kept is None or incarnation_problem(kept, self.settings, self.machine()):
            return None
        adopted: dict[GroupId, AdoptedGroup] = {}
        for group, one in kept.groups.items():
            held, bounds = self.shells[group].held(), self.disk.bounds.get(group)
            if held is None or bounds is None:
                self.hit("not-taken-over")
                continue
            progress, now = self.shells[group].journal, self.clock.read()
            judged = adopt_group(one, kept.incarnation, held, progress, bounds, self.machine(), now)
            if isinstance(judged, str):
                self.note(self.name, f"{group} starts cold: {judged}")
                continue
            adopted[group] = judged
            self.hit("taken-over-active" if judged.state is SiteState.ACTIVE else "taken-over-in-a-plan")
        if not adopted:
            return None
        self.kept = replace(kept, life=kept.life + 1)
        return Takeover(self.kept, adopted)

    def _keep(self, effect: KeepAuthority) -> None:
        if self.agent is None:
            return
        kept, incarnation, settings = self.kept, self.agent.incarnation, self.settings
        if kept is None or kept.incarnation != incarnation:
            kept = KeptIncarnation(
                settings.cluster, settings.site, settings.store_id, self.machine(), incarnation, 0, {}
            )
        group = KeptGroup(effect.epoch, effect.claim, effect.constants)
        self.kept = replace(kept, groups={**kept.groups, effect.group: group})

    def crash(self) -> None:
        """SIGKILL to the agent's process alone."""
        if self.agent is None:
            return
        self.note(self.name, "agent is killed")
        self.disturbed += 1
        self.agent = None
        self.stopped = False
        self._inbox.clear()
        self.streams.process_gone(told=True)
        for shell in self.shells.values():
            shell.agent_gone()

    def crash_and_restart(self, after_ns: int) -> None:
        """The next process is there soon, unless the machine goes down meanwhile."""
        outages = self._outages
        self.crash()
        self.events.after(after_ns, lambda: self.start() if outages == self._outages else None)

    def power_off(self) -> None:
        self.note(self.name, "power is off")
        self._outages += 1
        self.off = True
        self.streams.process_gone(told=False)
        self.crash()
        for shell in self.shells.values():
            shell.power_off()
        self.guest.off()
        self.suspended = False
        self.kept = None

    def power_on(self) -> None:
        self.off = False
        self.clock.reboot()
        self.start()

    def stop(self) -> None:
        self.disturbed += 1
        self.stopped = self.agent is not None

    def go_on(self) -> None:
        if self.stopped:
            self.stopped = False
            self.drain()

    def freeze(self, *, frozen: bool) -> None:
        """SIGSTOP, later SIGCONT, to every process of the site, guards included: only the kernel acts."""
        for shell in self.shells.values():
            shell.post.freeze(frozen=frozen)
        if frozen:
            self.stop()
        else:
            self.go_on()

    def suspend(self) -> None:
        """Nothing executes; BOOTTIME goes on. What does not execute is not active."""
        self.note(self.name, "suspends")
        self.disturbed += 1
        self.suspended = True
        self._suspended_ns = self.events.now_ns
        self.clock.suspend()
        for shell in self.shells.values():
            if shell.runs():
                self.judges.stands_still(shell.group, self.name)

    def resume(self) -> None:
        """The kernel's timers come before everything else; one that was frozen knows of no time that passed."""
        if self.guest.frozen:
            self.guest.thaw()
        if not self.suspended:
            return
        self.note(self.name, "resumes")
        self.clock.resume()
        for shell in self.shells.values():
            shell.post.hardware.slept(self.events.now_ns - self._suspended_ns)
            shell.post.freeze(frozen=True)
            shell.post.advance()
        self.suspended = False
        for shell in self.shells.values():
            shell.post.freeze(frozen=self.stopped)
            if shell.runs():
                self.judges.goes_on(shell.group, self.name)
            shell.post.wake()
        self.drain()

    # -- inputs -------------------------------------------------------------------------------------------

    @property
    def runs(self) -> bool:
        return self.agent is not None and not self.stopped and not self.suspended

    def do(self, action: Callable[[], None]) -> None:
        """Within the agent's process: now, when it goes on, or never when it is gone."""
        if self.runs:
            action()
        elif self.agent is not None and len(self._inbox) < INBOX_MAX:
            self._inbox.append(action)

    def later(self, delay_ns: int, action: Callable[[], None]) -> None:
        life = self._life
        self.guest.after(delay_ns, lambda: self.do(action) if life == self._life else None)

    def step_begins(self) -> None:
        told, self.at_next_step = self.at_next_step, None
        if told is not None:
            told()

    def feed(self, step: Input) -> None:
        self.do(lambda: self._feed(step))

    def _feed(self, step: Input) -> None:
        if self.agent is not None:
            step(self.agent, self.clock.read())
            self._perform()

    def received(self, witness: WitnessId, message: WitnessMessage, via: SiteId | None = None) -> None:
        if isinstance(message, HeartbeatAnswer):
            self.judges.answered(self.name, message.nonce, message.groups)
        self._feed(lambda agent, now: agent.received(witness, message, now, via))

    def probe(self, group: GroupId) -> None:
        health = self.shells[group].platform.health()
        self.feed(lambda agent, now: agent.observe(group, health, now))

    def drain(self) -> None:
        while self._inbox and self.runs:
            self._inbox.pop(0)()
        if self.runs:
            self._armed_ns = NEVER_NS
            self._perform()

    # -- effects ------------------------------------------------------------------------------------------

    def _perform(self) -> None:
        while self.agent is not None:
            effects = self.agent.take_effects()
            if not effects:
                break
            for effect in effects:
                self._perform_one(effect)
        self._tell_states()
        self._arm()

    def _perform_one(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            if isinstance(effect.message, Heartbeat):
                self.judges.sent(self.name, effect.message.nonce)
            self.streams.send(effect.witness, effect.message, effect.via)
        elif isinstance(effect, ReopenStreams):
            self.later(0, self.streams.reopen)
        elif isinstance(effect, StoreBounds):
            self._store(effect)
        elif isinstance(effect, KeepAuthority):
            self._keep(effect)
        elif isinstance(effect, StartPlan):
            self.shells[effect.group].start_plan(effect)
        elif isinstance(effect, ExtendDeadline):
            self.shells[effect.group].extend(effect)
        elif isinstance(effect, Fence):
            self.shells[effect.group].fence(effect)
        elif isinstance(effect, KeepRelays):
            self.streams.keep_relays(effect.witnesses)
        elif isinstance(effect, SendSite | AnswerSite | StorePromise | StoreSites):
            self.link.perform(effect)
        else:
            self.note(self.name, effect.text)

    def _store(self, effect: StoreBounds) -> None:
        """On disk a moment later, also when the process dies meanwhile; power takes it away."""
        bounds = (effect.epoch_bound, effect.finished_epoch)
        life, outages = self._life, self._outages

        def on_disk() -> None:
            if outages == self._outages and (life == self._life or self.agent is None):
                self.disk.bounds[effect.group] = bounds
                self.feed(lambda agent, now: agent.bounds_stored(effect.group, now))

        self.events.after(self.rng.randint(1, self.disk.write_ns_max), on_disk)

    def write_down(self, write: Callable[[], None], told: Input) -> None:
        """As bounds are: on disk a moment later, and then the core is told."""
        life, outages = self._life, self._outages

        def on_disk() -> None:
            if outages == self._outages and (life == self._life or self.agent is None):
                write()
                self.feed(told)

        self.events.after(self.rng.randint(1, self.disk.write_ns_max), on_disk)

    def _tell_states(self) -> None:
        if self.agent is None:
            return
        for name, group in self.agent.groups.items():
            if self._states.get(name) is not group.state:
                self._states[name] = group.state
                self.note(self.name, f"{name} is {group.state.value}, epoch {group.holder.epoch}")

    # -- time ---------------------------------------------------------------------------------------------

    def rearm(self) -> None:
        """The clock changed its pace or leapt: timers that the kernel keeps follow it."""
        self._armed_ns = NEVER_NS
        self._arm()
        for shell in self.shells.values():
            shell.post.wake()

    def _arm(self) -> None:
        if self.agent is None or not self.runs:
            return
        at_ns = max(self.clock.true_at(self.agent.next_deadline()), self.events.now_ns)
        if at_ns == self._armed_ns:
            return
        self._armed_ns = at_ns
        self.events.at(at_ns, lambda: self._tick(at_ns))

    def _tick(self, at_ns: int) -> None:
        if at_ns == self._armed_ns and self.runs:
            self._armed_ns = NEVER_NS
            self._feed(lambda agent, now: agent.tick(now))
