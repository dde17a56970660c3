"""Hypothesis drives the same world by hand: blows, repairs, operators and time in any order, shrunk when it breaks."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proto.groups import Failback
from proto.health import DataChecks
from proto.lease import LeaseConstants
from proto.units import NS_PER_MS
from witness.sim import faults_net, faults_node, faults_restore, faults_witness, workload
from witness.sim.faults import FAULTS
from witness.sim.setup import draw
from witness.sim.world import World

BLOWS = {**faults_net.BLOWS, **faults_node.BLOWS, **faults_witness.BLOWS, **faults_restore.BLOWS, **workload.BLOWS}
MOODS = {**faults_net.MOODS, **faults_node.MOODS}
SITES = (0, 1)
WITNESSES = ("w1", "w2", "w3")


class Cluster(RuleBasedStateMachine):
    """One group on two sites, leases of a second, drift at the bound."""

    @initialize(seed=st.integers(0, 50), extreme=st.booleans())
    def build(self, seed: int, extreme: bool) -> None:
        drawn = draw(seed, list(FAULTS))
        config = replace(
            drawn.groups[0],
            sites=drawn.sites[:2],
            constants=LeaseConstants(1_000, 10_000, 0),
            failback=Failback.MANUAL,
        )
        self.rng = random.Random(seed)
        self.world = World(
            replace(
                drawn,
                sites=drawn.sites[:2],
                groups=(config,),
                kinds=("by hand",),
                data_checks=DataChecks.PASSED,
                drift_extreme=extreme,
            )
        )
        self.world.begin()
        self.world.run_until(3_000 * NS_PER_MS)

    @rule(span_ms=st.integers(1, 4_000))
    def time_passes(self, span_ms: int) -> None:
        self.world.run_until(self.world.events.now_ns + span_ms * NS_PER_MS)

    @rule(kind=st.sampled_from(sorted(BLOWS)))
    def blow(self, kind: str) -> None:
        BLOWS[kind][0](self.world, self.rng)

    @rule(kind=st.sampled_from(sorted(set(MOODS) - {"mad-clock"})))
    def mood(self, kind: str) -> None:
        MOODS[kind](self.world, self.rng)

    @rule(site=st.sampled_from(SITES), frozen=st.booleans())
    def freeze(self, site: int, frozen: bool) -> None:
        self.world.sites[site].freeze(frozen=frozen)

    @rule(site=st.sampled_from(SITES))
    def kill_agent(self, site: int) -> None:
        self.world.sites[site].crash()

    @rule(site=st.sampled_from(SITES))
    def start_agent(self, site: int) -> None:
        self.world.sites[site].start()

    @rule(witness=st.sampled_from(WITNESSES), stopped=st.booleans())
    def stop_witness(self, witness: str, stopped: bool) -> None:
        host = self.world.witnesses[witness]
        if stopped:
            host.stop()
        else:
            host.go_on()

    @precondition(lambda self: hasattr(self, "world"))
    @rule()
    def heal_and_settle(self) -> None:
        twins = len(self.world.sites) > 2
        self.world.heal()
        if twins:
            for site in self.world.sites:
                site.crash()
                site.start()
        assert self.world.settle(), self.world.judges.violations

    @invariant()
    def at_most_one_site_is_active_at_any_true_instant(self) -> None:
        assert [str(v) for v in self.found() if v.kind == "overlap"] == []

    @invariant()
    def epochs_strictly_grow_and_are_never_shared(self) -> None:
        assert [str(v) for v in self.found() if v.kind in ("epoch", "story")] == []

    @invariant()
    def nothing_else_is_violated(self) -> None:
        assert [str(v) for v in self.found()] == []

    def found(self):
        return self.world.judges.violations if hasattr(self, "world") else []

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close(settled=False)
            self.nothing_else_is_violated()


Cluster.TestCase.settings = settings(max_examples=30, stateful_step_count=25)
TestCluster = Cluster.TestCase
