"""Engines on loopback for tests: real stores, real sockets, one recorder as the replicated state."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import msgpack

from proto.clock import SystemClock
from proto.units import ClusterId, LogIndex, WitnessId
from witness.raft.peer_transport import PeerTls, Plaintext
from witness.raft.port import CommittedEntry, ConsensusStatus, Role, SnapshotRefused
from witness.raft.store import Store, create_store, open_store
from witness.raft.syncobj import PySyncObjConsensus
from witness.raft.timers import CompactionLimits, RaftTimers

CLUSTER = ClusterId("ab" * 16)
IDS = tuple(WitnessId(name) for name in ("w1", "w2", "w3"))
WAIT_S = 20.0


class Recorder:
    """A replicated state that is easy to compare: the list of applied data, with its indexes."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.entries: list[CommittedEntry] = []
        self.last_index = 0
        self.synced = 0
        self.restores = 0
        self.statuses: list[ConsensusStatus] = []
        self.refuse_restore = False
        self.poison: bytes | None = None
        self.waiting: dict[bytes, Callable[[], None]] = {}
        self._released: list[Callable[[], None]] = []

    def apply(self, entry: CommittedEntry) -> None:
        assert entry.index > self.last_index
        if self.poison is not None and entry.data == self.poison:
            raise RuntimeError("poison")
        self.last_index = entry.index
        self.data.append(entry.data)
        self.entries.append(entry)
        waiter = self.waiting.pop(entry.data, None)
        if waiter is not None:
            self._released.append(waiter)

    def snapshot(self) -> bytes:
        return msgpack.packb([self.last_index, self.data])

    def restore(self, image: bytes, last_index: LogIndex) -> None:
        if self.refuse_restore:
            raise SnapshotRefused("told to refuse")
        self.last_index, self.data = msgpack.unpackb(image, max_array_len=10_000_000)
        self.restores += 1

    def turn_synced(self) -> None:
        self.synced += 1
        released, self._released = self._released, []
        for waiter in released:
            waiter()

    def status_changed(self, status: ConsensusStatus) -> None:
        self.statuses.append(status)

    def digest(self) -> str:
        return hashlib.sha256(b"".join(self.data)).hexdigest()


async def until(condition: Callable[[], bool], what: str, within_s: float = WAIT_S) -> None:
    deadline_s = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline_s, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.005)


def bound_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


class Loopback:
    """A cluster in this process; a node can be stopped and started again on the same address and directory."""

    def __init__(
        self,
        root: Path,
        tls: Mapping[WitnessId, PeerTls] | None = None,
        compaction: CompactionLimits | None = None,
        ids: tuple[WitnessId, ...] = IDS,
        timers: RaftTimers | None = None,
    ) -> None:
        self.root = root
        self.ids = ids
        self.tls = tls
        self.compaction = compaction
        self.timers = timers
        self.sockets = {witness: bound_socket() for witness in ids}
        self.address = {witness: sock.getsockname() for witness, sock in self.sockets.items()}
        self.nodes: dict[WitnessId, PySyncObjConsensus] = {}
        self.stores: dict[WitnessId, Store] = {}
        self.states: dict[WitnessId, Recorder] = {}
        self.faults: list[BaseException] = []
        self.copies: list[tuple[PySyncObjConsensus, Store]] = []
        for witness in ids:
            create_store(root / witness, CLUSTER, witness)

    async def start(self, *witnesses: WitnessId) -> None:
        for witness in witnesses or self.ids:
            store = self.stores[witness] = open_store(self.root / witness, CLUSTER, witness)
            state = self.states[witness] = Recorder()
            listen = self.sockets.pop(witness, None) or self.address[witness]
            self.nodes[witness] = self._node(witness, store, state, listen, self.address)
            await self.nodes[witness].start()

    async def start_copy(
        self,
        directory: str,
        witness: WitnessId,
        reaches: Mapping[WitnessId, tuple[str, int]],
        cluster: ClusterId = CLUSTER,
        listen: tuple[str, int] | None = None,
    ) -> PySyncObjConsensus:
        """Another process for `witness`, on another directory; `stop_copies` ends it."""
        store = open_store(self.root / directory, cluster, witness)
        node = self._node(witness, store, Recorder(), listen or bound_socket(), reaches)
        self.copies.append((node, store))
        await node.start()
        return node

    async def stop_copies(self) -> None:
        while self.copies:
            node, store = self.copies.pop()
            await node.stop()
            store.close()

    def _node(
        self,
        witness: WitnessId,
        store: Store,
        state: Recorder,
        listen: tuple[str, int] | socket.socket,
        addresses: Mapping[WitnessId, tuple[str, int]],
    ) -> PySyncObjConsensus:
        return PySyncObjConsensus(
            self_id=witness,
            peers={peer: addresses[peer] for peer in self.ids if peer != witness},
            listen=listen,
            store=store,
            replicated=state,
            tls=Plaintext() if self.tls is None else self.tls[witness],
            fatal=self.faults.append,
            clock_ns=SystemClock().now,
            compaction=self.compaction,
            timers=self.timers,
            rng=random.Random(f"{witness}-{len(self.faults)}"),
        )

    async def stop(self, *witnesses: WitnessId) -> None:
        for witness in witnesses or tuple(self.nodes):
            node = self.nodes.pop(witness, None)
            if node is not None:
                await node.stop()
                self.stores.pop(witness).close()

    def leader(self) -> WitnessId | None:
        """The one leader that all running nodes agree on."""
        statuses = {witness: node.status() for witness, node in self.nodes.items()}
        leaders = [witness for witness, status in statuses.items() if status.role is Role.LEADER]
        agreed = {status.leader for status in statuses.values()}
        if len(leaders) != 1 or agreed != set(leaders) or not statuses[leaders[0]].has_quorum:
            return None
        return leaders[0] if all(status.caught_up for status in statuses.values()) else None

    async def elected(self, within_s: float = WAIT_S) -> WitnessId:
        await until(lambda: self.leader() is not None, "a leader that all agree on", within_s)
        leader = self.leader()
        assert leader is not None
        return leader

    async def committed(self, witness: WitnessId, data: bytes, within_s: float = WAIT_S) -> None:
        """Proposes at `witness` until its own copy applied it; a lost proposal is proposed again."""
        loop = asyncio.get_running_loop()
        for _ in range(50):
            done = loop.create_future()
            self.states[witness].waiting[data] = lambda done=done: done.done() or done.set_result(None)
            self.nodes[witness].propose(data)
            try:
                await asyncio.wait_for(done, within_s / 50)
                return
            except TimeoutError:
                if data in self.states[witness].data:
                    return
        raise AssertionError("never committed")

    async def equal(self, within_s: float = WAIT_S) -> None:
        def same() -> bool:
            return len({(s.digest(), s.last_index) for w, s in self.states.items() if w in self.nodes}) == 1

        await until(same, "all copies equal", within_s)

    def check(self) -> None:
        assert self.faults == []
