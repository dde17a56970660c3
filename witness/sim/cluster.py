"""The witnesses of one schedule: machines with the real engine on simulated disks, and the network between them.

Machines, network, disks, faults and the judges of Raft are those of the Raft fuzz (witness.sim.raft); what is new is
that each process carries the real driver and core (witness.sim.life). A process that ends is started again after a
while, unless it says that its disk is damaged: a minority may be, and stays down then.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Protocol

from proto.commands import Author, SetMode
from proto.events import Event
from proto.groups import Mode
from proto.invariants import unreachable
from proto.units import GroupId, WitnessId
from witness.core.effects import Outcome
from witness.raft.port import CommittedEntry, ConsensusStatus
from witness.raft.store import Store
from witness.sim.clock import Events, NodeClock
from witness.sim.former import FormerLife
from witness.sim.life import Life, Machine
from witness.sim.raft.damage import Damage
from witness.sim.raft.ends import Ends
from witness.sim.raft.faults_identity import readmit_host, readmit_told
from witness.sim.raft.hardened import Hardened, HardenedMember
from witness.sim.raft.host import Host
from witness.sim.raft.hosts import disk_hits, heal_hosts, leader_of, running_of
from witness.sim.raft.judge import Judge
from witness.sim.raft.network import Network
from witness.sim.raft.setup import CLUSTER, Setup
from witness.sim.raft.sim_drive import SimDrive
from witness.sim.raft.subject import Member, Outbox, Seat
from witness.sim.raft.world import RESTART_CALM_NS
from witness.sim.witness import WitnessHost

NO_GROUP = GroupId("nobody")
HIT = "witness-"
"""Before the fuzz's name of a fault: sites have disks, networks and processes too."""


class ClusterWatch(Protocol):
    def applied(self, life: Life, events: list[Event]) -> None:
        """`events`: the ledger's of this entry, when nobody applied it before."""

    def restored(self, life: Life) -> None: ...
    def asked(self) -> int: ...
    def told(self, life: Life, index: int, asked: int) -> None: ...
    def recorded(self, witness: str, events: tuple[Event, ...]) -> None: ...
    def hit(self, kind: str) -> None: ...
    def note(self, who: str, what: str) -> None: ...


class Cluster:
    """Implements Watch of its hosts, LifeWatch of their processes and Stage of the fuzz's faults."""

    def __init__(
        self,
        setup: Setup,
        events: Events,
        rng_of: Callable[[str], random.Random],
        rate_ppm: Callable[[random.Random], int],
        watch: ClusterWatch,
    ) -> None:
        self.setup = setup
        self.events = events
        self.rng = rng_of
        self.judge = Judge(setup, events)
        self._watch = watch
        self._safety = True
        self._ages_hold = "old-bytes" not in setup.kinds
        """Stamps of an earlier boot of a machine come back with old frames: the connections forbid it, not Raft."""
        self._subject = Hardened(setup)
        self._restarts = rng_of("restarts")
        self._ends = Ends(self, self.judge)
        self.kept_down: set[WitnessId] = set()
        """Nobody starts these again before the heal."""
        self.lost = False
        """All witnesses are gone: nobody starts before they are restored (witness.sim.restores)."""
        self.former: set[WitnessId] = set()
        """Run on disks of the life before a restore, until they are readmitted."""
        self.network = Network(setup.witnesses, events, rng_of("witness-network"), self.hit)
        for path in self.network.wire.paths.values():
            path.delay_ns_min, path.delay_ns_max = setup.delay_ns // 10, setup.delay_ns
        self.hosts: dict[WitnessId, Host] = {}
        self.damage = Damage(setup.minority, self.hosts, self.judge, self.hit)
        self.machines: dict[WitnessId, WitnessHost] = {}
        for name in setup.witnesses:
            rng = rng_of(f"witness/{name}")
            self._make(name, rng, NodeClock(events, rate_ppm(rng)))

    def _make(self, name: WitnessId, rng: random.Random, clock: NodeClock) -> None:
        host = self.hosts[name] = Host(
            name,
            self._subject.blank(name),
            self.events,
            self.network,
            clock,
            partial(self._start, rng),
            self,
            rng,
            self.setup.cpu_ns,
            early=self.setup.early,
        )
        self.machines[name] = WitnessHost(host)

    def _start(self, rng: random.Random, host: Host) -> Member:
        self._ends.started(host)
        if host.name not in self.damage.out:
            self.former.discard(host.name)
        watch = FormerLife(self) if host.name in self.former else self
        host.watch = watch
        life = Life(Machine(host, self.events, CLUSTER, self.setup.witnesses, rng, watch))
        seat = Seat(
            witness=host.name,
            peers=tuple(peer for peer in self.setup.witnesses if peer != host.name),
            cluster=CLUSTER,
            drive=host.drive,
            replicated=life,
            timers=self.setup.timers,
            compaction=self.setup.compaction,
            rng=random.Random(rng.random()),  # noqa: S311  # a simulation, not a secret
            acknowledged=_nobody_asks,
        )
        member = self._subject.start(seat, host.clock.now())
        life.run_on(member, _store_of(member))
        self.machines[host.name].life = life
        return member

    # -- phases ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        for host in self.hosts.values():
            host.start()

    def heal(self) -> None:
        """All faults end; who is down starts, and operators readmit whom a refusal told them to (mostly)."""
        self._safety = False
        self.kept_down.clear()
        self.network.heal()
        heal_hosts(self, self._restarts, self._restart)

    def readmit_told(self) -> bool:
        """Operators do once more what refusals go on telling them; True when there was one."""
        self.damage.look_at_learners()
        told = readmit_told(self, self._restarts)
        for host in self.hosts.values() if told else ():
            self._restart(host)
        return told

    def readmit_refused(self) -> bool:
        """Operators bring back who is down with a disk that was refused, too; True when there was one."""
        refused = [host for host in self.hosts.values() if host.name in self.damage.refused]
        for host in refused:
            readmit_host(self, host, self._restarts)
            self._restart(host)
        return bool(refused)

    def break_again(self) -> None:
        """What lasts only as long as the safety phase may strike anew."""
        self._safety = True

    def close(self) -> None:
        for kind, count in disk_hits(self.hosts.values()).items():
            for _ in range(count):
                self.hit(kind)
        for host in self.hosts.values():
            if isinstance(host.drive, SimDrive):
                host.drive.calm()
            if host.member is not None:
                host.member.close()
        self._subject.close()

    # -- Stage -----------------------------------------------------------------------------------------------

    def running(self) -> list[Host]:
        return running_of(self.hosts.values())

    def leader(self) -> Host | None:
        return leader_of(self.hosts.values())

    def copy_of(self, host: Host) -> Host | None:
        """No machine is copied here."""

    def propose_at(self, host: Host, count: int) -> None:
        """Commands that go through the log and are answered, and that change nothing."""
        for _ in range(count):
            self.machines[host.name].submit(SetMode(NO_GROUP, Mode.AUTOMATIC, Author("operator-2", "busy")), _ignored)

    def fault_after(self, delay_ns: int, action: Callable[[], None], *, always: bool = False) -> None:
        self.events.after(delay_ns, action if always else partial(self._if_unsafe, action))

    def _if_unsafe(self, action: Callable[[], None]) -> None:
        if self._safety:
            action()

    def hit(self, kind: str) -> None:
        self._watch.hit(HIT + kind)

    def note(self, who: str, what: str) -> None:
        self._watch.note(who, what)

    # -- Watch -----------------------------------------------------------------------------------------------

    def started(self, host: Host) -> None:
        self.judge.started(host)

    def turned(self, host: Host, outbox: Outbox, began_ns: int) -> None:
        self.judge.turned(host, outbox, began_ns)

    def sent_early(self, host: Host, outbox: Outbox) -> None:
        self.hit("sent-early")
        self.judge.sent_early(host, outbox, self.events.now_ns)

    def ended(self, host: Host, error: BaseException | None) -> None:
        machine = self.machines[host.name]
        if machine.life is not None:
            machine.life.end(told=self.network.has_power(host.name))
            machine.life = None
        if error is not None:
            self._ends.by_itself(host, error)
        self.start_later(host)

    def start_later(self, host: Host, *, soon: bool = False) -> None:
        mean_ns = self.setup.restart_ns if self._safety and not soon else RESTART_CALM_NS
        self.events.after(int(mean_ns * self._restarts.choice((0.1, 0.5, 1, 2))), partial(self._restart, host))

    def _restart(self, host: Host) -> None:
        if not self.lost and host.name not in self.damage.refused | self.kept_down:
            host.start()

    # -- LifeWatch -------------------------------------------------------------------------------------------

    def applied(self, life: Life, entry: CommittedEntry, before: int) -> None:
        host = self.hosts[life.witness]
        new = life.index > self.judge.log.highest
        if new and host.member is not None:
            self.judge.log.committed(life.index, host.member.view().term)
        self.judge.log.applied(str(life.witness), life.index, entry.data, before, life.digest)
        if self._ages_hold:
            age_ns, rate_ppm = entry.age_bound_ns, life.clock.rate_ppm
            self.judge.ages.applied(str(life.witness), life.index, int(entry.term), age_ns, rate_ppm)
        self._watch.applied(life, life.new_events() if new else [])

    def restored(self, life: Life) -> None:
        known = self.judge.log.entries.get(life.index)
        if known is not None:
            life.digest = known.digest
        self.judge.log.restored(str(life.witness), life.index, life.digest)
        self._watch.restored(life)
        self.note(str(life.witness), f"restores an image of {life.index}")
        if life.index:
            self.hit("image-restored")

    def status(self, life: Life, status: ConsensusStatus) -> None:
        self.judge.status(self.hosts[life.witness], status)

    def asked(self) -> int:
        return self._watch.asked()

    def told(self, life: Life, index: int, asked: int) -> None:
        self._watch.told(life, index, asked)

    def recorded(self, witness: str, events: tuple[Event, ...]) -> None:
        self._watch.recorded(witness, events)


def _ignored(outcome: Outcome) -> None:
    del outcome


def _nobody_asks(command: bytes) -> None:
    """The core answers its clients itself."""


def _store_of(member: Member) -> Store:
    if not isinstance(member, HardenedMember):
        unreachable("only the hardened engine has a store")
    return member.store
