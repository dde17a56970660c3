"""One simulated witness: the real WitnessNode as a port's Replicated, with the driver's two rules.

Effects of `apply` leave after `turn_synced` (witness/runtime/driver.py); a crash forgets everything that consensus
does not keep. Inputs that arrive while the process is stopped wait in its sockets.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proto.codec import AGENT_MESSAGES
from proto.commands import Author, Command, ReleaseLease
from proto.decisions import Reason
from proto.events import Event
from proto.messages import AgentMessage, Heartbeat, HeartbeatAnswer, Ping, Pong, Release, ReleaseAnswer
from proto.units import ClusterId, GroupId, SiteId, WitnessId
from witness.core.batcher import Overloaded
from witness.core.effects import Effect, Outcome, ProposeEntry, Push, Record, Resolved
from witness.core.node import WitnessNode
from witness.raft.memory import MemoryCluster, MemoryConsensus
from witness.raft.port import CommittedEntry, ConsensusStatus, ProposalRefused, Role
from witness.sim.clock import NEVER_NS, Events, NodeClock

if TYPE_CHECKING:
    from witness.sim.stream import Stream

STREAM_IDLE_NS = 5_000_000_000
UNDECIDED = frozenset({Reason.NO_QUORUM, Reason.OUTCOME_UNKNOWN, Reason.OVERLOADED})
"""Not answered, as witness/http/stream.py has it."""
INBOX_MAX = 20_000
OnOutcome = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who is told what happens inside: the checkers, the counters, the trace."""

    applied: Callable[[str, int, WitnessNode], None]
    recorded: Callable[[str, tuple[Event, ...]], None]
    hit: Callable[[str], None]
    note: Callable[[str, str], None]


class WitnessHost:
    """Implements witness.raft.port.Replicated."""

    def __init__(
        self,
        witness: WitnessId,
        cluster: ClusterId,
        consensus: MemoryCluster,
        clock: NodeClock,
        events: Events,
        rng: random.Random,
        watchers: Watchers,
    ) -> None:
        self.id = witness
        self.name = str(witness)
        self.clock = clock
        self.node: WitnessNode | None = None
        self.stopped = False
        self._cluster = cluster
        self._consensus = consensus
        self._port: MemoryConsensus | None = None
        self._events = events
        self._rng = rng
        self._watchers = watchers
        self._waiting: dict[int, OnOutcome] = {}
        self._streams: dict[str, Stream] = {}
        self._inbox: list[Callable[[], None]] = []
        self._unsynced = False
        self._performing = False
        self._life = 0
        self._armed_ns = NEVER_NS

    # -- life ---------------------------------------------------------------------------------------------

    def start(self, witnesses: tuple[WitnessId, ...]) -> None:
        if self.node is not None:
            return
        self._life += 1
        self._armed_ns = NEVER_NS
        self._watchers.note(self.name, "starts")
        self.node = WitnessNode(
            self_id=self.id,
            cluster=self._cluster,
            witnesses=witnesses,
            session=self._rng.randbytes(16),
            now=self.clock.now(),
        )
        self._unsynced = True
        self._port = self._consensus.attach(self.id, self)
        self._unsynced = False
        self._perform()

    def crash(self) -> None:
        if self.node is None:
            return
        self._watchers.note(self.name, "is killed")
        self.stopped = False
        self._inbox.clear()
        self._consensus.crash(self.id)
        self.node, self._port = None, None
        self._waiting.clear()
        for stream in self._streams.values():
            stream.goodbye(refused=False)
        self._streams.clear()

    def stop(self) -> None:
        if self.node is not None and not self.stopped:
            self._watchers.note(self.name, "stands still")
            self.stopped = True
            self._consensus.pause(self.id)

    def go_on(self) -> None:
        if not self.stopped:
            return
        self._watchers.note(self.name, "goes on")
        self.stopped = False
        self._consensus.resume(self.id)
        waiting, self._inbox = self._inbox, []
        for action in waiting:
            self._do(action)
        self.rearm()

    def _do(self, action: Callable[[], None]) -> None:
        if self.node is None:
            return
        if not self.stopped:
            action()
        elif len(self._inbox) < INBOX_MAX:
            self._inbox.append(action)

    # -- Replicated ---------------------------------------------------------------------------------------

    def apply(self, entry: CommittedEntry) -> None:
        if self.node is not None:
            self._unsynced = True
            self.node.apply(entry.index, entry.data, entry.age_bound_ns, self.clock.now())
            self._watchers.applied(self.name, entry.index, self.node)

    def snapshot(self) -> bytes:
        return b"" if self.node is None else self.node.snapshot()

    def restore(self, image: bytes) -> None:
        if self.node is not None:
            self._unsynced = True
            self._watchers.hit("snapshot-installed")
            self.node.restore(image, self.clock.now())

    def status_changed(self, status: ConsensusStatus) -> None:
        if self.node is None:
            return
        self._unsynced = True
        leading = status.role is Role.LEADER
        if leading and not self.node.consensus.leading:
            self._watchers.note(self.name, f"leads in term {status.term}")
        self.node.consensus_changed(
            leading=leading,
            leader=status.leader,
            has_quorum=status.has_quorum,
            caught_up=status.caught_up,
            features=status.features,
            now=self.clock.now(),
        )

    def turn_synced(self) -> None:
        self._unsynced = False
        self._perform()

    # -- streams ------------------------------------------------------------------------------------------

    def hello(self, stream: Stream) -> None:
        self._do(lambda: self._admit(stream))

    def _admit(self, stream: Stream) -> None:
        site = str(stream.host.settings.site)
        old = self._streams.get(site)
        if old is not None and old.incarnation != stream.incarnation:
            if self._events.now_ns - old.witness_heard_ns <= STREAM_IDLE_NS:
                self._watchers.hit("second-agent-refused")
                stream.goodbye(refused=True)
                return
            old.goodbye(refused=False)
        elif old is not None:
            old.goodbye(refused=False)
        self._streams[site] = stream
        stream.witness_open = True
        stream.witness_heard_ns = self._events.now_ns
        stream.welcome(leading=self._leading())

    def hung_up(self, stream: Stream) -> None:
        self._do(lambda: self._leave(stream))

    def _leave(self, stream: Stream) -> None:
        stream.witness_open = False
        site = str(stream.host.settings.site)
        if self._streams.get(site) is stream:
            del self._streams[site]

    def arrives(self, stream: Stream, message: AgentMessage) -> None:
        self._do(lambda: self._take(stream, message))

    def _take(self, stream: Stream, message: AgentMessage) -> None:
        node = self.node
        if node is None or not stream.witness_open:
            return
        stream.witness_heard_ns = self._events.now_ns
        if isinstance(message, Ping):
            stream.to_agent(Pong(message.nonce, self._leading(), node.consensus.has_quorum))
        elif isinstance(message, Heartbeat | Release):
            if message.incarnation != stream.incarnation:
                self._leave(stream)
                stream.goodbye(refused=True)
            elif isinstance(message, Heartbeat):
                self._heartbeat(stream, message)
            else:
                self._release(stream, message)

    def _heartbeat(self, stream: Stream, beat: Heartbeat) -> None:
        def answer(outcome: Outcome) -> None:
            if outcome.reason not in UNDECIDED and (outcome.ok or outcome.answers) and stream.witness_open:
                stream.to_agent(HeartbeatAnswer(beat.nonce, outcome.answers))

        frame = AGENT_MESSAGES.encode(beat)
        self._expect(lambda node: node.heartbeat(frame, self.clock.now()), answer)

    def _release(self, stream: Stream, release: Release) -> None:
        def answer(outcome: Outcome) -> None:
            if outcome.reason not in UNDECIDED and stream.witness_open:
                stream.to_agent(ReleaseAnswer(release.nonce, release.group, release.epoch, outcome.reason))

        command = ReleaseLease(
            group=release.group,
            site=release.site,
            incarnation=release.incarnation,
            epoch=release.epoch,
            claim=release.claim,
            kind=release.kind,
            text=release.text,
        )
        self._expect(lambda node: node.submit(command, self.clock.now()), answer)

    def _leading(self) -> bool:
        return self.node is not None and self.node.consensus.leading

    # -- operators ----------------------------------------------------------------------------------------

    def submit(self, command: Command, on_outcome: OnOutcome) -> None:
        self._do(lambda: self._expect(lambda node: node.submit(command, self.clock.now()), on_outcome))

    def switchover(self, group: GroupId, to: SiteId, on_outcome: OnOutcome) -> None:
        author = Author("operator-1", "simulated")

        def plan() -> None:
            if self.node is None:
                return
            planned = self.node.plan_switchover(group, to, author, self.clock.now())
            if isinstance(planned, Outcome):
                on_outcome(planned)
            else:
                self.submit(planned, on_outcome)

        self._do(plan)

    # -- effects ------------------------------------------------------------------------------------------

    def _expect(self, submit: Callable[[WitnessNode], int], on_outcome: OnOutcome) -> None:
        if self.node is None:
            return
        try:
            request = submit(self.node)
        except Overloaded:
            self._watchers.hit("overloaded")
            return
        self._waiting[request] = on_outcome
        self._perform()

    def _perform(self) -> None:
        if self._unsynced or self._performing:
            return
        self._performing = True
        try:
            while self.node is not None:
                effects = self.node.take_effects()
                if not effects:
                    break
                for effect in effects:
                    self._perform_one(effect)
        finally:
            self._performing = False
        self._arm()

    def _perform_one(self, effect: Effect) -> None:
        if isinstance(effect, Resolved):
            waiting = self._waiting.pop(effect.request, None)
            if waiting is not None:
                waiting(effect.outcome)
        elif isinstance(effect, ProposeEntry):
            self._propose(effect.data)
        elif isinstance(effect, Push):
            stream = self._streams.get(str(effect.site))
            if stream is not None:
                stream.to_agent(effect.notice)
        elif isinstance(effect, Record):
            self._watchers.recorded(self.name, effect.events)

    def _propose(self, data: bytes) -> None:
        try:
            if self._port is not None:
                self._port.propose(data)
        except ProposalRefused:
            self._watchers.hit("proposal-refused")
            if self.node is not None:
                self.node.proposal_refused(self.clock.now())

    # -- time ---------------------------------------------------------------------------------------------

    def rearm(self) -> None:
        self._armed_ns = NEVER_NS
        self._arm()

    def _arm(self) -> None:
        if self.node is None or self.stopped:
            return
        at_ns = max(self.clock.true_at(self.node.next_deadline()), self._events.now_ns)
        if at_ns < self._armed_ns:
            self._armed_ns = at_ns
            life = self._life
            self._events.at(at_ns, lambda: self._tick(life, at_ns))

    def _tick(self, life: int, at_ns: int) -> None:
        if life != self._life or self.node is None or self.stopped or at_ns != self._armed_ns:
            return
        self._armed_ns = NEVER_NS
        reading = self.clock.read()
        self.node.tick(reading.boottime_ns, reading.wall_ms)
        self._perform()
        self._arm()
