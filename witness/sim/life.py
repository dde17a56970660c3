"""One process of a simulated witness: the real driver around the real core, over the real engine and store.

Rule: what witness.runtime does for the driver is done here in the same order: events go to the store with their turn,
other effects of `apply` wait for the sync, a bug ends the process. Simulated is only what lies outside: the loop's
timers and the agents' connections (witness.sim.desk). Whatever was not on the disk ends with this object.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, Protocol

from proto.codec import EVENTS
from proto.decisions import Reason
from proto.events import Event
from proto.invariants import unreachable
from proto.messages import Notice
from proto.units import NS_PER_S, ClusterId, InstantNs, LogIndex, SiteId, WitnessId
from witness.core.effects import Outcome, Resolved
from witness.core.node import WitnessNode
from witness.raft.lineage import keep_marks
from witness.raft.port import CommittedEntry, ConsensusStatus, ProposalRefused, Role
from witness.raft.store import EVENTS_READ_MAX, Store
from witness.runtime.driver import Driver
from witness.sim.clock import Events
from witness.sim.desk import Desk
from witness.sim.disk import CrashPoint
from witness.sim.raft.host import Host
from witness.sim.raft.subject import Member, PowerLost

DIGEST_BYTES = 16


class LifeWatch(Protocol):
    """Who is told what happens inside: the checkers, the counters, the trace."""

    def applied(self, life: Life, entry: CommittedEntry, before: int) -> None:
        """`before`: the index that was applied last before this one."""

    def asked(self) -> int:
        """The highest index that anybody was told of, for a command that comes in now."""

    def told(self, life: Life, index: int, asked: int) -> None:
        """An answer leaves: it tells of the entry at `index`; `asked` is as it was when the command came in."""

    def restored(self, life: Life) -> None: ...
    def status(self, life: Life, status: ConsensusStatus) -> None: ...
    def recorded(self, witness: str, events: tuple[Event, ...]) -> None: ...
    def hit(self, kind: str) -> None: ...
    def note(self, who: str, what: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a process runs."""

    host: Host
    events: Events
    cluster: ClusterId
    witnesses: tuple[WitnessId, ...]
    rng: random.Random
    watch: LifeWatch


@dataclass(slots=True)
class Timer:
    """Implements witness.runtime.driver.Armed."""

    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


class Life:
    """Implements witness.raft.port.Replicated, and Shell, Timers and ConsensusPort for its driver."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.witness = machine.host.name
        self.clock = machine.host.clock
        self.index = 0
        self.digest = bytes(DIGEST_BYTES)
        """Of everything that was applied up to `index`."""
        self.node = _Node(
            self_id=self.witness,
            cluster=machine.cluster,
            witnesses=machine.witnesses,
            session=machine.rng.randbytes(16),
            now=self.clock.now(),
        )
        self.driver = _Driver(node=self.node, clock=self.clock, fatal=_fatal, shell=self)
        self.driver.attach(_Port(self))
        self.desk = Desk(self, machine.events)
        self.member: Member | None = None
        self._store: Store | None = None
        self.over = False

    # -- life ------------------------------------------------------------------------------------------------

    def run_on(self, member: Member, store: Store) -> None:
        """The engine stands; the driver starts as soon as the first turn is on disk."""
        self.member, self._store = member, store
        self.machine.events.after(0, lambda: self.do(lambda: self.driver.start(self)))

    def end(self, *, told: bool) -> None:
        """`told`: the machine's kernel lives on and closes the agents' connections."""
        self.over = True
        self.desk.closed(told=told)

    def do(self, action: Callable[[], None]) -> None:
        """Within this process: now, or when it runs again and has time; never when it ends before."""
        if not self.over:
            self.machine.host.do(action)

    def new_events(self) -> list[Event]:
        """The ledger's events of the entry that was applied last."""
        found = []
        for event in reversed(self.node.machine.state.ledger.recent):
            if event.index != self.index:
                break
            found.append(event)
        return found[::-1]

    @property
    def store(self) -> Store | None:
        return self._store

    @property
    def last_stored(self) -> int:
        """The number of the last event that is on its way to the disk."""
        return 0 if self._store is None else self._store.last_event_seq

    def stored_events(self) -> list[Event]:
        """The ledger as it lies on the disk."""
        store = self._store
        return [] if store is None else [EVENTS.decode(data) for _, data in store.read_events(1, EVENTS_READ_MAX)]

    # -- Replicated ------------------------------------------------------------------------------------------

    def apply(self, entry: CommittedEntry) -> None:
        before, self.index = self.index, int(entry.index)
        self.digest = hashlib.blake2b(entry.data, digest_size=DIGEST_BYTES, key=self.digest).digest()
        self.driver.apply(entry)
        self.machine.watch.applied(self, entry, before)

    def snapshot(self) -> bytes:
        return self.driver.snapshot()

    def restore(self, image: bytes, last_index: LogIndex) -> None:
        self.driver.restore(image, last_index)
        self.index = self.node.machine.state.applied_index
        self.machine.watch.restored(self)

    def turn_synced(self) -> None:
        self.driver.turn_synced()

    def status_changed(self, status: ConsensusStatus) -> None:
        if status.role is Role.LEADER and not self.node.consensus.leading:
            self.machine.watch.note(str(self.witness), f"leads in term {status.term}")
        self.driver.status_changed(status)
        self.machine.watch.status(self, status)

    # -- Shell -----------------------------------------------------------------------------------------------

    def record(self, events: tuple[Event, ...]) -> None:
        if self._store is not None:
            self._with_store(partial(self._store.append_events, [(one.seq, EVENTS.encode(one)) for one in events]))
        self.machine.watch.recorded(str(self.witness), events)

    def keep_marks(self, level: int, lineage: bytes) -> None:
        if self._store is not None:
            self._with_store(partial(keep_marks, self._store, level, lineage))

    def push(self, site: SiteId, notice: Notice) -> None:
        self.desk.push(site, notice)

    def answered(self, kind: str, reason: Reason, seconds: float) -> None: ...

    def _with_store(self, work: Callable[[], None]) -> None:
        try:
            work()
        except CrashPoint as crash:
            raise PowerLost(str(crash)) from crash
        self.machine.host.wake()

    # -- Timers ----------------------------------------------------------------------------------------------

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        timer = Timer(callback)
        due_ns = self.clock.now() + math.ceil(delay * NS_PER_S)
        self.machine.events.at(self.clock.true_at(due_ns), partial(self._ring, timer))
        return timer

    def _ring(self, timer: Timer) -> None:
        if timer.callback is not None:
            self.do(partial(_call, timer))


class _Node(WitnessNode):
    """Remembers which entry each request's outcome comes from: what is told of it must be in every later state."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.index_of: dict[int, int] = {}

    def apply(self, index: int, data: bytes, age_bound_ns: int | None, now: InstantNs) -> None:
        self._applying = index
        super().apply(index, data, age_bound_ns, now)
        self._applying = 0

    _applying = 0

    def _resolve(self, request: int, outcome: Outcome) -> None:
        self.index_of[request] = self._applying
        super()._resolve(request, outcome)


class _Driver(Driver):
    def __init__(self, node: _Node, **parts: Any) -> None:
        super().__init__(node=node, **parts)
        self._numbered = node
        self.telling = 0
        """The entry that the outcome which is being handed out comes from; 0: none."""

    def _resolve(self, effect: Resolved) -> None:
        self.telling = self._numbered.index_of.pop(effect.request, 0)
        super()._resolve(effect)
        self.telling = 0


@dataclass(frozen=True, slots=True)
class _Port:
    """Implements witness.raft.port.ConsensusPort for the driver, as witness.raft.syncobj does."""

    life: Life = field(repr=False)

    @property
    def self_id(self) -> WitnessId:
        return self.life.witness

    def propose(self, data: bytes) -> None:
        member = self.life.member
        if member is None:
            raise ProposalRefused("this witness is not running")
        member.propose(data)
        self.life.machine.host.wake()

    def status(self) -> ConsensusStatus:
        unreachable("the driver hears of every change")


def _call(timer: Timer) -> None:
    """Unless it was cancelled while the process was busy."""
    if timer.callback is not None:
        timer.callback()


def _fatal(error: BaseException) -> NoReturn:
    """The host ends the process, and the watchers judge."""
    raise error
