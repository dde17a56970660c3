"""The body `ours`: the node that ships, on the simulated disk."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgpack
from review_cluster import THREE, Cluster, Favour

from proto.errors import FrameRefused
from proto.units import NS_PER_S, ClusterId, InstantNs, LogIndex, WitnessId
from witness.raft.messages import Message, check_message
from witness.raft.node import RaftNode
from witness.raft.port import CommittedEntry, ConsensusStatus, Role, SnapshotRefused
from witness.raft.store import create_store, open_store
from witness.raft.timers import CompactionLimits, RaftTimers
from witness.sim.disk import SimDisk

CLUSTER = ClusterId("ab" * 16)
NO_TAIL = CompactionLimits(entries_max=5_000, tail_entries=0)
ENDS = (Exception,)


class Recorder:
    """The replicated state: the list of what was applied, with the indexes."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.indexes: list[int] = []
        self.on_put: Callable[[bytes], None] | None = None

    def apply(self, entry: CommittedEntry) -> None:
        self.data.append(entry.data)
        self.indexes.append(entry.index)
        if self.on_put is not None:
            self.on_put(entry.data)

    def snapshot(self) -> bytes:
        packed: bytes = msgpack.packb([self.data, self.indexes])
        return packed

    def restore(self, image: bytes, last_index: LogIndex) -> None:
        try:
            self.data, self.indexes = msgpack.unpackb(image)
        except ValueError as damaged:
            raise SnapshotRefused("no image") from damaged

    def turn_synced(self) -> None: ...
    def status_changed(self, status: ConsensusStatus) -> None: ...


class OurNode:
    def __init__(self, cluster: OurCluster, name: str) -> None:
        self._cluster = cluster
        self.name = name
        self.acknowledged: list[bytes] = []
        self.refused: list[str] = []
        self.state = Recorder()
        self.state.on_put = lambda data: cluster.on_put and cluster.on_put(name, data)
        self._mine: list[bytes] = []
        self.store = open_store(cluster.disks[name], CLUSTER, WitnessId(name))
        self.node = RaftNode(
            self_id=WitnessId(name),
            peers=[WitnessId(peer) for peer in cluster.peers(name)],
            store=self.store,
            replicated=self.state,
            timers=cluster.timers,
            compaction=cluster.compaction,
            now_ns=cluster.now_ns,
            rng=_rng(Favour(cluster, name)),
        )

    def link_up(self, peer: str) -> None:
        self.node.link_up(WitnessId(peer))

    def link_down(self, peer: str) -> None:
        self.node.link_down(WitnessId(peer))

    def receive(self, peer: str, message: Message) -> None:
        """As from the wire: a frame that is refused closes the connection."""
        packed = msgpack.packb(message)
        try:
            checked = check_message(msgpack.unpackb(packed))
        except FrameRefused as refused:
            self.refused.append(str(refused))
            self._cluster.unlink(self.name, peer)
            return
        self.node.receive(WitnessId(peer), checked, len(packed))

    def turn(self) -> None:
        try:
            result = self.node.turn(self._cluster.now_ns, {})
        except BaseException as error:  # noqa: BLE001  # whatever leaves a turn ends the process
            self._cluster.crash(self.name)
            self._cluster.ended(self.name, error)
            return
        for peer, messages in result.outbox.items():
            for message in messages:
                self._cluster.post(self.name, peer, message)
        if result.synced:
            self.node.finish()
            done = [data for data in self._mine if data in self.state.data]
            self.acknowledged += done
            self._mine = [data for data in self._mine if data not in done]

    def propose(self, data: bytes) -> None:
        self._mine.append(data)
        self.node.propose(data)

    def compact(self) -> None:
        self.node.force_snapshot()

    @property
    def data(self) -> list[bytes]:
        return self.state.data

    @property
    def leads(self) -> bool:
        return self.node.status().role is Role.LEADER

    @property
    def leader(self) -> str | None:
        return self.node.status().leader

    @property
    def term(self) -> int:
        return self.node.status().term

    @property
    def commit_index(self) -> int:
        return self.node.status().commit_index

    @property
    def applied_index(self) -> int:
        return self.node.status().applied_index

    @property
    def log(self) -> list[tuple[int, int]]:
        return [(entry[1], entry[2]) for entry in self.node._journal._entries]


class OurCluster(Cluster):
    name = "ours"

    def __init__(self, ids: tuple[str, ...] = THREE, compaction: CompactionLimits = NO_TAIL) -> None:
        super().__init__(ids)
        self.timers = RaftTimers()
        self.compaction = compaction
        self.on_put: Callable[[str, bytes], None] | None = None
        self.deaths: dict[str, BaseException] = {}
        self.disks = {name: SimDisk(random.Random(name), name) for name in ids}
        for name, disk in self.disks.items():
            create_store(disk, CLUSTER, WitnessId(name))

    @property
    def now_ns(self) -> InstantNs:
        return InstantNs(int(self.now_s * NS_PER_S))

    def open(self, name: str) -> OurNode:
        return OurNode(self, name)

    def crash(self, name: str) -> None:
        super().crash(name)
        self.disks[name].kill()

    def power_cut(self, *names: str) -> None:
        for name in names:
            super().crash(name)
            self.disks[name].power_loss()

    def end(self) -> None:
        for node in self.nodes.values():
            if isinstance(node, OurNode):
                node.store.close()

    def snapshot_done(self, name: str) -> None:
        """Its turn has written it."""

    def ended(self, name: str, error: BaseException) -> None:
        """A process that ended by itself, because of what it met."""
        self.deaths[name] = error


def _rng(favour: Favour) -> Any:
    """Only `random()` is asked for by the node."""
    return favour
