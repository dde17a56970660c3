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
)
from agents.core.health import HealthSummary
from agents.core.lease_holder import NO_EPOCH
from agents.core.settings import AgentSettings
from agents.core.takeover import (
    AdoptedGroup,
    KeptGroup,
    KeptIncarnation,
    Takeover,
    adopt_group,
    incarnation_problem,
)
from proto.clock import ClockReading
from proto.decisions import Reason
from proto.edge.permit_file import verify_permit
from proto.errors import BadValue
from proto.health import SiteState
from proto.limits import BLOCKERS_MAX
from proto.messages import EscrowPut, EscrowPutAnswer, Heartbeat, HeartbeatAnswer, Release, WitnessMessage
from proto.units import NS_PER_MS, Epoch, GroupId, Incarnation, SiteId, WitnessId
from witness.sim.clock import NEVER_NS, NodeClock
from witness.sim.licenses.house import LicenseHouse
from witness.sim.machine import SimHost
from witness.sim.members.lead import LeadHouse
from witness.sim.members.plan import MemberPlan
from witness.sim.plans import GroupShell
from witness.sim.platform import Platform
from witness.sim.site_link import SiteLink
from witness.sim.stream import StreamKeeper
from witness.sim.surroundings import Surroundings

Input = Callable[[SiteAgent, ClockReading], None]
FIRST_PROBE_NS_MAX = 300 * NS_PER_MS


class SiteHost(SimHost):
    def __init__(
        self,
        name: str,
        settings: AgentSettings,
        clock: NodeClock,
        around: Surroundings,
        rng: random.Random,
        platforms: Mapping[GroupId, Platform],
        members: tuple[MemberPlan, ...] = (),
    ) -> None:
        super().__init__(name, clock, around, rng)
        self.settings = settings
        self.witnesses = around.witnesses
        self.agent: SiteAgent | None = None
        self.at_next_step: Callable[[], None] | None = None
        """Told once, when a step of an activation begins."""
        self.shells = {group: GroupShell(self, group, platform) for group, platform in platforms.items()}
        self.streams = StreamKeeper(self)
        self.link = SiteLink(self)
        self.house = LeadHouse(self, members)
        self.licenses = LicenseHouse(self)
        self._states: dict[GroupId, SiteState] = {}

    @property
    def groups(self) -> Mapping[GroupId, GroupShell]:
        return self.shells

    @property
    def alive(self) -> bool:
        return self.agent is not None

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
            permits=dict(self.disk.permits),
            sealed=self.licenses.kept(),
            begun=tuple(self.disk.incarnations),
        )
        goes_on = () if takeover is None else tuple(takeover.groups)
        for group in self.shells:
            record = self.disk.permits.get(group)
            if record is None or record.current is None:
                self.judges.permits.over(group, self.name)  # nothing follows from a use that never reached the disk
        if self.house.any:
            every = {group: self.disk.bounds.get(group, (NO_EPOCH, NO_EPOCH)) for group in self.shells}
            self.house.begin({group: found[1] if group in goes_on else found[0] for group, found in every.items()})
        for group in goes_on:
            self.agent.observe(group, self.health(group), self.clock.read())
        for group in self.shells:
            self.later(self.rng.randint(1, FIRST_PROBE_NS_MAX), partial(self.probe, group))
            self.shells[group].components.watch()
        for group in goes_on:
            self.shells[group].adopted()
            if self.agent.groups[group].under_permit is not None:
                self.hit("permit-taken-over")
        self.licenses.begin()
        self._perform()
        self.streams.begin()

    def _takeover(self) -> Takeover | None:
        """As agents.runtime.take_over does it, with the same judge."""
        kept = self.kept
        if kept is None or incarnation_problem(kept, self.settings, self.machine(), self.disk.incarnations):
            return None
        adopted: dict[GroupId, AdoptedGroup] = {}
        for group, one in kept.groups.items():
            held, bounds = self.shells[group].post.held(), self.disk.bounds.get(group)
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

    def process_gone(self, *, told: bool) -> None:
        self.agent = None
        self.streams.process_gone(told=told)
        self.house.gone()

    # -- inputs -------------------------------------------------------------------------------------------

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
            if self.judges.copies.answered(self.name, self.settings.site, message):
                self.hit("live-copy-told")
        elif isinstance(message, EscrowPutAnswer):
            self.judges.escrow.answered(message)
            if message.reason is not Reason.OK:
                self.hit("license-put-refused")
        self._feed(lambda agent, now: agent.received(witness, message, now, via))

    def activates(self, group: GroupId, epoch: Epoch) -> None:
        super().activates(group, epoch)
        self.licenses.activates(group, epoch)

    def probe(self, group: GroupId) -> None:
        health = self.health(group)
        self.feed(lambda agent, now: agent.observe(group, health, now))

    def health(self, group: GroupId) -> HealthSummary:
        """Of its platform, and of its members, as they were seen last."""
        health, against = self.shells[group].platform.health(), self.house.against(group)
        if not against:
            return health
        service = tuple(words for words in against if words.startswith("service"))
        others = tuple(words for words in against if not words.startswith("service"))
        return replace(
            health,
            ready=health.ready and not others,
            healthy=health.healthy and not service,
            blockers=(*others, *health.blockers, *service)[:BLOCKERS_MAX],
            service_blockers=health.service_blockers + len(service),
        )

    def guard_lacks(self, group: GroupId, lacks: tuple[str, ...]) -> None:
        self.feed(lambda agent, now: agent.guard_lacks(group, lacks, now))

    def woken(self) -> None:
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
                self.judges.copies.sent(self.name, effect.message)
            elif isinstance(effect.message, Release):
                self.judges.released(self.name, effect.message)
            elif isinstance(effect.message, EscrowPut):
                self.judges.escrow.sent(effect.message)
                self.licenses.posts(partial(self.streams.send, effect.witness, effect.message, effect.via))
                return
            self.streams.send(effect.witness, effect.message, effect.via)
        elif isinstance(effect, ReopenStreams):
            self.later(0, self.streams.reopen)
        elif isinstance(effect, StoreBounds):
            self._store(effect)
        elif isinstance(effect, NoteIncarnation):
            self._note(effect.incarnation)
        elif isinstance(effect, KeepAuthority):
            self._keep(effect)
        elif isinstance(effect, StartPlan):
            self._extends(effect)
            self.shells[effect.group].start_plan(effect)
        elif isinstance(effect, ExtendDeadline):
            self._extends(effect)
            self.shells[effect.group].extend(effect)
        elif isinstance(effect, Fence):
            self.shells[effect.group].fence(effect)
        elif isinstance(effect, KeepRelays):
            self.streams.keep_relays(effect.witnesses)
        elif isinstance(effect, SendSite | AnswerSite | StorePromise | StoreSites):
            self.link.perform(effect)
        elif isinstance(effect, StorePermit):
            self._keep_permit(effect)
        elif isinstance(effect, SealKey | LookAtKey | KeepSealed):
            self.licenses.perform(effect)
        else:
            self.note(self.name, effect.text)

    def _note(self, incarnation: Incarnation) -> None:
        self.write_down(
            lambda: self.disk.begins(incarnation), lambda agent, now: agent.incarnation_noted(incarnation, now)
        )

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

    # -- an operator's permit -------------------------------------------------------------------------------

    def break_glass(self, group: GroupId, text: str) -> str | None:
        """As `site-agent break-glass`: '' when the permit is taken, else why not; None when no agent answers."""
        if self.agent is None or not self.runs:
            return None
        found = self.agent.groups[group]
        if found.sites is None or not found.sites.permits.enabled:
            return "takes no permits here"
        try:
            permit = verify_permit(text, found.sites.permits.key)
        except BadValue as error:
            return str(error)
        now = self.clock.read()
        words = self.agent.break_glass(group, permit, now)
        if not words:
            self.note(self.name, f"{group} takes a permit, epoch {permit.epoch}")
            self.judges.permits.taken(group, self.name, permit, now)
        self._perform()
        return words

    def end_break_glass(self, group: GroupId) -> None:
        def end(agent: SiteAgent, now: ClockReading) -> None:
            agent.end_break_glass(group, now)

        self.feed(end)

    def _keep_permit(self, effect: StorePermit) -> None:
        group, record = effect.group, effect.record
        if record.current is None:
            self.judges.permits.over(group, self.name)
        self.write_down(
            lambda: self.disk.permits.update({group: record}), lambda agent, now: agent.permit_stored(group, now)
        )

    def _extends(self, effect: ExtendDeadline | StartPlan) -> None:
        """Under a permit an agent does so by itself; that its process runs is what the judges go by."""
        constants = None if self.agent is None else self.agent.groups[effect.group].holder.constants
        if constants is not None and effect.deadlines is not None:
            self.judges.permitted(effect.group, self.name, effect.epoch, constants)

    def _tell_states(self) -> None:
        if self.agent is None:
            return
        for name, group in self.agent.groups.items():
            if self._states.get(name) is not group.state:
                self._states[name] = group.state
                self.note(self.name, f"{name} is {group.state.value}, epoch {group.holder.epoch}")

    # -- time ---------------------------------------------------------------------------------------------

    def rearm(self) -> None:
        self._armed_ns = NEVER_NS
        self._arm()
        super().rearm()

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
