"""The only loop around a WitnessNode: feeds it, performs its effects in their order, arms its deadline.

Three rules. Effects of `apply` wait for `turn_synced`: what they tell rests on entries that must be on disk first; an
input that comes in between may not let them out either. What `apply` wants stored, events above all, is handed to the
store at once: it is in the transaction that the turn ends with, so nobody is told of a command whose event a crash
could take. And whatever the node raises, an announced refusal apart, is a bug of ours: the process ends, its timers and
its leadership lapse, the other witnesses go on.

Futures stand in one table by request number. The node resolves each of them, if only by a timeout, so the table is
as bounded as the node is. Rejected: awaiting consensus per request (the batcher's group commit would be lost).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn, Protocol, TypeVar

from proto.clock import Clock
from proto.commands import Author, Command, PutEscrow, ReleaseLease
from proto.decisions import Reason
from proto.events import Event
from proto.invariants import require
from proto.limits import COMMANDS_PENDING_MAX, TIMER_WAKE_NS
from proto.messages import Notice, Ping
from proto.units import NS_PER_S, GroupId, Incarnation, InstantNs, LogIndex, SiteId
from witness.core.batcher import Overloaded
from witness.core.effects import Effect, KeepMarks, Outcome, ProposeEntry, Push, Record, Resolved
from witness.core.node import WitnessNode
from witness.core.snapshot import ImageRefused
from witness.raft.port import CommittedEntry, ConsensusPort, ConsensusStatus, ProposalRefused, Role, SnapshotRefused

ROUNDS_MAX = 8
"""Effects may cause effects (a refused proposal); what is left after so many rounds waits for the next tick."""
WAITING_MAX = 4 * COMMANDS_PENDING_MAX
T = TypeVar("T")

Fatal = Callable[[BaseException], NoReturn]
OnOutcome = Callable[[Outcome], None]


class Timers(Protocol):
    """What the driver needs of an event loop; a simulation has its own."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Armed:
        """`delay` in seconds."""


class Armed(Protocol):
    def cancel(self) -> None: ...


class Shell(Protocol):
    """What the driver's surroundings do for it."""

    def record(self, events: tuple[Event, ...]) -> None:
        """Hands events to the store: they reach the disk with the turn that applies them, or else with the next one."""

    def push(self, site: SiteId, notice: Notice) -> None:
        """Tells the site's agent, if its stream is here."""

    def keep_marks(self, level: int, lineage: bytes) -> None:
        """What the store's content needs: checked before anything is read of it at the next start."""

    def answered(self, kind: str, reason: Reason, seconds: float) -> None:
        """One request of this kind had its outcome after so long."""


class Driver:
    """Implements witness.raft.port.Replicated. Everything runs on one thread."""

    def __init__(self, *, node: WitnessNode, clock: Clock, fatal: Fatal, shell: Shell) -> None:
        self.node = node
        self._clock = clock
        self._fatal = fatal
        self._shell = shell
        self._consensus: ConsensusPort | None = None
        self._timers: Timers | None = None
        self._timer: Armed | None = None
        self._armed_for = InstantNs(0)
        self._waiting: dict[int, tuple[str, InstantNs, OnOutcome]] = {}
        self._speakers: dict[int, object] = {}
        """Whose heartbeat it is that waits."""
        self._unsynced = False
        self._performing = False
        self._later: list[Effect] = []
        """Of entries that were applied in this turn; performed before anything newer."""

    # -- life -----------------------------------------------------------------------------------------------

    def attach(self, consensus: ConsensusPort) -> None:
        """The engine is made with this driver in its hand, and therefore comes after it."""
        self._consensus = consensus

    def start(self, timers: Timers) -> None:
        self._timers = timers
        self._tick()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timers = None
        for kind, _, on_outcome in list(self._waiting.values()):
            on_outcome(Outcome(Reason.OUTCOME_UNKNOWN, f"this witness stops before the {kind} was answered"))
        self._waiting.clear()
        self._speakers.clear()

    # -- Replicated -----------------------------------------------------------------------------------------

    def apply(self, entry: CommittedEntry) -> None:
        self._unsynced = True
        self._guarded(lambda: self._apply(entry))

    def _apply(self, entry: CommittedEntry) -> None:
        self.node.apply(entry.index, entry.data, entry.age_bound_ns, self._clock.now())
        for effect in self.node.take_effects():
            if isinstance(effect, (Record, KeepMarks)):
                self._perform_one(effect)
            else:
                self._later.append(effect)

    def snapshot(self) -> bytes:
        return self._guarded(self.node.snapshot)

    def restore(self, image: bytes, last_index: LogIndex) -> None:
        try:
            self._guarded(lambda: self.node.restore(image, self._clock.now(), last_index), announced=ImageRefused)
        except ImageRefused as error:
            raise SnapshotRefused(str(error)) from error
        self._unsynced = True

    def status_changed(self, status: ConsensusStatus) -> None:
        self._unsynced = True
        self._guarded(
            lambda: self.node.consensus_changed(
                leading=status.role is Role.LEADER,
                leader=status.leader,
                has_quorum=status.has_quorum,
                caught_up=status.caught_up,
                features=status.features,
                now=self._clock.now(),
            )
        )

    def turn_synced(self) -> None:
        self._unsynced = False
        self._perform()

    # -- requests -------------------------------------------------------------------------------------------

    def pinged(self, site: SiteId, incarnation: Incarnation, ping: Ping) -> None:
        """Before its pong is sent; what follows from it is proposed by the next tick."""
        self._guarded(lambda: self.node.pinged(site, incarnation, ping, self._clock.now()))

    def heartbeat(self, frame: bytes, on_outcome: OnOutcome, speaker: object) -> None:
        """Proposes a checked Heartbeat, until `withdraw(speaker)`. Raises Overloaded and then proposes nothing."""
        now = self._require_room()
        number = self._guarded(lambda: self.node.heartbeat(frame, now))
        self._speakers[number] = speaker
        self._expect("heartbeat", now, number, on_outcome)

    def withdraw(self, speaker: object) -> None:
        """Whose stream is over has no heartbeat proposed any more, and hears of none.

        Without it the last word of an agent that ended waits for a leader here, while the first of the next agent gets
        ahead of it through another witness: the dead agent would supersede the living one.
        """
        mine = [number for number, other in self._speakers.items() if other is speaker]
        taken_back = self._guarded(lambda: [number for number in mine if self.node.withdraw(number)])
        for number in taken_back:
            self._forget(number)

    def release(self, command: ReleaseLease, on_outcome: OnOutcome) -> None:
        now = self._require_room()
        self._expect("release", now, self._guarded(lambda: self.node.submit(command, now)), on_outcome)

    def put_escrow(self, command: PutEscrow, on_outcome: OnOutcome) -> None:
        now = self._require_room()
        self._expect("escrow", now, self._guarded(lambda: self.node.submit(command, now)), on_outcome)

    def ask(self, command: Command, on_outcome: OnOutcome) -> None:
        """An operator's command; `on_outcome` hears that it was applied, refused, or given up by the node."""
        now = self._require_room()
        self._expect("operator", now, self._guarded(lambda: self.node.submit(command, now)), on_outcome)

    async def submit(self, command: Command) -> Outcome:
        """The same, awaited."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.ask(command, lambda outcome: None if future.done() else future.set_result(outcome))
        return await future

    def plan_switchover(self, group: GroupId, to: SiteId, author: Author) -> Command | Outcome:
        return self._guarded(lambda: self.node.plan_switchover(group, to, author, self._clock.now()))

    def group_status(self, group: GroupId) -> dict[str, object] | None:
        return self._guarded(lambda: self.node.group_status(group, self._clock.now()))

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    # -- the work between -----------------------------------------------------------------------------------

    def _require_room(self) -> InstantNs:
        """Without a quorum nothing is resolved for ten seconds, whatever comes in: a full table refuses."""
        if len(self._waiting) >= WAITING_MAX:
            raise Overloaded(f"{len(self._waiting)} requests wait for their outcome already")
        return self._clock.now()

    def _expect(self, kind: str, now: InstantNs, number: int, on_outcome: OnOutcome) -> None:
        self._waiting[number] = (kind, now, on_outcome)
        self._perform()

    def _guarded(self, step: Callable[[], T], announced: type[Exception] = Overloaded) -> T:
        """The announced refusal passes; anything else that the node raises ends the process."""
        try:
            return step()
        except announced:
            raise
        except BaseException as error:  # noqa: BLE001  # a bug in the core: going on would be worse
            self._fatal(error)

    def _perform(self) -> None:
        if self._unsynced or self._performing:
            return
        self._performing = True
        try:
            for _ in range(ROUNDS_MAX):
                effects, self._later = self._later + self.node.take_effects(), []
                if not effects:
                    break
                for effect in effects:
                    self._perform_one(effect)
        except BaseException as error:  # noqa: BLE001  # an effect is lost: what the node believes is no longer so
            self._fatal(error)
        finally:
            self._performing = False
        self._arm()

    def _perform_one(self, effect: Effect) -> None:
        if isinstance(effect, Resolved):
            self._resolve(effect)
        elif isinstance(effect, ProposeEntry):
            self._propose(effect.data)
        elif isinstance(effect, Push):
            self._shell.push(effect.site, effect.notice)
        elif isinstance(effect, Record):
            self._shell.record(effect.events)
        elif isinstance(effect, KeepMarks):
            self._shell.keep_marks(effect.level, effect.lineage)

    def _propose(self, data: bytes) -> None:
        require(self._consensus is not None, "the driver was started before it had its consensus")
        try:
            if self._consensus is not None:
                self._consensus.propose(data)
        except ProposalRefused:
            self.node.proposal_refused(self._clock.now())

    def _forget(self, number: int) -> tuple[str, InstantNs, OnOutcome] | None:
        self._speakers.pop(number, None)
        return self._waiting.pop(number, None)

    def _resolve(self, effect: Resolved) -> None:
        waiting = self._forget(effect.request)
        if waiting is None:
            return  # the node's own: votes and decisions
        kind, since, on_outcome = waiting
        self._shell.answered(kind, effect.outcome.reason, (self._clock.now() - since) / NS_PER_S)
        on_outcome(effect.outcome)

    def _tick(self) -> None:
        self._timer = None
        reading = self._clock.read()
        self._guarded(lambda: self.node.tick(reading.boottime_ns, reading.wall_ms))
        self._perform()
        self._arm()

    def _arm(self) -> None:
        """The node's deadline, and at the latest one wake-up: what is armed meanwhile is seen there."""
        if self._timers is None:
            return
        now = self._clock.now()
        deadline = InstantNs(min(self.node.next_deadline(), now + TIMER_WAKE_NS))
        if self._timer is not None:
            if self._armed_for <= deadline:
                return
            self._timer.cancel()
        self._armed_for = deadline
        self._timer = self._timers.call_later(max(0, deadline - now) / NS_PER_S, self._tick)
