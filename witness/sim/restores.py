"""Backups of the simulated witnesses, the loss of all of them, and their restore: what `witness backup` and `witness
restore` do, with their own code, on simulated disks.

Rule: the file is made, verified and restored by witness.backup and witness.core.restore; simulated are the operator,
who vouches for exactly the longest lease that was in force since the backup, and the machines. A restore is of all
witnesses; one of them may come back on its old disk instead, with all that the former life knew: nobody may hear it.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from proto.codec import EVENTS
from proto.errors import LocalFault
from proto.events import Event, EventKind
from proto.features import FEATURE_MAX
from proto.lease import LeaseConstants, longest, takeover_wait_max
from proto.limits import DRIFT_MAX_PPM_MAX
from proto.units import NS_PER_MS, NS_PER_S, WallMs
from witness.backup.layout import Backup, chunks, read_events, verify
from witness.backup.place import fill
from witness.backup.source import Parts, of_running, of_stopped
from witness.core.machine import Machine
from witness.core.restore import RANDOM_BYTES, Restored, new_lineage, restore
from witness.core.state import ClusterState
from witness.raft.disk import DISK_FAULTS
from witness.raft.store import open_store
from witness.sim.clock import WALL_AT_START_NS
from witness.sim.disk import CrashPoint, SimDisk
from witness.sim.life import DIGEST_BYTES
from witness.sim.raft.faults_identity import mended_later
from witness.sim.raft.setup import CLUSTER
from witness.sim.raft.sim_drive import SimDrive

if TYPE_CHECKING:
    from witness.sim.cluster import Cluster
    from witness.sim.judges import Judges
    from witness.sim.raft.host import Host

NOTHING = LeaseConstants(0, 0, 0)
LINEAGES_APART_NS = 11 * NS_PER_S
"""Generations count tens of seconds (witness.core.restore): nobody restores all witnesses twice within less."""
TODAY_NS = WALL_AT_START_NS + 100_000_000 * NS_PER_S
"""Wall clocks of the simulation begin before the year from which generations are counted."""
FIRST_TERM = 1


@dataclass(slots=True)
class Kept:
    """One file, or the lack of any."""

    file: bytes | None
    longest: LeaseConstants = NOTHING
    """Of all leases that were in force since it was taken: what the operator remembers."""


class Restores:
    def __init__(self, cluster: Cluster, judges: Judges, hit: Callable[[str], None]) -> None:
        self.kept = [Kept(None)]
        """The first is no backup at all, since the beginning."""
        self.done = 0
        self.last: Kept | None = None
        """What was restored last."""
        self.longest_bar = NOTHING
        self._cluster = cluster
        self._judges = judges
        self._hit = hit
        self._lost_ns: int | None = None
        self._lineage_ns = -LINEAGES_APART_NS
        self._restore: Callable[[], None] | None = None

    # -- backups ---------------------------------------------------------------------------------------------

    def back_up(self, host: Host) -> Kept | None:
        """`witness backup` on this machine, whether its witness runs or not; None when there is no file then."""
        try:
            file = b"".join(self._pieces(host))
            verify(io.BytesIO(file))
        except CrashPoint:
            host.power_off()
            return None
        except (LocalFault, *DISK_FAULTS) as refused:
            self._cluster.note(str(host.name), f"no backup: {refused}")
            self._hit("backup-refused")
            return None
        self._cluster.note(str(host.name), f"a backup of {len(file)} bytes is taken")
        self.kept.append(Kept(file, self.in_force()))
        return self.kept[-1]

    def _pieces(self, host: Host) -> Iterator[bytes]:
        life = self._cluster.machines[host.name].life
        if life is not None and life.store is not None:
            state, seen = life.node.machine.state, life.node.consensus
            self._hit("backup-running")
            yield from _pieces(
                of_running(
                    state,
                    life.node.snapshot(),
                    life.store,
                    term=0 if host.member is None else host.member.view().term,
                    wall_ms=self._today(),
                    caught_up=seen.has_quorum and seen.caught_up,
                )
            )
        elif isinstance(host.drive, SimDrive):
            store = open_store(host.drive.disk, CLUSTER, host.witness)
            try:
                self._hit("backup-stopped")
                yield from _pieces(of_stopped(store, self._today()))
            finally:
                store.close()

    def _today(self) -> WallMs:
        return WallMs((TODAY_NS + self._cluster.events.now_ns) // NS_PER_MS)

    def in_force(self) -> LeaseConstants:
        """The longest lease that somebody may have now."""
        return longest(NOTHING, *self._judges.restores.in_force())

    def granted(self, event: Event, machine: Machine) -> None:
        """Whoever keeps a backup remembers what was in force since."""
        group = None if event.group is None else machine.state.groups.get(event.group)
        if event.kind is EventKind.GRANTED and group is not None and group.lease is not None:
            for kept in self.kept:
                kept.longest = longest(kept.longest, group.lease.constants)

    # -- loss and restore ------------------------------------------------------------------------------------

    @property
    def possible(self) -> bool:
        """No restore is under way, and the last one was long enough ago."""
        return self._lost_ns is None and self._cluster.events.now_ns - self._lineage_ns >= LINEAGES_APART_NS

    def lose_all(self) -> None:
        """Every witness's machine is gone, at this instant."""
        self._lost_ns = self._cluster.events.now_ns
        self._cluster.lost = True
        self._cluster.note("world", "all witnesses are lost")
        for host in self._cluster.hosts.values():
            host.power_off()

    def restore_after(self, delay_ns: int, kept: Kept, rng: random.Random, leftover: Host | None) -> None:
        self._restore = partial(self._begin_anew, kept, rng, leftover)
        self._cluster.events.after(delay_ns, self.finish)

    def finish(self) -> None:
        """The restore that is under way, if any: at its time, or now."""
        due, self._restore = self._restore, None
        if due is not None:
            due()

    def _begin_anew(self, kept: Kept, rng: random.Random, leftover: Host | None) -> None:
        cluster, lost_ns = self._cluster, self._lost_ns
        if lost_ns is None:
            return
        self._lost_ns, self._lineage_ns = None, cluster.events.now_ns
        self.done += 1
        self.last = kept
        backup = None if kept.file is None else verify(io.BytesIO(kept.file))
        made = self._made(backup, kept.longest, rng.randbytes(RANDOM_BYTES))
        self.longest_bar = longest(self.longest_bar, made.bar)
        index, known = made.state.applied_index, _events_of(kept.file)
        cluster.note("world", f"the witnesses are restored as of entry {index}, barred for {made.wait_s:.3f} s")
        cluster.judge.begin()
        cluster.judge.log.begins_at(index, bytes(DIGEST_BYTES))
        self._judges.begun_anew(known, made.events, index, lost_ns)
        cluster.damage.all_replaced()
        cluster.former.clear()
        term = FIRST_TERM if backup is None else backup.header.term + 1
        for host in cluster.hosts.values():
            if host is leftover:
                self._leave(host, rng)
            else:
                self._place(host, made, term, known, rng)
        cluster.lost = False
        soon = rng.random() < 0.7
        for host in cluster.hosts.values():
            cluster.start_later(host, soon=soon)

    def _made(self, backup: Backup | None, vouched: LeaseConstants, drawn: bytes) -> Restored:
        state = ClusterState() if backup is None else backup.state
        claimed = LeaseConstants(vouched.ttl_ms, DRIFT_MAX_PPM_MAX, vouched.lock_delay_ms)
        return restore(state, new_lineage(self._today(), drawn), claimed, FEATURE_MAX)

    def _place(self, host: Host, made: Restored, term: int, known: list[Event], rng: random.Random) -> None:
        disk = SimDisk(random.Random(rng.random()), host.witness)  # noqa: S311  # a simulation, not a secret
        fill(disk, CLUSTER, host.witness, made, term, [(event.seq, EVENTS.encode(event)) for event in known])
        if isinstance(host.drive, SimDrive):
            host.drive.insert(disk)
        self._cluster.network.forget_past(host.name)

    def _leave(self, host: Host, rng: random.Random) -> None:
        """It was not lost after all, and runs on the disk that it had; its operator readmits it, now or later."""
        self._hit("restore-leftover")
        self._cluster.note(str(host.name), "comes back with the disk of the former life")
        self._cluster.damage.may_damage(host)
        self._cluster.former.add(host.name)
        mended_later(self._cluster, host, rng)

    @property
    def used(self) -> bool:
        """A backup was taken, after which operators change what they will (faults_restore)."""
        return self.done > 0 or len(self.kept) > 1

    def wait_ns(self) -> int:
        """How long a restore may hold back a first grant: its bar, and as much for a group that is made anew."""
        return 2 * takeover_wait_max(self.longest_bar)


def _pieces(parts: Parts) -> Iterator[bytes]:
    return chunks(parts.header, parts.image, parts.events)


def _events_of(file: bytes | None) -> list[Event]:
    return [] if file is None else [EVENTS.decode(data) for _, data in read_events(io.BytesIO(file))]
