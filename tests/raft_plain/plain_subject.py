"""The library as it is shipped, as a subject of the Raft fuzz (witness.sim.raft.subject).

Its own journal on real files, its own dumps, tick and callbacks; only transport, clock and randomness are the
simulation's. As in its own thread, a tick comes first and what arrived is read behind it (D-45), what a tick raises is
logged and forgotten, and a client is answered by its callback. Given away, so that other findings can be seen: dumps
are written without a fork (D-27), timers and the fallback of leaders are ours (D-14), no entry is larger than a batch
(D-22), members hash alike in every process (D-29), and a storm of messages ends early (D-12).

A loss of power: the library syncs nothing (D-6), the kernel writes back by itself within WRITE_BACK_NS; so each file is
what it is, or what it was then, whichever the seed says. Nothing is torn.
"""

from __future__ import annotations

import pickle
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import plain_library as library
from plain_node import PlainFiles, PlainNode, PlainSettings

from proto.units import NS_PER_MS, NS_PER_S, LogIndex, Term, WitnessId
from witness.raft.messages import NUMBER_MAX
from witness.raft.port import CommittedEntry, Replicated
from witness.sim.raft import faults
from witness.sim.raft.host import Host
from witness.sim.raft.links import NamedLinks
from witness.sim.raft.setup import Setup, draw
from witness.sim.raft.subject import Message, Outbox, Seat, View

TICK_NS = 50 * NS_PER_MS
"""The library's own autoTickPeriod."""
WRITE_BACK_NS = 5 * NS_PER_S
READING_S = 10e-6
READINGS_AT_ONCE = 128
"""Beyond these a turn's time runs off quickly: the storms of D-12 would be most of what is simulated."""
PICKLED_BYTES = 120
"""What pickle adds to a command."""
QUEUE_DIRECTORY = "/dev/shm"

STRAY_LINKS = frozenset({"loss", "duplicate", "reorder", "old-bytes"})
"""What no TCP connection does."""
POWER = frozenset({"power", "power-two", "power-all", "power-at-send"})
FORGED = frozenset(faults.faults_peer.BLOWS)
PLAIN_KINDS = faults.KINDS - faults.DISK_KINDS - faults.IDENTITY_KINDS - FORGED
"""The simulated disk is ours; forged frames would be unpickled."""


def kinds(*, stray: bool, power: bool) -> frozenset[str]:
    return PLAIN_KINDS - (frozenset() if stray else STRAY_LINKS) - (frozenset() if power else POWER)


def setup_of(seed: int, *, stray: bool, power: bool) -> Setup:
    return draw(seed, kinds(stray=stray, power=power), faults.OF_MANY)


class FuzzState(library.syncobj.SyncObj):
    """The replicated state is told of each entry; its image is the one field that a dump holds."""

    def __init__(self, *arguments: Any, on_put: Callable[[bytes], None], **named: Any) -> None:
        self._on_put = on_put
        super().__init__(*arguments, **named)
        self.image = b""

    @library.syncobj.replicated
    def put(self, data: bytes) -> None:
        self._on_put(data)


class PlainDrive:
    """Implements witness.sim.raft.subject.Drive."""

    def __init__(self, directory: Path) -> None:
        self.files = PlainFiles(directory)
        self.node: PlainNode | None = None
        self.spent = 0
        self._written_ns: int | None = None

    def passes(self, now_ns: int) -> None:
        if self._written_ns is None or now_ns - self._written_ns >= WRITE_BACK_NS:
            self._written_ns = now_ns
            self.files.write_back()

    def process_ended(self) -> None:
        if self.node is not None:
            self.node.close()
            self.node = None

    def power_lost(self, rng: random.Random) -> None:
        self.process_ended()
        self._written_ns = None
        self.files.power_cut(lambda: rng.random() < 0.5)

    def spent_ns(self) -> int:
        """What the library's readings of the clock took."""
        spent_ns, self.spent = self.spent, 0
        return spent_ns

    def unsynced(self) -> bool:
        """Always; said once, in D-6, instead of at every message."""
        return False


class _Inbox:
    """Stands where the library polls its sockets: at the end of a tick."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, bytes]] = []
        self.deliver: Callable[[str, Message], None] | None = None
        self.read = 0

    def poll(self, _timeout: float) -> None:
        while self.frames and self.deliver is not None:
            peer, frame = self.frames.pop(0)
            self.read += 1
            self.deliver(peer, pickle.loads(frame))


class PlainMember:
    """Implements witness.sim.raft.subject.Member."""

    def __init__(self, seat: Seat, drive: PlainDrive, settings: PlainSettings, now_ns: int) -> None:
        self._seat = seat
        self._drive = drive
        self._outbox: dict[WitnessId, list[Message]] = {}
        self._inbox = _Inbox()
        self._clock = library.PlainClock(READING_S, READINGS_AT_ONCE)
        self._clock.show(now_ns / NS_PER_S)
        self._linked: set[str] = set()
        self._told = 0
        self._image = b""
        self._replicated: Replicated = seat.replicated
        self._now_ns = now_ns
        self._node = drive.node = PlainNode(
            str(seat.witness),
            seat.peers,
            drive.files,
            self._send,
            settings,
            self._clock,
            seat.rng,
            self._put,
            FuzzState,
            library.SteadyPeer,
        )
        self._inbox.deliver = self._node.deliver
        self._node.engine._poller = self._inbox
        drive.passes(now_ns)

    # -- what the library calls ------------------------------------------------------------------------------

    def _send(self, peer: str, message: Message) -> None:
        if peer in self._linked:
            self._outbox.setdefault(WitnessId(peer), []).append(message)

    def _put(self, data: bytes) -> None:
        self._restore()
        node = self._node
        index = node.applied_index + 1
        self._replicated.apply(CommittedEntry(LogIndex(index), Term(node.term_at(index)), data, None))
        self._image = node.engine.image = self._replicated.snapshot()

    def _restore(self) -> None:
        """A dump was read: its image stands in the engine now."""
        image = self._node.engine.image
        if image is not self._image:
            self._image = image
            self._replicated.restore(image, LogIndex(NUMBER_MAX))  # the library compares no indexes

    # -- Member ----------------------------------------------------------------------------------------------

    def links(self, host: Host) -> NamedLinks:
        """Who connects is believed."""
        return NamedLinks(self, host)

    def took(self, duration_ns: int) -> None: ...

    def link_up(self, peer: WitnessId) -> None:
        self._linked.add(peer)
        self._node.link_up(peer)

    def link_down(self, peer: WitnessId) -> None:
        self._linked.discard(peer)
        self._inbox.frames = [frame for frame in self._inbox.frames if frame[0] != peer]
        self._node.link_down(peer)

    def encode(self, message: Message) -> bytes:
        return pickle.dumps(message, 2)

    def receive(self, peer: WitnessId, frame: bytes) -> None:
        self._inbox.frames.append((peer, frame))

    def propose(self, command: bytes) -> None:
        self._node.propose(command)

    def turn(
        self, now_ns: int, unsent_bytes: Mapping[WitnessId, int], early: Callable[[Outbox], None] | None
    ) -> Outbox:
        self._now_ns = now_ns
        self._inbox.read = 0
        self._clock.show(now_ns / NS_PER_S)
        self._node.turn()
        self._restore()
        self._drive.passes(now_ns)
        self._drive.spent = max(0, int(self._clock.now_s * NS_PER_S) - now_ns)
        outbox, self._outbox = self._outbox, {}
        return outbox

    def finish(self) -> None:
        told = self._node.acknowledged[self._told :]
        self._told += len(told)
        for command in told:
            self._seat.acknowledged(command)

    def wants_turn(self) -> bool:
        """Its thread ticks again as soon as something was read."""
        return self._inbox.read > 0 or bool(self._inbox.frames)

    def next_deadline_ns(self) -> int:
        return self._now_ns + min(TICK_NS, self._seat.timers.append_period_ms * NS_PER_MS // 2)

    def force_snapshot(self) -> None:
        self._node.compact()

    def view(self) -> View:
        node = self._node
        last_index, last_term = node.log_end
        leader = node.leader
        return View(
            node.leads,
            None if leader is None else WitnessId(leader),
            node.term,
            node.commit_index,
            node.applied_index,
            last_index,
            last_term,
        )

    def close(self) -> None:
        self._drive.process_ended()


class Plain:
    """Implements witness.sim.raft.subject.Subject."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.kinds = PLAIN_KINDS
        self.asks_leave = False
        memory = QUEUE_DIRECTORY if Path(QUEUE_DIRECTORY).is_dir() else None
        self._root = Path(tempfile.mkdtemp(prefix="plain-raft-", dir=memory))

    def blank(self, witness: WitnessId) -> PlainDrive:
        return PlainDrive(self._root / witness)

    def start(self, seat: Seat, now_ns: int) -> PlainMember:
        drive = seat.drive
        assert isinstance(drive, PlainDrive)
        tuning, timers = self._setup.tuning, seat.timers
        settings = PlainSettings(
            batch_bytes=tuning.batch_bytes + PICKLED_BYTES,
            dump_batch_bytes=tuning.chunk_bytes,
            compaction_entries=seat.compaction.entries_max,
            min_timeout_s=timers.election_min_ms / 1_000,
            max_timeout_s=timers.election_max_ms / 1_000,
            append_s=timers.append_period_ms / 1_000,
            fallback_s=timers.leader_fallback_ms / 1_000,
        )
        return PlainMember(seat, drive, settings, now_ns)

    def close(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
