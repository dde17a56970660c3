"""A cluster of witnesses of two versions in one process: the newer one knows feature level 2, the older one does not.

Level 2 of these tests: a command that the older version has never heard of, and a field of the state that it lacks.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from core_rig import CLUSTER, W, token

from proto import codec, features
from proto.commands import Author, Command
from proto.features import UpgradeRequired
from proto.units import NS_PER_MS, InstantNs, LogIndex, WallMs, WitnessId
from witness.core import machine as machine_room
from witness.core import snapshot
from witness.core.changes import Scope
from witness.core.effects import KeepMarks, Outcome, ProposeEntry, Resolved
from witness.core.lease_rules import DONE
from witness.core.node import WitnessNode
from witness.raft.memory import MemoryCluster, MemoryConsensus
from witness.raft.port import CommittedEntry, ConsensusStatus, ProposalRefused, Role

OLD, NEW = 1, 2
STEP_NS = 10 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class Praise:
    """A command of level 2: it marks every agent in a field that level 1 does not have."""

    author: Author


def praise(scope: Scope, _command: Praise) -> Outcome:
    for agent in scope.state.agents.values():
        agent.clash_told = True
    return DONE


@pytest.fixture
def level_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """This program knows level 2; who is made with feature_max=OLD is one from before it."""
    monkeypatch.setitem(features.SINCE, "Praise", 2)
    monkeypatch.setitem(features.SINCE, "AgentRecord.clash_told", 2)
    monkeypatch.setitem(machine_room._RULES, Praise, praise)
    family = codec.COMMANDS
    monkeypatch.setitem(family._types, 99, Praise)
    monkeypatch.setitem(family._tags, Praise, 99)
    monkeypatch.setitem(family._needs, Praise, codec._need(Praise))
    for holder, name in ((family, "_writers"), (family, "_readers"), (snapshot, "_writers"), (snapshot, "_readers")):
        monkeypatch.setattr(holder, name, {})


class Host:
    """One witness's process, as far as a version matters. Implements witness.raft.port.Replicated."""

    def __init__(self, cluster: MemoryCluster, witness: WitnessId, version: int, now: int) -> None:
        self.witness = witness
        self.version = version
        self.resolved: dict[int, Outcome] = {}
        self.trouble: UpgradeRequired | None = None
        self.marks: list[KeepMarks] = []
        self.node = WitnessNode(
            self_id=witness,
            cluster=CLUSTER,
            witnesses=W,
            session=token(f"{witness}-{version}-{now}"),
            now=InstantNs(now),
            feature_max=version,
        )
        self._now = now
        self._port: MemoryConsensus | None = None
        self._port = cluster.attach(witness, self, version)

    def apply(self, entry: CommittedEntry) -> None:
        try:
            self.node.apply(entry.index, entry.data, entry.age_bound_ns, InstantNs(self._now))
        except UpgradeRequired as error:
            self.trouble = error
            raise

    def snapshot(self) -> bytes:
        return self.node.snapshot()

    def restore(self, image: bytes, last_index: LogIndex) -> None:
        self.node.restore(image, InstantNs(self._now), last_index)

    def status_changed(self, status: ConsensusStatus) -> None:
        self.node.consensus_changed(
            leading=status.role is Role.LEADER,
            leader=status.leader,
            has_quorum=status.has_quorum,
            caught_up=status.caught_up,
            features=status.features,
            now=InstantNs(self._now),
        )

    def turn_synced(self) -> None:
        for effect in self.node.take_effects():
            if isinstance(effect, ProposeEntry) and self._port is not None:
                try:
                    self._port.propose(effect.data)
                except ProposalRefused:
                    self.node.proposal_refused(InstantNs(self._now))
            elif isinstance(effect, Resolved):
                self.resolved[effect.request] = effect.outcome
            elif isinstance(effect, KeepMarks):
                self.marks.append(effect)

    def pass_to(self, now: int) -> None:
        self._now = now
        self.node.tick(InstantNs(now), WallMs(now // NS_PER_MS))
        self.turn_synced()

    @property
    def level(self) -> int:
        """What it has applied."""
        return self.node.machine.state.feature_level


class Cluster:
    """Three witnesses on virtual time; a version that meets what it cannot read takes its process down."""

    def __init__(self, *versions: int) -> None:
        self._memory = MemoryCluster(W, random.Random(3))
        self._now = 0
        self.hosts: dict[WitnessId, Host] = {}
        self.stopped: dict[WitnessId, str] = {}
        """Processes that ended themselves, with their last words."""
        for witness, version in zip(W, versions, strict=True):
            self.start(witness, version)

    def start(self, witness: WitnessId, version: int) -> None:
        try:
            self.hosts[witness] = Host(self._memory, witness, version, self._now)
        except UpgradeRequired as error:
            self._ended(witness, error)

    def stop(self, witness: WitnessId) -> None:
        self._memory.crash(witness)
        self.hosts.pop(witness, None)

    def _ended(self, witness: WitnessId, error: UpgradeRequired) -> None:
        self.stopped[witness] = str(error)
        self.stop(witness)

    def keep_snapshot(self, witness: WitnessId) -> None:
        self._memory.force_snapshot(witness)

    def passes(self, ms: int = 3_000) -> None:
        end = self._now + ms * NS_PER_MS
        while self._now < end:
            self._now += STEP_NS
            self._step()
            for host in list(self.hosts.values()):
                host.pass_to(self._now)

    def _step(self) -> None:
        while True:
            try:
                return self._memory.step(InstantNs(self._now))
            except UpgradeRequired as error:
                (ended,) = [host.witness for host in self.hosts.values() if host.trouble is error]
                self._ended(ended, error)

    def ask(self, witness: WitnessId, command: Command | Praise) -> Outcome:
        host = self.hosts[witness]
        request = host.node.submit(command, InstantNs(self._now))
        host.turn_synced()
        self.passes()
        return host.resolved[request]

    def equal(self) -> bool:
        """Every running witness has the same bytes."""
        images = {host.node.machine.snapshot() for host in self.hosts.values()}
        return len(images) == 1


__all__ = ["NEW", "OLD", "Cluster", "Praise", "level_two"]
