"""What one schedule is made of, drawn from its seed before anything runs.

Swarm style (Groce et al. 2012): each schedule has its own two to six kinds of faults, with rates of their own, and its
own constants; one with all kinds at once rarely gets anywhere. Each part of the world draws from a stream of its own,
and each field here too; a schedule replays from its seed and its kinds.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from proto.units import NS_PER_MS, ClusterId, WitnessId
from witness.raft import engine_parts, journal, outbox, snapshot_transfer
from witness.raft.messages import BATCH_BYTES, CHUNK_BYTES_MAX, ENTRIES_PER_MESSAGE_MAX
from witness.raft.outbox import PEER_QUEUE_BYTES_HIGH
from witness.raft.space import SpaceLimits
from witness.raft.timers import PROFILES, CompactionLimits, RaftTimers

T = TypeVar("T")
CLUSTER = ClusterId("7a" * 16)
KINDS_MIN, KINDS_MAX = 2, 6
EVENTS_MIN, EVENTS_MAX = 60, 150
LARGE_KIND = "large-entries"
LARGE_BYTES = 60_000
CLONE_KIND = "cloned-disk"
BESIDE_A_COPY = frozenset({"duplicate", "reorder", "loss", "old-bytes", "snapshot", "drift", "clock-leap", LARGE_KIND})
"""While two members cannot reach each other, an original may count at one and its copy at the other: every majority of
theirs meets in the copied witness alone, so nothing could tell (witness.raft.gate). These keep members connected.
"""
ENTRY_OVERHEAD_BYTES = 40
"""A proposal's own name and the engine's mark."""
TIMERS = (
    PROFILES["standard"],
    PROFILES["fast"],
    RaftTimers(append_period_ms=95, election_min_ms=300, election_max_ms=600, leader_fallback_ms=700),
    RaftTimers(append_period_ms=45, election_min_ms=150, election_max_ms=300, leader_fallback_ms=600),
    RaftTimers(append_period_ms=45, election_min_ms=150, election_max_ms=300, leader_fallback_ms=500),
)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Module constants of witness.raft that a schedule makes small, so that little data crosses many borders."""

    entries_per_message: int
    batch_bytes: int
    chunk_bytes: int
    queue_bytes: int = PEER_QUEUE_BYTES_HIGH
    """A peer with more than this unsent gets nothing new."""


LARGE_TUNING = Tuning(ENTRIES_PER_MESSAGE_MAX, BATCH_BYTES, CHUNK_BYTES_MAX)
"""As it ships."""
COMPACTIONS = (CompactionLimits(16, 1024 * 1024, 3), CompactionLimits(32, 1024 * 1024, 0), CompactionLimits())


@dataclass(frozen=True, slots=True)
class Setup:
    seed: int
    witnesses: tuple[WitnessId, ...]
    kinds: tuple[str, ...]
    events: int
    gap_ns: int
    """Mean time between two events."""
    timers: RaftTimers
    compaction: CompactionLimits
    tuning: Tuning
    ballast_bytes: int
    """An image is at least so large."""
    early: bool
    """A leader's appends leave before its own sync."""
    cpu_ns: int
    sync_ns: int
    """What a turn and a sync take on a healthy machine."""
    delay_ns: int
    """One way, at most, on a healthy network."""
    cold: bool
    """Faults strike from the first instant on, instead of a cluster that has a leader."""
    restart_ns: int
    """Mean time that a dead process stays away."""
    proposals: float
    """Share of the events that are proposals."""
    space: SpaceLimits
    """Room on the disk below which a witness takes no more entries, and below which it ends."""
    entry_bytes: int
    """No command is larger."""

    @property
    def minority(self) -> int:
        """So many may lose their disks' content, and no more."""
        return (len(self.witnesses) - 1) // 2


def rng_for(seed: int, name: str) -> random.Random:
    return random.Random(f"raft/{seed}/{name}")  # noqa: S311  # a simulation, not a secret


class _Draws:
    """A stream for each name, so that a field more, or another choice in one, moves nothing else of a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def of(self, name: str) -> random.Random:
        return rng_for(self._seed, f"setup/{name}")

    def choice(self, name: str, values: Sequence[T]) -> T:
        return self.of(name).choice(values)


def draw(seed: int, known: Iterable[str], of_many: frozenset[str]) -> Setup:
    """`of_many`: the kinds that need more than one witness."""
    draws = _Draws(seed)
    size = draws.of("size").choices((1, 3, 5), (2, 78, 20))[0]
    names = sorted(known if size > 1 else set(known) - of_many)
    kinds_rng = draws.of("kinds")
    kinds = _compatible(kinds_rng.sample(names, min(len(names), kinds_rng.randint(KINDS_MIN, KINDS_MAX))))
    timers = draws.choice("timers", TIMERS)
    setup = Setup(
        seed=seed,
        witnesses=tuple(WitnessId(f"w{number}") for number in range(1, size + 1)),
        kinds=kinds,
        events=draws.of("events").randint(EVENTS_MIN, EVENTS_MAX),
        gap_ns=timers.election_max_ms * NS_PER_MS // draws.choice("gap", (10, 16, 24, 40)),
        timers=timers,
        compaction=draws.choice("compaction", COMPACTIONS),
        tuning=LARGE_TUNING,
        ballast_bytes=draws.choice("ballast", (0, 100, 2_000)),
        early=draws.of("early").random() < 0.7,
        cpu_ns=draws.choice("cpu", (50_000, 200_000, 1_000_000)),
        sync_ns=draws.choice("sync", (50_000, 500_000, 3_000_000)),
        delay_ns=draws.choice("delay", (NS_PER_MS // 5, NS_PER_MS, 5 * NS_PER_MS, 20 * NS_PER_MS)),
        cold=draws.of("cold").random() < 0.15,
        restart_ns=draws.choice("restart", (5, 50, 200, 1_000)) * NS_PER_MS,
        proposals=draws.choice("proposals", (0.3, 0.5, 0.7)),
        space=SpaceLimits(*draws.choice("space", ((0, 0), (6_000, 2_000), (100_000, 20_000)))),
        entry_bytes=_entry_bytes(kinds),
    )
    tiny = draws.of("tiny").random() < 0.5
    return replace(setup, tuning=_tiny_tuning(setup, draws)) if tiny else setup


def copies_of(setup: Setup) -> dict[WitnessId, WitnessId]:
    """A copied machine dials the others from an address of its own; the last witness dials nobody, so it has none."""
    if CLONE_KIND not in setup.kinds:
        return {}
    original = setup.witnesses[setup.seed % (len(setup.witnesses) - 1)]
    return {WitnessId(f"{original}-copy"): original}


def with_kinds(setup: Setup, kinds: Iterable[str]) -> Setup:
    """The seed's schedule under other kinds of faults; a batch stays larger than any entry."""
    named = _compatible(kinds)
    setup = replace(setup, kinds=named, entry_bytes=_entry_bytes(named))
    return setup if setup.tuning is LARGE_TUNING else replace(setup, tuning=_tiny_tuning(setup, _Draws(setup.seed)))


def _compatible(kinds: Iterable[str]) -> tuple[str, ...]:
    named = set(kinds)
    if CLONE_KIND in named:
        named &= BESIDE_A_COPY | {CLONE_KIND}
    return tuple(sorted(named))


def _entry_bytes(kinds: Sequence[str]) -> int:
    return (LARGE_BYTES if LARGE_KIND in kinds else 0) + ENTRY_OVERHEAD_BYTES


def _tiny_tuning(setup: Setup, draws: _Draws) -> Tuning:
    """A batch must be larger than any entry (witness.raft.messages); an image is not cut into thousands of chunks."""
    return Tuning(
        entries_per_message=draws.choice("per-message", (1, 2, 3, 7)),
        batch_bytes=setup.entry_bytes + draws.choice("batch", (2, 600, 4096)),
        chunk_bytes=max(draws.choice("chunk", (16, 100, 700)), setup.entry_bytes // 50),
        queue_bytes=draws.choice("queue", (2_000, 20_000, PEER_QUEUE_BYTES_HIGH)),
    )


@contextmanager
def tuned(tuning: Tuning) -> Iterator[None]:
    """The constants as the schedule wants them, and back again."""
    places = (
        (journal, "ENTRIES_PER_MESSAGE_MAX", tuning.entries_per_message),
        (engine_parts, "BATCH_BYTES", tuning.batch_bytes),
        (snapshot_transfer, "CHUNK_BYTES_MAX", tuning.chunk_bytes),
        (outbox, "PEER_QUEUE_BYTES_HIGH", tuning.queue_bytes),
    )
    before = [(module, name, getattr(module, name)) for module, name, _ in places]
    try:
        for module, name, value in places:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
