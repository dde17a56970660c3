"""The subject that ships: RaftNode with its engine, filter, journal and store, on the simulated disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgpack

from proto.errors import FrameRefused, RemoteFault
from proto.invariants import unreachable
from proto.units import InstantNs, WitnessId
from witness.raft.messages import check_message
from witness.raft.node import RaftNode
from witness.raft.peer_link import MESSAGE_COST
from witness.raft.port import Role
from witness.raft.space import SpaceLimits
from witness.raft.store import create_store, open_store
from witness.sim.disk import CrashPoint, SimDisk
from witness.sim.raft import faults
from witness.sim.raft.setup import CLUSTER, Setup, rng_for
from witness.sim.raft.sim_drive import SimDrive
from witness.sim.raft.subject import Message, Outbox, PowerLost, Seat, View

DISK_MARK = "peer-disk/"


class HardenedMember:
    """Implements witness.sim.raft.subject.Member."""

    def __init__(self, seat: Seat, drive: SimDrive, space: SpaceLimits, now_ns: int) -> None:
        self._drive = drive
        self._store = open_store(drive.disk, seat.cluster, seat.witness, space)
        self._node = RaftNode(
            self_id=seat.witness,
            peers=seat.peers,
            store=self._store,
            replicated=seat.replicated,
            timers=seat.timers,
            compaction=seat.compaction,
            now_ns=InstantNs(now_ns),
            rng=seat.rng,
        )
        self._synced = False
        self.link_up = self._node.link_up
        self.link_down = self._node.link_down
        self.propose = self._node.propose
        self.wants_turn = self._node.wants_turn
        self.next_deadline_ns = self._node.next_deadline_ns
        self.force_snapshot = self._node.force_snapshot
        drive.worked()

    def hello(self, peer: WitnessId) -> Any:  # noqa: ARG002  # the same for all peers
        return self._store.incarnation

    def admit(self, peer: WitnessId, hello: Any) -> None:
        try:
            known = self._store.get_meta(DISK_MARK + peer)
        except CrashPoint as crash:
            raise PowerLost(str(crash)) from crash
        if known is None:
            self._store.put_meta(DISK_MARK + peer, hello)
        elif known != hello:
            raise RemoteFault(f"{peer} comes with another disk")

    def ping(self) -> None:
        """Only a sign of life."""

    def pinged(self, peer: WitnessId, said: Any) -> None: ...

    def encode(self, message: Message) -> bytes:
        packed: bytes = msgpack.packb(message)
        return packed

    def receive(self, peer: WitnessId, frame: bytes) -> None:
        try:
            value = msgpack.unpackb(frame)
        except (ValueError, msgpack.UnpackException) as error:
            raise FrameRefused("a frame that is not msgpack") from error
        self._node.receive(peer, check_message(value), len(frame) + MESSAGE_COST)

    def turn(
        self, now_ns: int, unsent_bytes: Mapping[WitnessId, int], early: Callable[[Outbox], None] | None
    ) -> Outbox:
        try:
            result = self._node.turn(InstantNs(now_ns), dict(unsent_bytes), early)
        except CrashPoint as crash:
            raise PowerLost(str(crash)) from crash
        self._synced = result.synced
        if result.synced:
            self._drive.worked()
        return result.outbox

    def finish(self) -> None:
        if self._synced:
            self._node.finish()

    def view(self) -> View:
        status, journal = self._node.status(), self._node._journal  # noqa: SLF001  # it names its log's end nowhere else
        _, last_index, last_term = journal[-1]
        return View(
            status.role is Role.LEADER,
            status.leader,
            status.term,
            status.commit_index,
            status.applied_index,
            last_index,
            last_term,
        )

    def close(self) -> None:
        self._store.close()


class Hardened:
    """Implements witness.sim.raft.subject.Subject."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.kinds = frozenset(faults.KINDS)

    def blank(self, witness: WitnessId) -> SimDrive:
        rng = rng_for(self._setup.seed, f"disk/{witness}")
        return SimDrive(_template(witness).clone(rng, witness), self._setup.sync_ns)

    def start(self, seat: Seat, now_ns: int) -> HardenedMember:
        drive = seat.drive
        if not isinstance(drive, SimDrive):
            unreachable("the hardened node runs on the simulated disk")
        try:
            return HardenedMember(seat, drive, self._setup.space, now_ns)
        except CrashPoint as crash:
            raise PowerLost(str(crash)) from crash

    def close(self) -> None:
        """All of it is memory."""


@cache
def _template(witness: WitnessId) -> SimDisk:
    disk = SimDisk(random.Random(f"template/{witness}"), witness)  # noqa: S311  # a simulation, not a secret
    create_store(disk, CLUSTER, witness)
    return disk
