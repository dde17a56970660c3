"""Three real Raft nodes on disks, in lockstep, and the least replicated state. The fixture `trio` has them running."""

from __future__ import annotations

import random
from pathlib import Path

from proto.units import NS_PER_MS, ClusterId, InstantNs, LogIndex, WitnessId
from witness.raft.messages import Message
from witness.raft.node import RaftNode
from witness.raft.port import CommittedEntry, ConsensusStatus, Role
from witness.raft.standing import STANDING_MARK, Standing
from witness.raft.store import Store, create_store, open_store
from witness.raft.timers import CompactionLimits, RaftTimers

CLUSTER = ClusterId("ab" * 16)
IDS = tuple(WitnessId(name) for name in ("w1", "w2", "w3"))
W1, W2, W3 = IDS
STEP_NS = 5 * NS_PER_MS


class State:
    def __init__(self) -> None:
        self.data: list[bytes] = []

    def apply(self, entry: CommittedEntry) -> None:
        self.data.append(entry.data)

    def snapshot(self) -> bytes:
        return b"|".join(self.data)

    def restore(self, image: bytes, last_index: LogIndex) -> None:
        self.data = image.split(b"|") if image else []

    def turn_synced(self) -> None: ...
    def status_changed(self, status: ConsensusStatus) -> None: ...


class Trio:
    """Every step each running node takes one turn; what it sent arrives before the next."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now_ns = 0
        self.nodes: dict[WitnessId, RaftNode] = {}
        self.stores: dict[WitnessId, Store] = {}
        self.states: dict[WitnessId, State] = {}
        self.sent: list[tuple[WitnessId, WitnessId, Message]] = []
        for witness in IDS:
            create_store(root / witness, CLUSTER, witness)

    def start(self, *witnesses: WitnessId) -> None:
        for witness in witnesses:
            store = self.stores[witness] = open_store(self.root / witness, CLUSTER, witness)
            state = self.states[witness] = State()
            self.nodes[witness] = RaftNode(
                self_id=witness,
                peers=[peer for peer in IDS if peer != witness],
                store=store,
                replicated=state,
                timers=RaftTimers(),
                compaction=CompactionLimits(entries_max=16, tail_entries=3),
                now_ns=InstantNs(self.now_ns),
                rng=random.Random(witness),
            )
        for witness in witnesses:
            for peer in self.nodes:
                if peer != witness:
                    self.nodes[witness].link_up(peer)
                    self.nodes[peer].link_up(witness)

    def lose_disk(self, witness: WitnessId, name: str) -> None:
        self.stop(witness)
        (self.root / witness).rename(self.root / name)
        create_store(self.root / witness, CLUSTER, witness)
        store = open_store(self.root / witness, CLUSTER, witness)
        store.put_meta(STANDING_MARK, Standing.LEARNER.value.encode())
        store.commit()
        store.close()

    def stop(self, witness: WitnessId) -> None:
        del self.nodes[witness]
        self.stores.pop(witness).close()
        for node in self.nodes.values():
            node.link_down(witness)

    def step(self, milliseconds: int) -> None:
        for _ in range(milliseconds * NS_PER_MS // STEP_NS):
            self.now_ns += STEP_NS
            for witness, node in self.nodes.items():
                result = node.turn(InstantNs(self.now_ns), {})
                for peer, messages in result.outbox.items():
                    self.sent += [(witness, peer, message) for message in messages]
                    for message in messages:
                        if peer in self.nodes:
                            self.nodes[peer].receive(witness, message, 100)
                node.finish()

    def leader(self) -> WitnessId:
        for _ in range(100):
            leaders = [witness for witness, node in self.nodes.items() if node.status().role is Role.LEADER]
            if len(leaders) == 1 and all(node.status().leader == leaders[0] for node in self.nodes.values()):
                return leaders[0]
            self.step(20)
        raise AssertionError("no leader")

    def commit(self, data: bytes) -> None:
        leader = self.leader()
        self.nodes[leader].propose(data)
        for _ in range(100):
            self.step(20)
            if data in self.states[leader].data:
                return
        raise AssertionError(f"{data!r} was not committed")

    def close(self) -> None:
        for store in self.stores.values():
            store.close()
