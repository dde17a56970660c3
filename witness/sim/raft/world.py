"""One schedule: a cluster of hosts on one network, the faults that strike it, and the heal at the end.

Two phases, as TigerBeetle's simulator has them: safety under faults, and then, all faults off, liveness within a bound
of virtual time. A disk that was damaged may have its witness stay down, a minority at most.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

from proto.units import NS_PER_MS, NS_PER_S, WitnessId
from witness.raft.port import CommittedEntry, ConsensusStatus
from witness.sim.campaign.kit import Note
from witness.sim.clock import Events, NodeClock
from witness.sim.raft import faults
from witness.sim.raft.calm import Calm
from witness.sim.raft.damage import Damage
from witness.sim.raft.ends import Ends
from witness.sim.raft.faults_identity import readmit_told
from witness.sim.raft.faults_net import SLOW_NS_MAX
from witness.sim.raft.host import Host
from witness.sim.raft.hosts import disk_hits, heal_hosts, leader_of, running_of
from witness.sim.raft.judge import Judge, liveness_bound_ns
from witness.sim.raft.network import CONNECTED_WITHIN_NS, Network
from witness.sim.raft.replica import Replica
from witness.sim.raft.setup import CLUSTER, LARGE_BYTES, LARGE_KIND, Setup, copies_of, rng_for
from witness.sim.raft.subject import Member, Message, Outbox, Seat, Subject

TO_LEADERS = 0.5
"""Share of the proposals that go to whoever believes to lead, an isolated old leader among them."""
WARM_STEPS_MAX = 30
QUIET_STEP_NS = 100 * NS_PER_MS
PROBE_AGAIN = 0.2
"""A proposal may be lost with a leader."""
RESTART_CALM_NS = 50 * NS_PER_MS
ELECTION_KINDS = frozenset({"pre_vote", "pre_vote_answer", "request_vote"})
LIAR_KIND = "forged"


class World:
    """Implements Watch of hosts and of replicas."""

    def __init__(self, setup: Setup, subject: Subject, trace: Note | None) -> None:
        self.setup = setup
        self.events = Events()
        self.judge = Judge(setup, self.events)
        self.hits: Counter[str] = Counter()
        self.hosts: dict[WitnessId, Host] = {}
        self.damage = Damage(setup.minority, self.hosts, self.judge, self.hit)
        self.happened = 0
        self.rng = partial(rng_for, setup.seed)
        self._subject = subject
        self._trace = trace
        self._safety = True
        self._restarts = self.rng("restarts")
        self._workload = self.rng("workload")
        self._proposed = 0
        self._ends = Ends(self, self.judge)
        self._probe = b""
        self.replicas: dict[WitnessId, Replica] = {}
        self.copies = copies_of(setup)
        self.network = Network(setup.witnesses, self.events, self.rng("network"), self.hit, self.copies)
        self.machines: dict[WitnessId, Host] = {}
        """The hosts of all witnesses, and those that are copies."""
        for name in setup.witnesses:
            self.hosts[name] = self._make(name, name)
        for name, original in self.copies.items():
            self._make(name, original)
        self._calm = Calm(setup, self.hosts, self.network, self.leader, self.judge.keeps)
        self._looks = subject.asks_leave and not self.copies and LIAR_KIND not in setup.kinds
        """A liar, or a copy, may stand whenever it likes."""
        for path in self.network.wire.paths.values():
            path.delay_ns_min, path.delay_ns_max = setup.delay_ns // 10, setup.delay_ns

    def _make(self, name: WitnessId, witness: WitnessId) -> Host:
        host_rng = self.rng(f"host/{name}")
        host = self.machines[name] = Host(
            name,
            self._subject.blank(witness),
            self.events,
            self.network,
            NodeClock(self.events, host_rng.randint(-50, 50)),
            partial(self._start, host_rng),
            self,
            host_rng,
            self.setup.cpu_ns,
            early=self.setup.early,
            witness=witness,
        )
        return host

    def _start(self, rng: random.Random, host: Host) -> Member:
        replica = self.replicas[host.name] = Replica(host.name, self, self.setup.ballast_bytes)
        self._ends.started(host)
        seat = Seat(
            witness=host.witness,
            peers=tuple(peer for peer in self.setup.witnesses if peer != host.witness),
            cluster=CLUSTER,
            drive=host.drive,
            replicated=replica,
            timers=self.setup.timers,
            compaction=self.setup.compaction,
            rng=random.Random(rng.random()),  # noqa: S311  # a simulation, not a secret
            acknowledged=partial(self.judge.log.acknowledged, str(host.name)),
        )
        return self._subject.start(seat, host.clock.now())

    # -- phases ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        for host in self.hosts.values():
            host.start()
        if self._looks:
            self._look()
        if not self.setup.cold or self.copies:
            self._warm_up()
        faults.set_moods(self)
        self._schedule()
        self._run_for(self.setup.gap_ns * self.setup.events)
        self._heal()
        self._settle()

    def _warm_up(self) -> None:
        for _ in range(WARM_STEPS_MAX):
            self._run_for(QUIET_STEP_NS)
            if self.leader() is not None:
                return

    def _look(self) -> None:
        self._calm.look()
        self.fault_after(self._calm.every_ns, self._look)

    def _schedule(self) -> None:
        rng = self.rng("schedule")
        blows = faults.blows_of(self.setup.kinds)
        for _ in range(self.setup.events):
            at_ns = int(rng.random() * self.setup.gap_ns * self.setup.events)
            if not blows or rng.random() < self.setup.proposals:
                self.events.after(at_ns, self._propose_some)
            else:
                kind = rng.choice(blows)
                self.fault_after(at_ns, partial(self._strike, kind, random.Random(rng.random())))  # noqa: S311  # same

    def _strike(self, kind: str, rng: random.Random) -> None:
        self.happened += 1
        faults.BLOWS[kind](self, rng)

    def fault_after(self, delay_ns: int, action: Callable[[], None], *, always: bool = False) -> None:
        """Strikes as long as the safety phase lasts; `always`: what ends a fault is never harmful."""
        self.events.after(delay_ns, action if always else partial(self._if_unsafe, action))

    def _if_unsafe(self, action: Callable[[], None]) -> None:
        if self._safety:
            action()

    def _run_for(self, span_ns: int) -> None:
        events, end_ns = self.events, self.events.now_ns + span_ns
        while events.next_ns() <= end_ns:
            events.happen()
        events.now_ns = end_ns

    def _heal(self) -> None:
        self.note("world", "all faults end")
        self._safety = False
        self.network.heal()
        for name in self.copies:
            self.machines[name].power_off()
            self.damage.refused.discard(name)
        heal_hosts(self, self._restarts, self._restart)

    def _settle(self) -> None:
        bound_ns = liveness_bound_ns(self.setup, CONNECTED_WITHIN_NS, SLOW_NS_MAX)
        settled = self._settles_within(bound_ns)
        if not settled and readmit_told(self, self._restarts):
            for host in self.hosts.values():
                self._restart(host)
            settled = self._settles_within(bound_ns)
        if not settled:
            self.judge.found("stuck", f"{bound_ns / NS_PER_S:.1f} s after the end of all faults: {self._views()}")
            return
        for name, host in self.hosts.items():
            if host.name not in self.damage.refused:
                self.judge.log.ends(str(name), self.replicas[name].index, self.replicas[name].digest)

    def _settles_within(self, bound_ns: int) -> bool:
        end_ns = self.events.now_ns + bound_ns
        while self.events.now_ns < end_ns and not self.judge.findings.full:
            self._run_for(QUIET_STEP_NS)
            if self._settled():
                return True
        return False

    def _settled(self) -> bool:
        """One leads, all follow it, and a command proposed after the heal is applied by all; refused ones apart."""
        sound = [host for host in self.hosts.values() if host.name not in self.damage.refused]
        views = [host.member.view() for host in sound if host.member is not None]
        leaders = {view.leader for view in views}
        if len(views) < len(sound) or len(leaders) != 1 or None in leaders:
            return False
        if not self.judge.log.has(self._probe):
            if not self._probe or self._workload.random() < PROBE_AGAIN:
                self._probe = self._propose(self._workload.choice(sound), b"probe")
            return False
        self.damage.look_at_learners()
        if self.damage.learners and not self.damage.refused:
            return False
        return all(self.replicas[host.name].index == self.judge.log.highest for host in sound)

    def _views(self) -> str:
        said = []
        for name, host in self.hosts.items():
            view = None if host.member is None else host.member.view()
            said.append(f"{name} {'is down' if view is None else view}")
        return "; ".join(said)

    # -- workload --------------------------------------------------------------------------------------------

    def _propose_some(self) -> None:
        rng = self._workload
        self.happened += 1
        running = self.running()
        if not running:
            return
        large = LARGE_KIND in self.setup.kinds
        if rng.random() < TO_LEADERS:
            running = [host for host in running if host.member is not None and host.member.view().leads] or running
        for _ in range(rng.choice((1, 1, 5, 20))):
            if large and rng.random() < 0.3:
                self.hit(LARGE_KIND)
                self._propose(rng.choice(running), bytes(rng.randint(1_000, LARGE_BYTES)))
            else:
                self._propose(rng.choice(running), b"")

    def propose_at(self, host: Host, count: int) -> None:
        for _ in range(count):
            self._propose(host, b"")

    def _propose(self, host: Host, ballast: bytes) -> bytes:
        self._proposed += 1
        command = b"%d:%s" % (self._proposed, ballast)
        host.propose(command)
        return command

    # -- faults ----------------------------------------------------------------------------------------------

    def running(self) -> list[Host]:
        return running_of(self.hosts.values())

    def leader(self) -> Host | None:
        return leader_of(self.hosts.values())

    def hit(self, kind: str) -> None:
        self.hits[kind] += 1

    def note(self, who: str, what: str) -> None:
        if self._trace is not None:
            self._trace(self.events.now_ns, who, what)

    def copy_of(self, host: Host) -> Host | None:
        return next((self.machines[name] for name, original in self.copies.items() if original == host.name), None)

    def _restart(self, host: Host) -> None:
        if host.name not in self.damage.refused and (self._safety or host.name in self.hosts):
            host.start()

    # -- Watch -----------------------------------------------------------------------------------------------

    def started(self, host: Host) -> None:
        if host.witness not in self.copies.values():
            self.judge.started(host)

    def turned(self, host: Host, outbox: Outbox, began_ns: int) -> None:
        self._tell(host, outbox)
        self.judge.turned(host, outbox, began_ns)
        if self._looks and self._safety:
            self._judge_terms(host, outbox, began_ns)

    def _judge_terms(self, host: Host, outbox: Outbox, began_ns: int) -> None:
        keeps = self.judge.keeps
        if self.events.now_ns - began_ns > self._calm.every_ns:
            keeps.slow(str(host.name))
        if any(message["type"] in ELECTION_KINDS for messages in outbox.values() for message in messages):
            self._calm.look()
            asked = keeps.asked
            keeps.sent(str(host.name), list(outbox.items()))
            if keeps.asked > asked:
                self.hits["asked-in-calm"] += keeps.asked - asked

    def _tell(self, host: Host, outbox: Outbox) -> None:
        if self._trace is not None:
            for peer, messages in outbox.items():
                for message in messages:
                    self.note(str(host.name), f"-> {peer} {_told(message)}")

    def sent_early(self, host: Host, outbox: Outbox) -> None:
        self.hit("sent-early")
        self._tell(host, outbox)
        self.judge.sent_early(host, outbox, self.events.now_ns)

    def ended(self, host: Host, error: BaseException | None) -> None:
        if error is not None:
            self._ends.by_itself(host, error)
        self.start_later(host)

    def start_later(self, host: Host) -> None:
        mean_ns = self.setup.restart_ns if self._safety else RESTART_CALM_NS
        delay_ns = int(mean_ns * self._restarts.choice((0.1, 0.5, 1, 2)))
        self.events.after(delay_ns, partial(self._restart, host))

    # -- ReplicaWatch ----------------------------------------------------------------------------------------

    def applied(self, replica: Replica, entry: CommittedEntry, before: int) -> None:
        self.judge.applied(self.machines[replica.witness], replica, entry, before)
        if self._trace is not None:
            self.note(str(replica.witness), f"applies {entry.index} of term {entry.term}: {entry.data[:20]!r}")

    def restored(self, replica: Replica) -> None:
        self.note(str(replica.witness), f"restores an image of {replica.index}")
        self.judge.restored(replica)
        if replica.index:
            self.hit("image-restored")

    def synced(self, replica: Replica) -> None: ...

    def status(self, replica: Replica, status: ConsensusStatus) -> None:
        self.judge.status(self.machines[replica.witness], status)
        if self._trace is not None:
            shape = f"{status.role.value} of term {status.term} under {status.leader}, quorum {status.has_quorum}"
            self.note(str(replica.witness), f"{shape}, caught up {status.caught_up}")

    def close(self) -> None:
        for kind, count in disk_hits(self.hosts.values()).items():
            self.hits[kind] += count
        for host in self.machines.values():
            if host.member is not None:
                host.member.close()
        self._subject.close()


def _told(message: Message) -> str:
    text = str({key: value for key, value in message.items() if key not in {"entries", "serialized"}})
    entries = message.get("entries")
    if entries:
        text += f" entries {entries[0][1]}-{entries[-1][1]}"
    return text[:300]
