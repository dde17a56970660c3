"""A whole small world in memory: the witness core, two agent cores, and an operator who breaks the glass by the book.

Time is true time in steps; what an agent or a witness is asked to do is done at once. The operator keeps to what the
screen of `site-agent break-glass` says: before a permit is used every other site is stopped, which ends its platform.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from core_rig import AUTHOR, CLUSTER, SESSION, A, B, G, W, config

from agents.core.agent import SiteAgent
from agents.core.effects import (
    Fence,
    NoteIncarnation,
    Send,
    StartPlan,
    StoreBounds,
    StorePermit,
    StorePromise,
    StoreSites,
)
from agents.core.health import HealthSummary
from agents.core.permit_record import PermitRecord
from agents.core.settings import AgentSettings, GroupSettings
from agents.core.site import LIVE_STATES
from proto import codec
from proto.clock import ManualClock
from proto.commands import ConfigureGroup, LogEntry, ReleaseLease, Votes
from proto.health import DataChecks, SiteState
from proto.lease import LeaseConstants
from proto.messages import GroupSites, Heartbeat, HeartbeatAnswer, Ping, Pong, Release, ReleaseAnswer
from proto.permit import AFTER_MS_MIN, EPOCH_LEAP, Permit
from proto.units import NS_PER_MS, ClusterId, Epoch, InstantNs, SiteId, WallMs
from witness.core.effects import ProposeEntry, Push, Resolved
from witness.core.holds_rules import group_sites
from witness.core.node import WitnessNode

TTL_MS = 3_000
STEP_MS = 100
WALL_MS = 1_800_000_000_000
READY = HealthSummary(True, True, DataChecks.PASSED, 0)
KEY = "ab" * 32
_BUSY = LIVE_STATES | {SiteState.FENCING}


class Site:
    """What is on a site's disk, and its agent while that runs."""

    def __init__(self, name: SiteId) -> None:
        self.name = name
        self.agent: SiteAgent | None = None
        self.clock = ManualClock()
        self.bounds = (Epoch(0), Epoch(0))
        self.sites: GroupSites | None = None
        self.permits = PermitRecord()
        self.linked = True
        self.stream = False
        self.losing = 0
        """So many answers to it are lost."""


class PermitWorld:
    def __init__(self) -> None:
        self.now_ms = 1_000
        self.tokens = (number.to_bytes(16, "big") for number in itertools.count(1))
        self.sites = {name: Site(name) for name in (A, B)}
        self.up = False
        self.image: bytes | None = None
        self.index = 0
        self.asked: dict[int, tuple[Site, object]] = {}
        self.permits = 0
        self.taken: list[tuple[SiteId, Epoch]] = []
        self.return_of_the_witnesses()
        self.node.submit(ConfigureGroup(self.wanted(), 0, AUTHOR), self.instant)
        self.work()
        for name in (A, B):
            self.start(name)

    def wanted(self):
        constants = LeaseConstants(TTL_MS, 10_000, 0)
        return replace(config(constants=constants), break_glass_key=KEY, break_glass_after_ms=AFTER_MS_MIN)

    @property
    def instant(self) -> InstantNs:
        return InstantNs(self.now_ms * NS_PER_MS)

    # -- what happens ---------------------------------------------------------------------------------------

    def loss_of_the_witnesses(self) -> None:
        if self.up:
            self.image, self.up = self.node.snapshot(), False
            self.asked.clear()
            self._streams()

    def return_of_the_witnesses(self, image: bytes | None = None) -> None:
        if self.up:
            return
        self.up = True
        self.node = WitnessNode(
            self_id=W[0], cluster=ClusterId(CLUSTER), witnesses=W, session=SESSION, now=self.instant
        )
        if self.image is not None:
            self.node.restore(self.image, self.instant)
        self.node.consensus_changed(
            leading=True,
            leader=W[0],
            has_quorum=True,
            caught_up=True,
            now=self.instant,
            features=((W[1], 2), (W[2], 2)),
        )
        self.node.tick(self.instant, WallMs(WALL_MS + self.now_ms))
        self._streams()
        self.work()

    def start(self, name: SiteId) -> None:
        site = self.sites[name]
        if site.agent is not None:
            return
        own = GroupSettings(G, True, None, 5_000, 3_000, ())
        site.agent = SiteAgent(
            AgentSettings(name, ClusterId(CLUSTER), "1", name.encode().ljust(16), W, (own,)),
            tokens=lambda: next(self.tokens),
            bounds={G: site.bounds},
            started=site.clock.read(),
            sites={} if site.sites is None else {G: site.sites},
            permits={G: site.permits},
        )
        site.agent.observe(G, READY, site.clock.read())
        site.stream = False
        self._streams()
        self.work()

    def stop(self, name: SiteId) -> None:
        """The power goes: its platform with it."""
        self.sites[name].agent, self.sites[name].stream = None, False

    def link(self, name: SiteId, *, up: bool) -> None:
        self.sites[name].linked = up
        self._streams()
        self.work()

    def break_glass(self, name: SiteId) -> str:
        """By the book: every other site is stopped first. The permit may be refused."""
        for other in self.sites:
            if other != name:
                self.stop(other)
        self.start(name)
        return self.use_permit(name)

    def use_permit(self, name: SiteId) -> str:
        site = self.sites[name]
        assert site.agent is not None
        self.permits += 1
        seen = max(one.bounds[0] for one in self.sites.values())
        made = WallMs(site.clock.read().wall_ms)
        permit = Permit(
            cluster=ClusterId(CLUSTER),
            group=G,
            site=name,
            permit=self.permits.to_bytes(16, "big"),
            epoch=Epoch(seen + EPOCH_LEAP + self.permits),
            made_at_ms=made,
            use_by_ms=WallMs(made + 3_600_000),
        )
        words = site.agent.break_glass(G, permit, site.clock.read())
        self.work()
        if not words:
            self.taken.append((name, permit.epoch))
        return words

    def passes(self, ms: int) -> None:
        for _ in range(max(1, ms // STEP_MS)):
            self.now_ms += STEP_MS
            for site in self.sites.values():
                site.clock.advance(STEP_MS * NS_PER_MS)
            if self.up:
                self.node.tick(self.instant, WallMs(WALL_MS + self.now_ms))
            for site in self.sites.values():
                if site.agent is not None:
                    site.agent.tick(site.clock.read())
            self.work()

    # -- what is seen ---------------------------------------------------------------------------------------

    def active(self) -> list[SiteId]:
        """Where something may run in the active role."""
        running = [(name, site.agent) for name, site in self.sites.items() if site.agent is not None]
        return [name for name, agent in running if agent.groups[G].state in _BUSY]

    def under_permit(self) -> list[SiteId]:
        running = [(name, site.agent) for name, site in self.sites.items() if site.agent is not None]
        return [name for name, agent in running if agent.groups[G].under_permit is not None]

    def check(self) -> None:
        active = self.active()
        assert len(active) < 2, f"two sites are active: {active}; permits {self.taken}"

    # -- the work between -----------------------------------------------------------------------------------

    def _streams(self) -> None:
        for site in self.sites.values():
            wanted = site.agent is not None and site.linked and self.up
            if wanted != site.stream and site.agent is not None:
                site.stream = wanted
                if wanted:
                    site.agent.stream_opened(W[0], True, site.clock.read())
                else:
                    site.agent.stream_closed(W[0], site.clock.read())

    def work(self) -> None:
        for _ in range(1_000):
            if not (self._witness_effects() + sum(self._agent_effects(site) for site in self.sites.values())):
                self.check()
                return
        raise AssertionError("work without end")

    def _witness_effects(self) -> int:
        effects = self.node.take_effects() if self.up else []
        for effect in effects:
            if isinstance(effect, ProposeEntry):
                self._commit(effect.data)
            elif isinstance(effect, Resolved):
                self._resolved(effect)
            elif isinstance(effect, Push):
                site = self.sites[effect.site]
                if site.stream and site.agent is not None:
                    site.agent.received(W[0], effect.notice, site.clock.read())
        return len(effects)

    def _commit(self, data: bytes) -> None:
        self.index += 1
        self.node.apply(self.index, data, 0, self.instant)
        made = codec.decode_entry(data)
        for command in made.commands:
            if isinstance(command, Votes) and command.witness == W[0]:  # the others' timers run alike
                self.index += 1
                vote = LogEntry(W[1], b"t" * 16, self.index, made.wall_ms, (replace(command, witness=W[1]),))
                entry = codec.encode_entry(vote, [codec.encode_command(one) for one in vote.commands])
                self.node.apply(self.index, entry, 0, self.instant)

    def _resolved(self, effect: Resolved) -> None:
        site, message = self.asked.pop(effect.request, (None, None))
        if site is None or site.agent is None or not site.stream:
            return
        if site.losing:
            site.losing -= 1
            return
        now = site.clock.read()
        if isinstance(message, Heartbeat):
            site.agent.received(W[0], HeartbeatAnswer(message.nonce, effect.outcome.answers), now)
            group = self.node.machine.state.groups.get(G)
            if effect.outcome.sites and group is not None:
                site.agent.received(W[0], group_sites(group), now)
        elif isinstance(message, Release):
            answer = ReleaseAnswer(message.nonce, G, message.epoch, effect.outcome.reason)
            site.agent.received(W[0], answer, now)

    def _agent_effects(self, site: Site) -> int:
        agent = site.agent
        if agent is None:
            return 0
        effects = agent.take_effects()
        for effect in effects:
            now = site.clock.read()
            if isinstance(effect, Send):
                self._sent(site, effect)
            elif isinstance(effect, NoteIncarnation):
                agent.incarnation_noted(effect.incarnation, now)
            elif isinstance(effect, StoreBounds):
                site.bounds = (effect.epoch_bound, effect.finished_epoch)
                agent.bounds_stored(G, now)
            elif isinstance(effect, StorePermit):
                site.permits = effect.record
                agent.permit_stored(G, now)
            elif isinstance(effect, StoreSites):
                site.sites = effect.sites
                agent.sites_stored(G, now)
            elif isinstance(effect, StorePromise):
                agent.promise_stored(G, now)
            elif isinstance(effect, StartPlan):
                agent.plan_finished(G, effect.plan, True, "", now)
            elif isinstance(effect, Fence):
                agent.fenced(G, True, "", now)
        return len(effects)

    def _sent(self, site: Site, effect: Send) -> None:
        message = effect.message
        if not (self.up and site.stream and site.agent is not None):
            return
        if isinstance(message, Heartbeat):
            self.asked[self.node.heartbeat(codec.AGENT_MESSAGES.encode(message), self.instant)] = (site, message)
        elif isinstance(message, Ping):
            site.agent.received(W[0], Pong(message.nonce, True, True), site.clock.read())
        elif isinstance(message, Release):
            command = ReleaseLease(
                message.group, site.name, message.incarnation, message.epoch, message.claim, message.kind, message.text
            )
            self.asked[self.node.submit(command, self.instant)] = (site, message)
