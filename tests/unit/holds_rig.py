"""Two or three agents' cores, one witness's core and what lies between them, on clocks of unequal rates, in one thread.

Messages are late, lost and overtaken as the test says; shells do at once what they are asked, disks take a moment.
After every step it is judged, apart from the code, that at most one site runs with authority.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field, replace

from review_rig import AUTHOR, CONSTANTS, FIT, A, B, G, W, World

from agents.core.agent import SiteAgent
from agents.core.effects import (
    AnswerSite,
    Fence,
    NoteIncarnation,
    PlanKind,
    ReopenStreams,
    Send,
    SendSite,
    StartPlan,
    StoreBounds,
    StorePromise,
    StoreSites,
)
from agents.core.settings import AgentSettings, GroupSettings
from agents.core.site import LIVE_STATES
from proto.clock import ManualClock
from proto.codec import AGENT_MESSAGES
from proto.commands import ConfigureGroup, HeartbeatFrame, RaiseFeatureLevel, ReleaseLease
from proto.groups import WitnessLoss
from proto.health import SiteState
from proto.messages import Heartbeat, HeartbeatAnswer, Ping, Pong, Release, ReleaseAnswer
from proto.units import NS_PER_MS, PPM, ClusterId, SiteId
from witness.core.effects import ProposeEntry, Push, Record, Resolved

C = SiteId("dc-c")
STEP_MS = 10
__all__ = ["A", "B", "C", "G", "Site", "Together"]


@dataclass
class Site:
    name: SiteId
    clock: ManualClock
    rate_ppm: int
    agent: SiteAgent
    disk: dict = field(default_factory=lambda: {"bounds": {}, "promises": {}, "sites": {}})
    life: int = 0
    plans: list = field(default_factory=list)

    @property
    def group(self):
        return self.agent.groups[G]

    @property
    def state(self) -> SiteState:
        return self.group.state

    def rules(self) -> bool:
        """It runs, and may."""
        return self.state in LIVE_STATES and self.group.holder.alive(self.clock.read())


class Witness(World):
    """Its hints reach the sites, too."""

    def perform(self) -> None:
        for _ in range(1_000):
            effects = self.node.take_effects()
            if not effects:
                return
            for effect in effects:
                if isinstance(effect, ProposeEntry):
                    self.index += 1
                    self.node.apply(self.index, effect.data, 0, self.clock.now())
                elif isinstance(effect, Resolved):
                    self.outcomes[effect.request] = effect.outcome
                elif isinstance(effect, Record):
                    self.events += effect.events
                elif isinstance(effect, Push) and self.push is not None:
                    self.push(effect.site, effect.notice)

    push = None


class Together:
    group_more: dict = {}  # noqa: RUF012 - of the agents' group, for who extends this
    config_more: dict = {}  # noqa: RUF012 - of the witnesses' configuration

    def __init__(self, *, sites=(A, B), rates=(0, 0, 0), seed: int = 1, constants=CONSTANTS, late_ms: int = 4) -> None:
        self.witness = Witness(constants=constants, sites=sites)
        assert self.witness.submit(RaiseFeatureLevel(2)).ok or self.witness.node.machine.state.feature_level == 2
        config = replace(self.witness.group.config, witness_loss=WitnessLoss.HOLD, **self.config_more)
        assert self.witness.submit(ConfigureGroup(config, self.witness.group.version, AUTHOR)).ok
        self.rng = random.Random(seed)
        self.now_ms = 0
        self.late_ms = late_ms
        self.loss = 0.0
        self.cut: set[frozenset[str]] = set()
        self._numbers = itertools.count(1)
        self._queue: list = []
        self._order = itertools.count()
        self._names = sites
        self.sites: dict[SiteId, Site] = {}
        self.overlaps: list[str] = []
        for name, rate in zip(sites, rates, strict=False):
            self.sites[name] = Site(name, ManualClock(), rate, None)  # type: ignore[arg-type]  # restart makes the agent
            self.restart(name)
        self.witness.push = self._hint

    def _hint(self, name: SiteId, notice) -> None:
        site = self.sites[name]
        life = site.life
        self._carry(W, name, lambda: self._feed(site, life, lambda one: one.received(W, notice, site.clock.read())))

    # -- lives ------------------------------------------------------------------------------------------------

    def restart(self, name: SiteId, *, wiped: bool = False) -> None:
        """A cold start: the process is killed and everything it ran with it."""
        site = self.sites[name]
        site.life += 1
        if wiped:
            site.disk = {"bounds": {}, "promises": {}, "sites": {}}
        settings = AgentSettings(
            site=name,
            cluster=ClusterId("c" * 32),
            agent_version="1",
            store_id=name.encode().ljust(16, b"s")[:16],
            witnesses=(W,),
            groups=(GroupSettings(G, True, None, 5_000, 3_000, (), **self.group_more),),
            peers=tuple(one for one in self._names if one != name),
        )
        site.agent = SiteAgent(
            settings,
            tokens=lambda: next(self._numbers).to_bytes(16, "big"),
            bounds=dict(site.disk["bounds"]),
            started=site.clock.read(),
            promises=dict(site.disk["promises"]),
            sites=dict(site.disk["sites"]),
            sealed=site.disk.get("sealed"),
        )
        site.agent.observe(G, FIT, site.clock.read())
        self._perform(site)
        self._open(site, site.life)

    def _open(self, site: Site, life: int) -> None:
        if life == site.life and W not in [route.witness for route in site.agent.streams.open]:
            if self._reaches(site.name, W):
                site.agent.stream_opened(W, True, site.clock.read())
                self._perform(site)
            self.later(200, lambda: self._open(site, life))
        elif life == site.life:
            self.later(200, lambda: self._open(site, life))

    # -- between ----------------------------------------------------------------------------------------------

    def later(self, wait_ms: int, act) -> None:
        heapq.heappush(self._queue, (self.now_ms + wait_ms, next(self._order), act))

    def _reaches(self, one: str, other: str) -> bool:
        return frozenset((str(one), str(other))) not in self.cut

    def _carry(self, one: str, other: str, act) -> None:
        if self._reaches(one, other) and self.rng.random() >= self.loss:
            self.later(self.rng.randint(0, self.late_ms), act)

    def part(self, one: str, other: str, *, on: bool = True) -> None:
        pair = frozenset((str(one), str(other)))
        self.cut = self.cut | {pair} if on else self.cut - {pair}

    def lose_witnesses(self, *, on: bool = True) -> None:
        for name in self._names:
            self.part(name, W, on=on)

    # -- effects ----------------------------------------------------------------------------------------------

    def _perform(self, site: Site) -> None:
        for _ in range(1_000):
            effects = site.agent.take_effects()
            if not effects:
                return
            for effect in effects:
                self._one(site, effect)
        raise AssertionError("the agent never comes to rest")

    def _feed(self, site: Site, life: int, act) -> None:
        if life == site.life:
            act(site.agent)
            self._perform(site)

    def _one(self, site: Site, effect) -> None:
        life, agent = site.life, site.agent

        def feed(act, wait_ms: int = 0) -> None:
            self.later(wait_ms, lambda: self._feed(site, life, act))

        def read():
            return site.clock.read()

        if isinstance(effect, Send):
            self._carry(site.name, W, lambda: self._at_witness(site, life, effect.message))
        elif isinstance(effect, SendSite):
            self._carry(site.name, effect.site, lambda: self._asked(site, life, effect.site, effect.message))
        elif isinstance(effect, AnswerSite):
            asker = self.sites[effect.site]
            asked_life = asker.life
            self._carry(
                site.name,
                effect.site,
                lambda: self._feed(
                    asker, asked_life, lambda one: one.site_received(site.name, effect.message, asker.clock.read())
                ),
            )
        elif isinstance(effect, NoteIncarnation):
            feed(lambda one: one.incarnation_noted(effect.incarnation, read()), self.rng.randint(0, 5))
        elif isinstance(effect, StoreBounds):
            site.disk["bounds"][G] = (effect.epoch_bound, effect.finished_epoch)
            feed(lambda one: one.bounds_stored(G, read()), self.rng.randint(0, 5))
        elif isinstance(effect, StorePromise):
            site.disk["promises"][G] = effect.promise
            feed(lambda one: one.promise_stored(G, read()), self.rng.randint(0, 5))
        elif isinstance(effect, StoreSites):
            site.disk["sites"][G] = effect.sites
            feed(lambda one: one.sites_stored(G, read()), self.rng.randint(0, 5))
        elif isinstance(effect, StartPlan):
            site.plans.append(effect.kind)
            feed(lambda one: one.plan_finished(G, effect.plan, True, "", read()), 20)
        elif isinstance(effect, Fence):
            feed(lambda one: one.fenced(G, True, "", read()), 1)
        elif isinstance(effect, ReopenStreams):
            agent.streams.open.clear()

    def _asked(self, asker: Site, life: int, name: SiteId, message) -> None:
        del life
        site = self.sites[name]
        now = site.clock.read()
        self._feed(site, site.life, lambda one: one.site_asked(asker.name, message, now, now))

    def _at_witness(self, site: Site, life: int, message) -> None:
        def answer(said) -> None:
            self._carry(
                W, site.name, lambda: self._feed(site, life, lambda one: one.received(W, said, site.clock.read()))
            )

        if isinstance(message, Heartbeat):
            outcome = self.witness.submit(HeartbeatFrame(AGENT_MESSAGES.encode(message)))
            for said in (HeartbeatAnswer(message.nonce, outcome.answers), *outcome.after):
                answer(said)
        elif isinstance(message, Release):
            fields = {
                name: getattr(message, name)
                for name in ("group", "site", "incarnation", "epoch", "claim", "kind", "text")
            }
            outcome = self.witness.submit(ReleaseLease(**fields))
            answer(ReleaseAnswer(message.nonce, message.group, message.epoch, outcome.reason))
        elif isinstance(message, Ping):
            answer(Pong(message.nonce, True, True))

    # -- time -------------------------------------------------------------------------------------------------

    def passes(self, span_ms: int) -> Together:
        for _ in range(max(1, span_ms // STEP_MS)):
            self.now_ms += STEP_MS
            self.witness.clock.advance(STEP_MS * NS_PER_MS)
            self.witness.node.tick(self.witness.clock.now(), self.witness.clock.read().wall_ms)
            self.witness.perform()
            for site in self.sites.values():
                site.clock.advance(STEP_MS * NS_PER_MS * (PPM + site.rate_ppm) // PPM)
            while self._queue and self._queue[0][0] <= self.now_ms:
                heapq.heappop(self._queue)[2]()
            for site in self.sites.values():
                if site.agent.next_deadline() <= site.clock.now():
                    site.agent.tick(site.clock.read())
                    self._perform(site)
            self._judge()
        return self

    def _judge(self) -> None:
        ruling = [str(name) for name, site in self.sites.items() if site.rules()]
        if len(ruling) > 1:
            self.overlaps.append(f"{self.now_ms} ms: {', '.join(ruling)}")

    def until_active(self, limit_ms: int = 20_000) -> Site:
        for _ in range(limit_ms // 100):
            self.passes(100)
            found = [site for site in self.sites.values() if site.state is SiteState.ACTIVE]
            if found:
                return found[0]
        raise AssertionError(f"nobody is active: {[(s.name, s.state, s.group.promising) for s in self.sites.values()]}")

    def other(self, site: Site) -> Site:
        return next(one for one in self.sites.values() if one is not site)

    def told(self) -> list[str]:
        return [event.kind.value for event in self.witness.events]

    def activations(self) -> int:
        return sum(site.plans.count(PlanKind.ACTIVATE) for site in self.sites.values())
