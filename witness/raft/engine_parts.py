"""What stands in for parts of the engine: clock, random source, pickle, poller, members, outlet, serializer, settings.

Only public names of the library are used here; witness.raft.engine_adapter puts these parts in place and is the
only file that knows the private ones. The library reads its clock and random source from module globals, so the
engine whose turn it is lends them its own (one thread; engines of one process take turns).
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Any, Final, NoReturn, Protocol

from pysyncobj.config import SERIALIZER_STATE, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from proto.invariants import require, unreachable
from proto.units import WitnessId
from witness.raft.journal import Journal
from witness.raft.messages import BATCH_BYTES, Message
from witness.raft.snapshot_file import Snapshot
from witness.raft.snapshot_transfer import Chunk, SnapshotTransfer
from witness.raft.timers import CompactionLimits, RaftTimers

NEVER_S: Final = 1e12


class EngineHooks(Protocol):
    """What the engine asks of its node."""

    def outgoing(self, peer: WitnessId, message: Message) -> bool:
        """Takes a message; True when the peer should get nothing more in this turn."""

    def apply(self, data: bytes, index: int, term: int) -> None: ...
    def image(self) -> bytes: ...
    def save(self, data: bytes) -> None:
        """A snapshot of our own: durable on return."""

    def install(self, snapshot: Snapshot, data: bytes) -> bool:
        """A verified snapshot of the leader: state replaced and file durable, or False and nothing changed."""

    def load(self) -> Snapshot | None:
        """The node's own snapshot at the start, its state restored."""


class Ambient:
    """The clock and random source of the engine whose turn it is: the library knows only module globals."""

    now_s: float = 0.0
    rng: random.Random = random.Random(0)  # noqa: S311  # election jitter, no secret; replaced before use

    @classmethod
    def read_clock(cls) -> float:
        return cls.now_s

    @classmethod
    def random(cls) -> float:
        return cls.rng.random()


class NoPickle:
    """Stands where the library keeps pickle: reaching it is a bug of ours, never a way in (D-20)."""

    @staticmethod
    def loads(_data: object) -> NoReturn:
        unreachable("the engine tried to unpickle")

    @staticmethod
    def dumps(_value: object, _protocol: int | None = None) -> NoReturn:
        unreachable("the engine tried to pickle")


class NoPoller:
    """We deliver messages; the engine polls nothing."""

    def poll(self, _timeout: float) -> None: ...


class EngineSide(Protocol):
    """What the parts need of the engine they belong to."""

    now_ns: int

    def sent(self, node: Node, message: Message) -> None: ...
    def save_snapshot(self, ends: Snapshot) -> None: ...


class Member(Node):  # type: ignore[misc]  # the library has no types
    """Hashes alike in every process, so that a seed replays the same schedule (D-29)."""

    def __init__(self, witness: WitnessId) -> None:
        super().__init__(witness)
        self._crc = zlib.crc32(witness.encode())

    def __hash__(self) -> int:
        return self._crc


class Outlet(Transport):  # type: ignore[misc]  # the library has no types
    def __init__(self) -> None:
        super().__init__(None, None, [])
        self.engine: EngineSide | None = None

    def send(self, node: Node, message: Message) -> bool:
        require(self.engine is not None, "the engine sent before it was built")
        if self.engine is not None:
            self.engine.sent(node, message)
        return True


class EngineSerializer:
    """The library's Serializer as the engine calls it, over SnapshotTransfer."""

    def __init__(self, engine: EngineSide, transfer: SnapshotTransfer) -> None:
        self._engine = engine
        self._transfer = transfer
        self._done: int | None = None
        self.received: tuple[Snapshot, bytes] | None = None
        self.sender = WitnessId("")

    def checkSerializing(self) -> tuple[int, int | None]:  # noqa: N802  # the library's name
        done, self._done = self._done, None
        if done is None:
            return SERIALIZER_STATE.NOT_SERIALIZING, None
        return SERIALIZER_STATE.SUCCESS, done

    def serialize(self, data: Sequence[Any], identity: int) -> None:
        """Called with the last two applied entries; the file is durable before the next turn trims the log (D-2)."""
        self._engine.save_snapshot(Snapshot(tuple(data[2]), tuple(data[1]), b""))
        self._done = identity

    def getTransmissionData(self, node: Node) -> Chunk | None:  # noqa: N802  # the library's name
        return self._transfer.next_chunk(node.id, self._engine.now_ns)

    def setTransmissionData(self, chunk: Chunk | None) -> bool:  # noqa: N802  # the library's name
        if chunk is None:
            return False
        self.received = self._transfer.received(self.sender, chunk)
        return self.received is not None

    def cancelTransmisstion(self, _node: Node) -> None:  # noqa: N802  # the library's name
        """The engine also calls this while a peer is only held back; a lost connection comes another way."""


def engine_settings(timers: RaftTimers, compaction: CompactionLimits, journal: Journal) -> SyncObjConf:
    unused = unreachable
    return SyncObjConf(
        autoTick=False,
        appendEntriesUseBatch=True,  # the adapter sends once a turn itself; False would send once a command
        appendEntriesPeriod=timers.append_period_ms / 1000,
        raftMinTimeout=timers.election_min_ms / 1000,
        raftMaxTimeout=timers.election_max_ms / 1000,
        leaderFallbackTimeout=timers.leader_fallback_ms / 1000,
        connectionTimeout=NEVER_S,
        appendEntriesBatchSizeBytes=BATCH_BYTES,
        logCompactionMinEntries=compaction.entries_max,
        logCompactionMinTime=NEVER_S,
        commandsQueueSize=0,  # the node bounds what it hands over
        commandsWaitLeader=True,
        dynamicMembershipChange=False,
        useFork=False,
        journalFile=journal,
        fullDumpFile="/nonexistent/snapshots-are-handled-by-the-adapter",
        serializer=unused,
        deserializer=unused,
    )
