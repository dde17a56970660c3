"""The only file that touches PySyncObj's private names; what it changes, and why.

The engine is the library's SyncObj of exactly ENGINE_VERSION. Replaced: its journal, serializer, poller, pickle,
clock and random source; overridden: how a command is applied (one replicated method, bytes in, nothing unpickled:
D-15, D-16, D-20), how a snapshot is loaded (nothing swallowed: D-2, D-9), when appends are sent (once a turn, with
the commit index in them). Everything else, Raft itself, is the library's. `check_engine` refuses to start when a
release has moved a name.

Time is handed in per turn and stands still within it; the journal is handed in through the library's own setting
`journalFile`, since createJournal is the only door. One thread; engines of one process take turns.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, Final

import pysyncobj.syncobj as _library
from pysyncobj.node import Node
from pysyncobj.version import VERSION as _LIBRARY_VERSION

from proto.errors import LocalFault
from proto.invariants import require
from proto.units import NS_PER_S, WitnessId
from witness.raft.engine_parts import (
    NEVER_S,
    Ambient,
    EngineHooks,
    EngineSerializer,
    Member,
    NoPickle,
    NoPoller,
    Outlet,
    engine_settings,
)
from witness.raft.journal import Journal
from witness.raft.messages import NO_OP, REGULAR, Message
from witness.raft.pace import Pace
from witness.raft.port import Role
from witness.raft.snapshot_file import Snapshot
from witness.raft.snapshot_transfer import SnapshotTransfer
from witness.raft.timers import CompactionLimits, RaftTimers

ENGINE_VERSION: Final = "0.3.17"

_MODULE_NAMES: Final = ("createJournal", "pickle", "monotonicTime", "random", "logger", "SyncObj")
_METHODS: Final = (
    "_SyncObj__applyLogEntries",
    "_SyncObj__doApplyCommand",
    "_SyncObj__generateRaftTimeout",
    "_SyncObj__loadDumpFile",
    "_SyncObj__onMessageReceived",
    "_SyncObj__onNodeConnected",
    "_SyncObj__onNodeDisconnected",
    "_SyncObj__sendAppendEntries",
    "_SyncObj__setCurrentTerm",
    "_SyncObj__setState",
    "_applyCommand",
    "_checkCommandsToApply",
    "doTick",
)
_FIELDS: Final = (
    "_SyncObj__commandsQueue",
    "_SyncObj__connectedNodes",
    "_SyncObj__forceLogCompaction",
    "_SyncObj__lastResponseTime",
    "_SyncObj__lastSerializedEntry",
    "_SyncObj__newAppendEntriesTime",
    "_SyncObj__otherNodes",
    "_SyncObj__raftCommitIndex",
    "_SyncObj__raftCurrentTerm",
    "_SyncObj__raftElectionDeadline",
    "_SyncObj__raftLastApplied",
    "_SyncObj__raftLeader",
    "_SyncObj__raftLog",
    "_SyncObj__raftMatchIndex",
    "_SyncObj__raftNextIndex",
    "_SyncObj__raftState",
    "_SyncObj__serializer",
    "_poller",
)
_ROLES: Final = (Role.FOLLOWER, Role.CANDIDATE, Role.LEADER)


class EngineChanged(LocalFault):
    """The installed engine is not the one that this adapter was written for."""


def check_engine(version: str | None = None, library: Any = None) -> None:
    """Fails when the engine's release or one of the private names we rest on is another."""
    module = _library if library is None else library
    installed = _LIBRARY_VERSION if version is None else version
    if installed != ENGINE_VERSION:
        raise EngineChanged(f"pysyncobj {installed} is installed; install pysyncobj=={ENGINE_VERSION}")
    missing = [name for name in _MODULE_NAMES if not hasattr(module, name)]
    missing += [name for name in _METHODS if not hasattr(getattr(module, "SyncObj", None), name)]
    if missing:
        raise EngineChanged(
            f"pysyncobj {installed} lacks {', '.join(missing)}; install an unchanged pysyncobj=={ENGINE_VERSION}"
        )


def _check_fields(engine: object) -> None:
    missing = [name for name in _FIELDS if not hasattr(engine, name)]
    if missing:
        raise EngineChanged(f"the engine lacks {', '.join(missing)}; install an unchanged pysyncobj=={ENGINE_VERSION}")


def _install() -> None:
    _library.createJournal = lambda journal: journal
    _library.pickle = NoPickle
    _library.monotonicTime = Ambient.read_clock
    _library.random = Ambient
    _library.logger.disabled = True  # it logs false alarms about truncation, and what we report ourselves


class Engine(_library.SyncObj):  # type: ignore[misc]  # the library has no types
    """One Raft member. The node calls `begin`, then `deliver`, `command` and `tick`, all within one turn."""

    _may_stand = False
    _election_due_s = 0.0

    def __init__(
        self,
        *,
        self_id: WitnessId,
        peers: Iterable[WitnessId],
        journal: Journal,
        transfer: SnapshotTransfer,
        hooks: EngineHooks,
        timers: RaftTimers,
        compaction: CompactionLimits,
        now_ns: int,
        rng: random.Random,
        pace: Pace,
    ) -> None:
        check_engine()
        _install()
        self._hooks = hooks
        self._pace = pace
        self._journal = journal
        self._compaction = compaction
        self._transfer = transfer
        self._rng = rng
        self._members = {peer: Member(peer) for peer in peers}
        self._held: set[Node] = set()
        self._linked: set[Node] = set()
        self._applied_in_turn = False
        self.installed_index: int | None = None
        self.begin(now_ns)
        outlet = Outlet()
        outlet.engine = self
        self._settings = engine_settings(timers, compaction, journal)
        super().__init__(Member(self_id), list(self._members.values()), self._settings, transport=outlet)
        self._SyncObj__serializer = EngineSerializer(self, transfer)
        self._poller = NoPoller()
        _check_fields(self)
        self._adopt_own_snapshot()

    # -- what the node calls ---------------------------------------------------------------------------------

    def begin(self, now_ns: int) -> None:
        """Start of a turn: from here on the engine's clock shows `now_ns`."""
        self.now_ns = now_ns
        Ambient.now_s = now_ns / NS_PER_S
        Ambient.rng = self._rng

    def deliver(self, peer: WitnessId, message: Message, *, counts: bool = True) -> None:
        """`counts` is False for an acknowledgement that tells nothing about a majority (a learner's)."""
        node = self._members[peer]
        responded_s = self._SyncObj__lastResponseTime.get(node)
        kind = message["type"]
        if kind == "append_entries":
            self._SyncObj__serializer.sender = peer
            self.installed_index = None
        known = self._SyncObj__raftNextIndex.get(node, 0)
        self._SyncObj__onMessageReceived(node, message)
        if kind == "next_node_idx" and message["success"] and self.role is Role.LEADER:
            self._SyncObj__raftNextIndex[node] = max(known, self._SyncObj__raftNextIndex[node])  # D-32
        if not counts and responded_s is not None:
            self._SyncObj__lastResponseTime[node] = responded_s

    def command(self, data: bytes) -> None:
        self._applyCommand(data, None, REGULAR)

    def tick(self, held: Iterable[WitnessId]) -> None:
        """One tick; peers in `held` get nothing in it, because their queue is full."""
        for peer in held:
            self._hold(self._members[peer])
        if self._journal.log_bytes > self._compaction.log_bytes_max:
            self.force_snapshot()
        self._settings.leaderFallbackTimeout = self._pace.leader_fallback_ms / 1_000
        self.doTick(0)
        self._may_stand = False
        self._SyncObj__connectedNodes |= self._held & self._linked
        self._held.clear()

    def link_up(self, peer: WitnessId) -> None:
        self._linked.add(self._members[peer])
        self._SyncObj__onNodeConnected(self._members[peer])

    def link_down(self, peer: WitnessId) -> None:
        self._linked.discard(self._members[peer])
        self._transfer.cancel(peer)
        self._SyncObj__onNodeDisconnected(self._members[peer])

    # -- elections: the engine counts, the node decides whether it may stand (D-13) ---------------------------

    @property
    def _SyncObj__raftElectionDeadline(self) -> float:  # noqa: N802  # the library's name
        """What the library's tick sees: never, until the node lets it stand."""
        return self._election_due_s if self._may_stand else NEVER_S

    @_SyncObj__raftElectionDeadline.setter
    def _SyncObj__raftElectionDeadline(self, due_s: float) -> None:  # noqa: N802  # the library's name
        self._election_due_s = due_s

    @property
    def election_is_due(self) -> bool:
        return self.role is not Role.LEADER and self._election_due_s * NS_PER_S < self.now_ns

    def _SyncObj__generateRaftTimeout(self) -> float:  # noqa: N802  # the library's name
        lowest_ms, highest_ms = self._pace.election_min_ms, self._pace.election_max_ms
        return (lowest_ms + (highest_ms - lowest_ms) * self._rng.random()) / 1_000

    def rearm_election(self) -> None:
        """From now on a full timeout, drawn anew: the library keeps an old one after leading or following (D-33)."""
        self._election_due_s = self.now_ns / NS_PER_S + self._SyncObj__generateRaftTimeout()

    def hurry_election(self, within_ns: int) -> None:
        """The leader's connection ended: ask soon, spread at random, instead of waiting for the timeout."""
        soon_s = (self.now_ns + within_ns * self._rng.random()) / NS_PER_S
        self._election_due_s = min(self._election_due_s, soon_s)

    def stand(self) -> None:
        """Begins an election in the tick that follows; a leader gives up its term for a new one of its own."""
        if self.role is Role.LEADER:
            self.resign()
        self._may_stand, self._election_due_s = True, 0.0

    def resign(self) -> None:
        """A leader that should not lead follows nobody until another one is elected."""
        require(self.role is Role.LEADER, "only a leader can resign")
        self._SyncObj__setState(_ROLES.index(Role.FOLLOWER))
        self._SyncObj__raftLeader = None
        self.rearm_election()

    def force_snapshot(self) -> None:
        self._SyncObj__forceLogCompaction = True

    # -- what the node and the filter may see ----------------------------------------------------------------

    @property
    def role(self) -> Role:
        return _ROLES[self._SyncObj__raftState]

    @property
    def term(self) -> int:
        return int(self._SyncObj__raftCurrentTerm)

    @property
    def leader(self) -> WitnessId | None:
        node = self._SyncObj__raftLeader
        return None if node is None else WitnessId(node.id)

    @property
    def commit_index(self) -> int:
        return int(self._SyncObj__raftCommitIndex)

    @property
    def applied_index(self) -> int:
        return int(self._SyncObj__raftLastApplied)

    @property
    def first_index(self) -> int:
        return self._journal[0][1]

    @property
    def last_index(self) -> int:
        return self._journal[-1][1]

    def term_at(self, index: int) -> int | None:
        return self._journal.term_at(index)

    def command_at(self, index: int) -> bytes | None:
        return self._journal.command_at(index)

    @property
    def wants_turn(self) -> bool:
        """Work is left that needs no message: apply, or commit alone in a cluster of one."""
        alone = not self._members and self.role is Role.LEADER and self.commit_index < self.last_index
        return self.commit_index > self.applied_index or alone

    def deadline_ns(self) -> int:
        """When the engine wants its next turn at the latest, by its own timers."""
        leading = self.role is Role.LEADER
        due_s = self._SyncObj__newAppendEntriesTime if leading else self._election_due_s
        return int(due_s * NS_PER_S) + 1

    def majority_heard(self, within_ns: int) -> bool:
        """As leader: a majority answered lately."""
        since_s = (self.now_ns - within_ns) / NS_PER_S
        heard = sum(1 for heard_s in self._SyncObj__lastResponseTime.values() if heard_s > since_s)
        return heard + 1 > (len(self._members) + 1) // 2

    # -- what the library calls ------------------------------------------------------------------------------

    def sent(self, node: Node, message: Message) -> None:
        if self._hooks.outgoing(node.id, message):
            self._hold(node)

    def _hold(self, node: Node) -> None:
        """The engine's send loops stop for a peer that is not connected; it is again when the tick is over (D-12)."""
        self._SyncObj__connectedNodes.discard(node)
        self._held.add(node)

    def _SyncObj__doApplyCommand(self, command: bytes) -> None:  # noqa: N802  # the library's name
        index = self.applied_index + 1
        term = self.term_at(index)
        require(term is not None, f"entry {index} is to be applied but is not in the log")
        if command[0] == REGULAR:
            self._hooks.apply(command[1:], index, term or 0)
        else:
            require(command[0] == NO_OP, "an entry of unknown kind reached the state machine")

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802  # the library's name
        before = self.applied_index
        super()._SyncObj__applyLogEntries()
        self._applied_in_turn = self.applied_index > before
        return False  # appends go out once a turn, below

    def _checkCommandsToApply(self) -> None:  # noqa: N802  # the library's name
        before = self.last_index
        super()._checkCommandsToApply()
        more = self._transfer.take_room()
        if self.role is Role.LEADER and (self._applied_in_turn or self.last_index > before or more):
            self._SyncObj__sendAppendEntries()
        self._applied_in_turn = False

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802  # the library's name
        super()._SyncObj__sendAppendEntries()
        while self._transfer.finished:
            peer, last_index = self._transfer.finished.popitem()
            self._SyncObj__raftNextIndex[self._members[peer]] = last_index + 1

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: N802, N803  # the library's name
        """A received snapshot is complete and verified: install it, unless we are past it already (D-9, D-10)."""
        require(clearJournal, "our own snapshot is adopted at the start, not here")
        received, self._SyncObj__serializer.received = self._SyncObj__serializer.received, None
        require(received is not None, "there is no snapshot to install")
        if received is None:
            return
        snapshot, data = received
        if snapshot.last_index > self.applied_index:
            if not self._hooks.install(snapshot, data):
                return
            self._adopt(snapshot)
        self.installed_index = snapshot.last_index

    # -- snapshots -------------------------------------------------------------------------------------------

    def save_snapshot(self, ends: Snapshot) -> None:
        snapshot = Snapshot(ends.previous, ends.last, self._hooks.image())
        self._hooks.save(self._transfer.made(snapshot))

    def _adopt_own_snapshot(self) -> None:
        snapshot = self._hooks.load()
        if snapshot is not None:
            self._adopt(snapshot)

    def _adopt(self, snapshot: Snapshot) -> None:
        if snapshot.last[2] > self.term:
            self._SyncObj__setCurrentTerm(snapshot.last[2], None)
        self._journal.rebase(snapshot.previous, snapshot.last)
        self._SyncObj__raftLastApplied = snapshot.last_index
        self._SyncObj__raftCommitIndex = max(self.commit_index, snapshot.last_index)
        self._journal.setRaftCommitIndex(self.commit_index)
        self._SyncObj__lastSerializedEntry = snapshot.previous[1]
