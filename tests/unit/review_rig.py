"""Whole cores against each other in one thread: a witness that commits at once, and agents with in-memory shells."""

from __future__ import annotations

import itertools
import secrets

from agents.core.agent import SiteAgent
from agents.core.effects import Fence, NoteIncarnation, ReopenStreams, Send, StartPlan, StoreBounds
from agents.core.health import HealthSummary
from agents.core.settings import AgentSettings, GroupSettings
from proto.clock import ManualClock
from proto.codec import AGENT_MESSAGES, REPORTS
from proto.commands import Author, ConfigureGroup, HeartbeatFrame, ReleaseLease
from proto.decisions import Reason
from proto.groups import GroupConfig
from proto.health import DataChecks, HealthReport, SiteState
from proto.lease import LeaseConstants
from proto.messages import (
    GroupAnswer,
    GroupHeartbeat,
    Heartbeat,
    HeartbeatAnswer,
    Release,
    RevokePhase,
    Verdict,
)
from proto.units import (
    NS_PER_MS,
    Claim,
    ClusterId,
    Epoch,
    GroupId,
    Incarnation,
    Nonce,
    RenewalNo,
    SiteId,
    WallMs,
    WitnessId,
)
from witness.core.effects import ProposeEntry, Record, Resolved
from witness.core.node import WitnessNode

A, B, G, W = SiteId("dc-a"), SiteId("dc-b"), GroupId("shop"), WitnessId("w1")
CLUSTER = ClusterId("c" * 32)
AUTHOR = Author("ann", "a reason")
CONSTANTS = LeaseConstants(3_000, 10_000, 0)
FIT = HealthSummary(ready=True, healthy=True, data_checks=DataChecks.NONE, lag_ms=-1)
CLAIM = Claim(b"c" * 16)
HEARD_MS = 20


class World:
    """A cluster of one witness whose proposals are committed the moment they are made."""

    def __init__(self, **config) -> None:
        self.clock = ManualClock()
        self.index = 0
        self.events = []
        self.outcomes = {}
        self.committing = True
        self._seqs = itertools.count(1)
        session = b"s" * 16
        self.node = WitnessNode(self_id=W, cluster=CLUSTER, witnesses=(W,), session=session, now=self.clock.now())
        self.lead(has_quorum=True)
        fields = {"group": G, "sites": (A, B), "constants": CONSTANTS, **config}
        assert self.submit(ConfigureGroup(GroupConfig(**fields), 0, AUTHOR)).ok
        self.wait(2 * fields["constants"].ttl_ms)  # the bar of a new group

    def lead(self, *, has_quorum: bool) -> None:
        now = self.clock.now()
        self.node.consensus_changed(leading=True, leader=W, has_quorum=has_quorum, caught_up=has_quorum, now=now)
        self.perform()

    @property
    def group(self):
        return self.node.machine.state.groups[G]

    def perform(self) -> None:
        for _ in range(1_000):
            effects = self.node.take_effects()
            if not effects:
                return
            for effect in effects:
                if isinstance(effect, ProposeEntry) and self.committing:
                    self.index += 1
                    self.node.apply(self.index, effect.data, 0, self.clock.now())
                elif isinstance(effect, Resolved):
                    self.outcomes[effect.request] = effect.outcome
                elif isinstance(effect, Record):
                    self.events += effect.events
        raise AssertionError("the node never comes to rest")

    def submit(self, command):
        number = self.node.submit(command, self.clock.now())
        self.perform()
        return self.outcomes.pop(number, number)

    def wait(self, duration_ms: int, every_500_ms=lambda: None) -> None:
        for step in range(duration_ms // 50):
            self.clock.advance(50 * NS_PER_MS)
            self.node.tick(self.clock.now(), self.clock.read().wall_ms)
            self.perform()
            if step % 10 == 0:
                every_500_ms()

    def beat(self, site: SiteId, epoch: int = 0, *, lag_ms: int = -1, **report):
        """One heartbeat of a site whose incarnation is its name."""
        claim = CLAIM if epoch else Claim(bytes(16))
        entry = GroupHeartbeat(G, Epoch(epoch), claim, lag_ms, report_of(**report))
        beat = Heartbeat(site, incarnation_of(site), next(self._seqs), Nonce(bytes(16)), WallMs(0), (entry,))
        return self.submit(HeartbeatFrame(AGENT_MESSAGES.encode(beat)))

    def activate(self, site: SiteId) -> Epoch:
        """The site is granted, claims and says that it is active."""
        self.beat(site)
        assert self.group.lease.site == site
        epoch = self.group.epoch
        self.beat(site, epoch)
        self.beat(site, epoch, state=SiteState.ACTIVE)
        return epoch


def incarnation_of(site: SiteId) -> Incarnation:
    return Incarnation(site.encode().ljust(16, b".")[:16])


def report_of(**changes) -> bytes:
    fields = {
        "state": SiteState.STANDBY,
        "enforce": True,
        "ready": True,
        "healthy": True,
        "data_checks": DataChecks.NONE,
        "epoch_bound": Epoch(0),
        "finished_epoch": Epoch(0),
        "group_version": 1,
        "store_id": b"s" * 16,
        "agent_version": "1",
        "containment": "pid-namespace",
        **changes,
    }
    return REPORTS.encode(HealthReport(**fields))


def site_agent(clock: ManualClock, *groups: str, site: SiteId = A) -> SiteAgent:
    """Fit, verified down, one stream open."""
    names = groups or (G,)
    settings = AgentSettings(
        site=site,
        cluster=CLUSTER,
        agent_version="1.0",
        store_id=site.encode().ljust(16, b".")[:16],
        witnesses=(W,),
        groups=tuple(GroupSettings(GroupId(name), True, None, 10_000, 10_000, ()) for name in names),
    )
    agent = SiteAgent(settings, tokens=lambda: secrets.token_bytes(16), bounds={}, started=clock.read())
    for plan in [effect for effect in agent.take_effects() if isinstance(effect, StartPlan)]:
        agent.plan_finished(plan.group, plan.plan, ok=True, text="", now=clock.read())
    for name in names:
        agent.observe(GroupId(name), FIT, clock.read())
    agent.stream_opened(W, leading=True, now=clock.read())
    agent.incarnation_noted(agent.incarnation, clock.read())
    return agent


def sent(agent: SiteAgent, kind: type) -> list:
    """Takes all effects; the messages of one kind among them."""
    effects = agent.take_effects()
    return [one.message for one in effects if isinstance(one, Send) and isinstance(one.message, kind)]


def later(agent: SiteAgent, clock: ManualClock, duration_ms: int) -> None:
    clock.advance(duration_ms * NS_PER_MS)
    agent.tick(clock.read())


def answer(beat: Heartbeat, verdict: Verdict, epoch: int, constants: LeaseConstants = CONSTANTS) -> HeartbeatAnswer:
    timing = constants.ttl_ms, constants.drift_max_ppm, constants.lock_delay_ms
    return HeartbeatAnswer(
        beat.nonce,
        tuple(
            GroupAnswer(entry.group, verdict, Epoch(epoch), RenewalNo(1), *timing, RevokePhase.NONE, 1, Reason.OK)
            for entry in beat.groups
        ),
    )


def claimed(agent: SiteAgent, clock: ManualClock, constants: LeaseConstants = CONSTANTS) -> Heartbeat:
    """Granted epoch 2 and claimed it: the heartbeat with the claim, not answered yet."""
    later(agent, clock, 20)
    agent.received(W, answer(sent(agent, Heartbeat)[-1], Verdict.GRANTED, 2, constants), clock.read())
    agent.bounds_stored(G, clock.read())
    later(agent, clock, 20)
    return sent(agent, Heartbeat)[-1]


def activating(agent: SiteAgent, clock: ManualClock, constants: LeaseConstants = CONSTANTS) -> StartPlan:
    """As `claimed`, and answered: the activation's plan."""
    agent.received(W, answer(claimed(agent, clock, constants), Verdict.RENEWED, 2, constants), clock.read())
    return next(effect for effect in agent.take_effects() if isinstance(effect, StartPlan))


def heard(agent: SiteAgent, clock: ManualClock) -> list[Release]:
    """A heartbeat of after the end is answered: no twin is ahead, and a release that is due leaves."""
    later(agent, clock, HEARD_MS)
    agent.received(W, answer(sent(agent, Heartbeat)[-1], Verdict.DORMANT, 0), clock.read())
    return sent(agent, Release)


class Pump:
    """Carries an agent's messages to the world and back; its plans succeed at once."""

    def __init__(self, agent: SiteAgent, world: World) -> None:
        self.agent = agent
        self.world = world

    def perform(self) -> None:
        clock = self.world.clock
        while effects := self.agent.take_effects():
            for effect in effects:
                if isinstance(effect, Send):
                    self._send(effect.message)
                elif isinstance(effect, NoteIncarnation):
                    self.agent.incarnation_noted(effect.incarnation, clock.read())
                elif isinstance(effect, StoreBounds):
                    self.agent.bounds_stored(effect.group, clock.read())
                elif isinstance(effect, StartPlan):
                    self.agent.plan_finished(effect.group, effect.plan, ok=True, text="", now=clock.read())
                elif isinstance(effect, ReopenStreams):
                    self.agent.stream_opened(W, leading=True, now=clock.read())
                elif isinstance(effect, Fence):
                    self.agent.fenced(effect.group, ok=True, text="", now=clock.read())

    def _send(self, message) -> None:
        if isinstance(message, Heartbeat):
            outcome = self.world.submit(HeartbeatFrame(AGENT_MESSAGES.encode(message)))
            if outcome.ok or outcome.answers:
                self.agent.received(W, HeartbeatAnswer(message.nonce, outcome.answers), self.world.clock.read())
        elif isinstance(message, Release):
            one = message
            self.world.submit(
                ReleaseLease(one.group, one.site, one.incarnation, one.epoch, one.claim, one.kind, one.text)
            )
