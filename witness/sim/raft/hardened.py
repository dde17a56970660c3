"""The subject that ships: RaftNode with its engine, filter, journal and store, on the simulated disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from proto.invariants import unreachable
from proto.units import InstantNs, WitnessId
from witness.raft.node import RaftNode
from witness.raft.port import Role
from witness.raft.space import SpaceLimits
from witness.raft.standing import Standing
from witness.raft.store import Store, create_store, open_store
from witness.sim.disk import CrashPoint, SimDisk
from witness.sim.raft import faults
from witness.sim.raft.raft_links import RaftLinks
from witness.sim.raft.setup import CLUSTER, Setup, rng_for
from witness.sim.raft.sim_drive import SimDrive
from witness.sim.raft.subject import Outbox, PowerLost, Seat, View

if TYPE_CHECKING:
    from witness.sim.raft.host import Host


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
        self._seat = seat
        self._links: RaftLinks | None = None
        self._now_ns = now_ns
        self._synced = False
        self.propose = self._node.propose
        self.took = self._node.took
        self.wants_turn = self._node.wants_turn
        self.next_deadline_ns = self._node.next_deadline_ns
        self.force_snapshot = self._node.force_snapshot
        drive.worked()

    @property
    def store(self) -> Store:
        """For what lies beside the log, in the same store."""
        return self._store

    def links(self, host: Host) -> RaftLinks:
        self._links = RaftLinks(self._node, self._store, self._seat, host)
        return self._links

    def turn(
        self, now_ns: int, unsent_bytes: Mapping[WitnessId, int], early: Callable[[Outbox], None] | None
    ) -> Outbox:
        try:
            if self._links is not None:
                self._links.disks.keep_due(now_ns)
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
            self._node.standing is Standing.VOTER,
        )

    @property
    def election_max_ms(self) -> int:
        """The longest timeout that it draws now."""
        return self._node.pace.election_max_ms

    def load(self, dice: random.Random) -> None:
        """From now on its timeouts are drawn from these."""
        self._node._engine._rng = dice  # noqa: SLF001  # nobody else may put dice into a running engine

    def close(self) -> None:
        self._store.close()


class Hardened:
    """Implements witness.sim.raft.subject.Subject."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.kinds = frozenset(faults.KINDS)
        self.asks_leave = True

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
