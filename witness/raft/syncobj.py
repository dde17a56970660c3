"""The PySyncObj body of the consensus port: RaftNode's turns on our asyncio loop, PeerTransport's frames.

A turn is scheduled at once when a message or a proposal arrives (all that arrive in one pass of the loop share it)
and at the node's own deadline. Whatever goes wrong inside a turn, an InvariantViolation included, ends in the
injected `fatal`, once; the body does nothing after it: the process must be gone, and its lease lapses elsewhere.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from collections.abc import Callable, Collection, Mapping

from proto.errors import RemoteFault
from proto.histogram import Histogram
from proto.units import NS_PER_MS, NS_PER_S, InstantNs, WitnessId
from witness.raft.admission import PROCESS_BYTES, Mark, Position, Speaker
from witness.raft.heed import heed
from witness.raft.inbox import PEER_BYTES_HIGH
from witness.raft.introduction import Hello
from witness.raft.messages import Message
from witness.raft.node import RaftNode
from witness.raft.ourselves import our_hello, require_fitting_lineage
from witness.raft.outbox import Outbox
from witness.raft.peer_disks import PeerDisks, position_of, record_start
from witness.raft.peer_log import AlarmLog, FaultLog, ReadmissionLog, RoomLog
from witness.raft.peer_transport import Address, PeerTls, PeerTransport, Plaintext
from witness.raft.port import ConsensusStatus, ProposalRefused, Replicated
from witness.raft.standing import Progress, Standing
from witness.raft.store import Store
from witness.raft.timers import CompactionLimits, RaftTimers


class PySyncObjConsensus:
    """One witness's consensus. Owns neither the store nor the loop; `stop` leaves the store open."""

    def __init__(
        self,
        *,
        self_id: WitnessId,
        peers: Mapping[WitnessId, Address],
        listen: Address | socket.socket,
        store: Store,
        replicated: Replicated,
        tls: PeerTls | Plaintext,
        fatal: Callable[[BaseException], None],
        clock_ns: Callable[[], int],
        timers: RaftTimers | None = None,
        compaction: CompactionLimits | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._self_id = self_id
        self._peers = dict(peers)
        self._listen = listen
        self._store = store
        self._tls = tls
        self._fatal = fatal
        self._clock_ns = clock_ns
        self._rng = rng or random.Random(secrets.randbits(64))  # noqa: S311  # jitter, not a secret
        self._node = RaftNode(
            self_id=self_id,
            peers=tuple(peers),
            store=store,
            replicated=replicated,
            timers=timers or RaftTimers(),
            compaction=compaction or CompactionLimits(),
            now_ns=InstantNs(clock_ns()),
            rng=self._rng,
        )
        self._process = secrets.token_bytes(PROCESS_BYTES)
        self._start: tuple[int, tuple[bytes, ...]] | None = None
        self._disks = PeerDisks(store)
        self._faults = FaultLog(self_id)
        self._readmission_log = ReadmissionLog(self_id)
        self._alarm_log = AlarmLog(self_id)
        self._room_log = RoomLog(self_id, store.directory)
        self._transport: PeerTransport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._paused: set[WitnessId] = set()
        self._running = False
        self._committing = False
        """A turn runs and has not written yet."""
        self.turns = 0
        self._syncs = Histogram()

    # -- the port --------------------------------------------------------------------------------------------

    @property
    def self_id(self) -> WitnessId:
        return self._self_id

    def propose(self, data: bytes) -> None:
        if not self._running:
            raise ProposalRefused("this witness is not running")
        self._node.propose(data)
        self._schedule()

    def status(self) -> ConsensusStatus:
        return self._node.status()

    @property
    def standing(self) -> Standing:
        return self._node.standing

    def readmission(self) -> Progress | None:
        """How far it is; None for a voter."""
        return self._node.readmission()

    def peering(self) -> dict[str, object]:
        """For the status page: this witness's standing, what it waits for, and why peers are not connected."""
        progress = self._node.readmission()
        connected, faults = self._node.status().connected, self.peer_faults()
        refusals = {} if self._transport is None else self._transport.refusals
        return {
            "standing": self._node.standing.value,
            "readmission": None if progress is None else progress.words(),
            "refused_by": {peer: why for peer, why in sorted(refusals.items()) if peer not in connected},
            "unconnected": {peer: faults.get(peer, "not yet") for peer in sorted(self._peers) if peer not in connected},
        }

    def timing(self) -> dict[str, object]:
        """What the engine measured of its timing (witness/timing/measurements.py reads it)."""
        pace = self._node.pace
        election_max_ns = pace.election_max_ms * NS_PER_MS
        return {"peers": pace.seen.to_json(), "syncs": self._syncs.to_json(), "election_max_ns": election_max_ns}

    def known(self, peer: WitnessId) -> Mark | None:
        """What is known of a peer's disk."""
        return self._disks.mark(peer)

    # -- life ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = PeerTransport(
            self_id=self._self_id,
            cluster_id=self._store.cluster_id,
            peers=self._peers,
            listen=self._listen,
            tls=self._tls,
            owner=self,
            rng=self._rng,
        )
        self._running = True
        self._turn()  # the first turn is on disk before the first peer is heard (D-26)
        await self._transport.start()

    async def stop(self) -> None:
        """Ends quietly; what was proposed and not committed is lost, as the port says."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            await self._transport.stop()

    def request_turn(self) -> None:
        """Something was put into the store: have it synced soon, by the turn that runs or by another one."""
        if not self._committing:
            self._schedule()

    def force_snapshot(self) -> None:
        self._node.force_snapshot()
        self._schedule()

    def counters(self) -> dict[str, int]:
        """For the metrics: refused messages, refused snapshots, second processes, turns."""
        counts = dict(self._node.filter.counters)
        if self._transport is not None:
            counts.update(self._transport.counters)
        transfer = self._node.transfer
        snapshots = {"snapshots_refused": transfer.refused, "snapshots_without_room": transfer.without_room}
        return {**counts, **snapshots, "turns": self.turns}

    def peer_faults(self) -> dict[str, str]:
        return {} if self._transport is None else dict(self._transport.last_fault)

    # -- turns -----------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._scheduled and self._running and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if not self._running or self._transport is None:
            return
        try:
            self._one_turn(self._transport)
        except BaseException as error:  # noqa: BLE001  # nothing may be swallowed: the process ends
            self.broken(error)

    def _one_turn(self, transport: PeerTransport) -> None:
        self.turns += 1
        node = self._node
        began_ns = self._clock_ns()
        self._disks.keep_due(began_ns)
        self._committing = True
        result = node.turn(InstantNs(began_ns), transport.unsent_bytes(), self._send)
        self._committing = False
        if result.wrote:
            self._syncs.add(self._clock_ns() - began_ns)
        if result.synced and not result.wrote:  # whoever waits for an answer comes before commit notices
            node.finish()
        self._send(result.outbox)
        self._readmission_log.look(node.readmission(), lambda: node.status().term)
        self._alarm_log.look(node.filter.alarms, node.filter.counters, began_ns)
        self._room_log.look(node.transfer.lacks_room_for)
        node.took(self._clock_ns() - began_ns)
        if result.synced and result.wrote:
            node.finish()
        for peer in [peer for peer in self._paused if node.unread_bytes(peer) < PEER_BYTES_HIGH // 2]:
            self._paused.discard(peer)
            transport.resume_reading(peer)
        self._arm()

    def _send(self, outbox: Outbox) -> None:
        if self._transport is not None:
            for peer, messages in outbox.items():
                self._transport.send(peer, messages)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loop is None or not self._running:
            return
        if self._node.wants_turn():
            self._schedule()
        if not self._scheduled:
            wait_ns = self._node.next_deadline_ns() - self._clock_ns()
            self._timer = self._loop.call_later(max(0.0, wait_ns / NS_PER_S), self._turn)

    # -- what the transport calls (TransportOwner) -----------------------------------------------------------

    def introduction(self, to: WitnessId | None) -> Hello:
        if self._start is None:
            self._start = record_start(self._store, self._process)
            self._turn()  # our start is on disk before anyone hears of it
        if not self._running:
            raise RemoteFault("this witness is stopping")
        return our_hello(self._store, self._node.standing, self._process, self._start, to)

    def judge(self, hello: Hello, connected: Collection[bytes]) -> None:
        require_fitting_lineage(self._store, self._node.standing, hello)
        self._disks.judge(hello.speaker, connected)

    def admit(self, hello: Hello) -> None:
        """What it changes is on disk before anything of Raft leaves for this peer: the next turn comes first."""
        self._disks.admit(hello.speaker)

    def vouch(self, speaker: Speaker, asker: bytes, *, counts: bool, here: bool) -> None:
        if self._disks.vouch(speaker, asker, counts=counts, here=here):
            self._turn()  # on disk before the answer leaves
        if not self._running:
            raise RemoteFault("this witness is stopping")

    def settle(self, speaker: Speaker, asker: bytes) -> None:
        self._disks.settle(speaker, asker)

    def learn(self, peer: WitnessId, theirs: Mark) -> None:
        self._disks.learn(peer, theirs)
        self._schedule()

    def position(self) -> Position:
        return position_of(self._store)

    def peer_position(self, peer: WitnessId, position: Position) -> None:
        self._disks.seen(peer, position)

    def peer_up(self, peer: WitnessId, features: int) -> None:
        self._node.link_up(peer, features)
        self._schedule()

    def peer_fault(self, peer: str, why: str) -> None:
        if self._running:
            self._faults.happened(peer, why, self._clock_ns())

    def told_forgot(self, peer: WitnessId, words: str) -> None:
        if self._running:
            self.broken(heed(self._store, peer, words))

    def peer_down(self, peer: WitnessId, why: str) -> None:  # noqa: ARG002  # kept in peer_faults by the transport
        self._node.link_down(peer)
        self._paused.discard(peer)
        self._disks.keep(peer)
        self._schedule()

    def peer_message(self, peer: WitnessId, message: Message, size: int) -> None:
        self._node.receive(peer, message, size)
        if self._node.unread_bytes(peer) > PEER_BYTES_HIGH and peer not in self._paused and self._transport is not None:
            self._paused.add(peer)
            self._transport.pause_reading(peer)
        self._schedule()

    def broken(self, error: BaseException) -> None:
        if self._running:
            self._running = False
            self._fatal(error)
