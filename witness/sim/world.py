"""A whole cluster from one seed: witnesses, sites, what lies between them, and those who watch.

Two phases (TigerBeetle's): first safety, while everything may break; then everything is healed, and within a bound
that is computed from the configuration exactly one site of every group is active and stays so. The world is also
what the Hypothesis state machine of tests/sim drives by hand.
"""

from __future__ import annotations

import random
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from functools import partial

from agents.core.settings import AgentSettings
from proto.events import Event
from proto.features import FEATURE_MAX
from proto.health import DataChecks, SiteState
from proto.lease import takeover_wait_max
from proto.limits import ENTRY_BYTES_MAX
from proto.units import NS_PER_S, PPM, GroupId, SiteId
from witness.core.transitions import Phase
from witness.sim.break_glass import KeyHolder
from witness.sim.campaign.kit import Note
from witness.sim.clock import Events, NodeClock
from witness.sim.cluster import Cluster
from witness.sim.faults import FaultDriver
from witness.sim.faults_permit import Outage
from witness.sim.host.fitting import ACTIVATION_MS, DEACTIVATION_MS, group_settings
from witness.sim.judges import Judges
from witness.sim.life import Life
from witness.sim.machine import SimHost
from witness.sim.members.host import MemberHost
from witness.sim.members.plan import MemberPlan
from witness.sim.network import Network
from witness.sim.platform import Moods, Platform
from witness.sim.raft.checkers import Findings
from witness.sim.raft.faults_net import SLOW_NS_MAX
from witness.sim.raft.judge import liveness_bound_ns
from witness.sim.raft.network import CONNECTED_WITHIN_NS
from witness.sim.raft.setup import CLUSTER
from witness.sim.resource import Resource
from witness.sim.restores import Restores
from witness.sim.setup import CALM_DRIFT_PPM, Setup, raft_kinds, rng_for
from witness.sim.site import SiteHost
from witness.sim.surroundings import Disk, Surroundings
from witness.sim.witness import WitnessHost
from witness.sim.workload import Caretaker, longest

RECONNECT_NS = 12 * NS_PER_S
"""Dead streams are noticed and refused ones tried again, an election, an operator's few commands."""
LOOK_NS = NS_PER_S // 5
CATCH_UP_NS = 3 * NS_PER_S
COPIES = frozenset({"second-agent", "live-copy"})
"""Kinds of faults that leave a site superseded by its copy."""


class World:
    def __init__(self, setup: Setup, trace: Note | None = None) -> None:
        self.setup = setup
        self.events = Events()
        self.faults_hit: Counter[str] = Counter()
        self._trace = trace
        self._rng = rng_for(setup.seed, "world")
        self.healed = False
        """The safety phase is over."""
        raft = replace(setup.raft, kinds=raft_kinds(setup.kinds))
        if {"flood", "license-large"} & set(setup.kinds):
            raft = replace(raft, entry_bytes=ENTRY_BYTES_MAX)
        self.cluster = Cluster(raft, self.events, partial(rng_for, setup.seed), self.rate_ppm, self)
        self.witnesses = self.cluster.machines
        self.judges = self._make_judges(self.cluster.judge.findings)
        self.network = Network(self.events, rng_for(setup.seed, "network"), self.hit)
        self.resource = Resource(self.events, rng_for(setup.seed, "resource"), self.hit, self.note, self.judges.effects)
        self.sites = [self._site(site, str(site)) for site in setup.sites]
        for one in self.sites:
            one.link.peers.update({other.settings.site: other for other in self.sites if other is not one})
        self.members = [self._member(site, plan) for site in self.sites for plan in site.house.plans]
        self.restores = Restores(self.cluster, self.judges, self.hit)
        self.keys = KeyHolder(self)
        self.outage: Outage | None = None
        """While, and after, an operator went by permits."""
        self.faults = FaultDriver(self)
        self.caretaker = Caretaker(self)

    # -- building -----------------------------------------------------------------------------------------

    def rate_ppm(self, rng: random.Random) -> int:
        bound = min(config.constants.drift_max_ppm for config in self.setup.groups)
        if self.setup.drift_extreme:
            return rng.choice((-bound, bound))
        return rng.randint(-CALM_DRIFT_PPM, CALM_DRIFT_PPM)

    def _make_judges(self, findings: Findings) -> Judges:
        judges = Judges(findings, lambda: self.events.now_ns, self.setup.groups)
        judges.licenses.alone = set(self.setup.kinds) == {"license-probe"}
        return judges

    def _platform(self, host: str) -> Platform:
        return Platform(rng_for(self.setup.seed, f"platform/{host}"), self.hit, self.setup.data_checks)

    def _member_platform(self, host: str, group: GroupId) -> Platform:
        rng = rng_for(self.setup.seed, f"platform/{host}/{group}")
        return Platform(rng, lambda kind: self.hit(f"member-{kind}"), DataChecks.NONE)

    def _site(self, site: SiteId, name: str) -> SiteHost:
        rng = rng_for(self.setup.seed, f"site/{name}")
        groups = [config for config in self.setup.groups if site in config.sites]
        settings = AgentSettings(
            site=site,
            cluster=CLUSTER,
            agent_version="0.0.0+sim",
            store_id=rng_for(self.setup.seed, f"store/{site}").randbytes(16),
            witnesses=self.setup.raft.witnesses,
            groups=tuple(group_settings(config, self.setup.fitting) for config in groups),
            peers=tuple(one for one in self.setup.sites if one != site) if self.setup.site_link else (),
        )
        platforms = {config.group: self._platform(name) for config in groups}
        clock, members = NodeClock(self.events, self.rate_ppm(rng)), self.setup.members_of(site)
        return SiteHost(name, settings, clock, self._around(), rng, platforms, members)

    def _around(self) -> Surroundings:
        return Surroundings(
            self.events,
            self.network,
            self.judges,
            self.resource,
            self.witnesses,
            self.hit,
            self.note,
            partial(rng_for, self.setup.seed),
            self.setup.fitting,
        )

    def _member(self, lead: SiteHost, plan: MemberPlan) -> MemberHost:
        rng = rng_for(self.setup.seed, f"member/{plan.host_of(lead.name)}")
        platforms = {group: self._member_platform(plan.host_of(lead.name), group) for group in lead.shells}
        host = MemberHost(lead, plan, NodeClock(self.events, self.rate_ppm(rng)), self._around(), rng, platforms)
        self.judges.belongs(host.name, lead.name)
        self.judges.members.watch(host.name, lead.name, host.holds)
        return host

    def members_of(self, site: SiteHost) -> list[MemberHost]:
        return [member for member in self.members if member.lead is site]

    def leap(self, hosts: list[WitnessHost], ahead_ns: int) -> None:
        """These witnesses' clocks jump ahead together."""
        for host in hosts:
            self.judges.expiry.leapt(host.name)
            host.clock.leap(ahead_ns)
            host.rearm()

    def clone(self, site: SiteHost) -> SiteHost:
        """A machine with the same identity, disk and runtime directory as they are now; it starts at once."""
        twin = self._site(site.settings.site, f"{site.settings.site}-twin-{len(self.sites)}")
        twin.disk.bounds, twin.disk.handed, twin.kept = dict(site.disk.bounds), dict(site.disk.handed), site.kept
        twin.disk.permits, twin.disk.incarnations = dict(site.disk.permits), list(site.disk.incarnations)
        twin.disk.promises, twin.disk.sites = dict(site.disk.promises), dict(site.disk.sites)
        twin.disk.keys = deepcopy(site.disk.keys)
        twin.link.peers.update(site.link.peers)
        for group, shell in site.shells.items():
            twin.shells[group].platform.data_fails = shell.platform.data_fails  # its data are a copy, too
        self.sites.append(twin)
        twin.start()
        return twin

    @property
    def in_outage(self) -> bool:
        """An operator goes by permits."""
        return self.outage is not None and not self.outage.over

    # -- watching -----------------------------------------------------------------------------------------

    def hit(self, kind: str) -> None:
        self.faults_hit[kind] += 1

    def note(self, who: str, what: str) -> None:
        if self._trace is not None:
            self._trace(self.events.now_ns, who, what)

    def applied(self, life: Life, events: list[Event]) -> None:
        for event in events:
            self._tell(event)
            self.restores.granted(event, life.node.machine)
        self.judges.applied(life, events)

    def _tell(self, event: Event) -> None:
        where = f"{event.group or ''} {event.site or ''} {event.epoch}"
        self.note("ledger", f"{event.kind.value} {where} {event.text}")

    def restored(self, life: Life) -> None:
        self.judges.restored(life)

    def recorded(self, witness: str, events: tuple[Event, ...]) -> None:
        self.judges.replicas.recorded(witness, events)

    def asked(self) -> int:
        return self.judges.durable.floor

    def told(self, life: Life, index: int, asked: int) -> None:
        self.judges.told(life, index, asked)

    # -- running ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.cluster.begin()
        if self.setup.drift_extreme:
            self.hit("drift-at-the-bound")
        for site in self.sites:
            self.events.after(self._rng.randint(0, NS_PER_S // 2), site.start)
        for member in self.members:
            self.events.after(member.rng.randint(0, NS_PER_S // 2), member.start)
        self.caretaker.begin()

    def run_until(self, end_ns: int) -> None:
        """Everything that happens up to this true instant, each thing at its own."""
        self.events.run_until(end_ns)

    def some_ttls(self, rng: random.Random) -> int:
        """A span around the lease: where the arithmetic is decided."""
        ttl_ns = rng.choice(self.setup.groups).constants.ttl_ns
        return round(ttl_ns * rng.choice((rng.uniform(0.02, 1.0), rng.uniform(0.5, 1.5), rng.uniform(1.0, 4.0))))

    # -- after the faults ---------------------------------------------------------------------------------

    def heal(self) -> None:
        self.note("world", "heals")
        self.healed = True
        self.faults.stop()
        if self.outage is not None:
            self.outage.finish()
        self.network.mend_all()
        self.restores.finish()
        self.cluster.heal()
        for twin in self.sites[len(self.setup.sites) :]:
            twin.retire()
        del self.sites[len(self.setup.sites) :]
        self.judges.quarantine.mended()
        for site in self.sites:
            if COPIES & set(self.setup.kinds):
                site.crash()  # an agent that was superseded by its twin asks for exactly this
                site.kept = None  # an operator stops it and starts it: nothing goes on
            self._heal_site(site)
        for member in self.members:
            self._heal_member(member)
        self.caretaker.heal()

    def break_again(self) -> None:
        """Faults and operators may strike anew after a heal: for drivers that go on."""
        self.healed = False
        self.cluster.break_again()
        self.caretaker.rest()

    @staticmethod
    def _heal_machine(site: SimHost) -> None:
        site.resume()
        site.freeze(frozen=False)
        site.disk.write_ns_max = Disk().write_ns_max
        for group, shell in site.groups.items():
            shell.platform.moods = Moods()
            shell.platform.ready = shell.platform.healthy = True
            shell.platform.lag_ms = 5
            shell.platform.data_fails = False
            shell.post.hardware.heal()
            site.probe(group)
        if site.clock.parted:
            site.clock.agree()

    def _heal_member(self, member: MemberHost) -> None:
        self._heal_machine(member)
        if member.off:
            member.power_on()
        elif not member.alive:
            member.start()

    def _heal_site(self, site: SiteHost) -> None:
        self._heal_machine(site)
        site.licenses.heal()
        if site.agent is not None and any(one.lacks for one in site.agent.groups.values()):
            site.crash()  # operators mend what a host lacks, and start its agent anew
        if site.off:
            site.power_on()
        elif site.agent is None:
            site.start()

    def recovery_bound_ns(self) -> int:
        """The longest chain: an activation that hangs, its end, a handover and its timeout, an expiry, all again."""
        constants = longest(self.setup.groups, restored=self.restores.used)
        config = max(self.setup.groups, key=lambda one: one.handover_timeout_ms + one.activation_backoff_ms)
        waits_ms = config.handover_timeout_ms + config.activation_backoff_ms + config.failback_after_ms
        plans_ms = 2 * (ACTIVATION_MS + DEACTIVATION_MS)
        # With a site link: a promise that is outstanding, and a cold start's wait, both of a full lease.
        rounds = 5 if self.setup.site_link else 3
        wait_ns = rounds * takeover_wait_max(constants) + (waits_ms + plans_ms) * (NS_PER_S // 1_000)
        wait_ns += self.restores.wait_ns()
        raft_ns = liveness_bound_ns(self.setup.raft, CONNECTED_WITHIN_NS, SLOW_NS_MAX)
        return RECONNECT_NS + raft_ns + wait_ns * PPM // (PPM - constants.drift_max_ppm)

    def settle(self) -> bool:
        """Runs until every group has been served by one site for a while; False when that takes too long.

        Witnesses that their peers go on calling replaced are readmitted once more then, and have as long again. A
        witness that stays away holds the feature level back: where no group can be made for that, it is brought back.
        """
        if self._settles_in_time() or (self.cluster.readmit_told() and self._settles_in_time()):
            return True
        if self._held_back() and self.cluster.readmit_refused() and self._settles_in_time():
            return True
        self.judges.found("stuck", f"not settled {self.recovery_bound_ns() / NS_PER_S:.1f} s after the faults")
        return False

    def _held_back(self) -> bool:
        """A group is not there, and the cluster's feature level is not what its configuration needs."""
        states = [host.node.machine.state for host in self.witnesses.values() if host.node is not None]
        made = all(len(state.groups) == len(self.setup.groups) for state in states)
        return not made and all(state.feature_level < FEATURE_MAX for state in states)

    def _settles_in_time(self) -> bool:
        bound_ns = self.events.now_ns + self.recovery_bound_ns()
        calm_ns = 2 * longest(self.setup.groups).ttl_ns
        calm_since: int | None = None
        while self.events.now_ns < bound_ns + calm_ns and not self.judges.findings.full:
            if not self.served():
                calm_since = None
            elif calm_since is None:
                calm_since = self.events.now_ns
            elif self.events.now_ns - calm_since >= calm_ns:
                return True
            self.run_until(self.events.now_ns + LOOK_NS)
        return False

    def served(self) -> bool:
        return all(self._served(config.group) for config in self.setup.groups)

    def _served(self, group: GroupId) -> bool:
        active = self.judges.activity.active(group)
        places = {self.judges.place_of(host) for host in active}
        served = [site for site in self.sites if {site.name} == places and site.agent is not None]
        if not served or served[0].agent is None:
            return False
        one = served[0].agent.groups[group]
        nodes = [host.node for host in self.witnesses.values() if host.node is not None]
        known = [node.machine.state.groups.get(group) for node in nodes]
        agreed = bool(known) and all(
            state and state.epoch == one.holder.epoch and state.phase is Phase.HELD for state in known
        )
        whole = all(member.active(group) for member in self.members_of(served[0]) if member.plan.required)
        return agreed and whole and one.state is SiteState.ACTIVE

    def close(self, *, settled: bool) -> None:
        """The last looks: equal states, an unbroken ledger, and peace where no fault was."""
        judges = self.judges
        lives = [host.life for host in self.witnesses.values() if host.life is not None]
        judges.look(lives)
        if settled:
            self.cluster.damage.look_at_learners()
            self._catch_up(lives)
            judges.ends(lives)
        for site in [*self.sites, *self.members]:
            for group in site.groups:
                if judges.authority.until_ns(group, site.name) < self.events.now_ns:
                    judges.held.look(group, site.name)
        if not self.setup.kinds:
            wanted, story = len(self.setup.groups), judges.story
            if story.expired or judges.activity.activations != wanted:
                says = f"{judges.activity.activations} activations, {story.expired} expiries without any fault"
                judges.found("story", says)
        self.cluster.close()

    def end_processes(self) -> None:
        """Coroutines that wait are unwound; nothing happens any more."""
        for site in self.sites:
            site.house.gone()
        for member in self.members:
            member.process_gone(told=False)

    def _catch_up(self, lives: list[Life]) -> None:
        """Whatever was told until now reaches every replica and every disk within moments, as nothing is broken."""
        until_ns = self.events.now_ns + CATCH_UP_NS
        self.judges.due()
        floor, seq = self.judges.durable.floor, len(self.judges.replicas.events)
        while self.events.now_ns < until_ns and any(life.index < floor or life.last_stored < seq for life in lives):
            self.run_until(self.events.now_ns + LOOK_NS)


def quiet(setup: Setup) -> Setup:
    """The same world without its faults: for drivers that bring their own."""
    return replace(setup, kinds=(), drift_extreme=False)
