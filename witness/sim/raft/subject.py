"""What can be driven by the schedules: a subject, its disks and its running members.

Rule: host, network, faults and checkers know a consensus library only through these protocols, so that the same
schedule judges the hardened engine (hardened.py) and the library as it is shipped. A member has no loop, task, socket
or clock: frames and `now` go in, frames and a deadline come out, and one thread drives all members in turn.
Messages are maps with the library's own kinds and field names, since the checkers read them as they leave.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from proto.units import ClusterId, WitnessId
from witness.raft.port import Replicated
from witness.raft.timers import CompactionLimits, RaftTimers

if TYPE_CHECKING:
    from witness.sim.raft.host import Host
    from witness.sim.raft.wire import Socket

Message = dict[str, Any]
Outbox = Mapping[WitnessId, list[Message]]
"""Per peer, in the order in which they were made."""


class PowerLost(BaseException):
    """The machine's power fails in the middle of a call: raised by a simulated disk, caught by the host."""


class Drive(Protocol):
    """One witness's disk. It outlives the processes that run on it."""

    def process_ended(self) -> None:
        """The process is gone without a word (kill -9): what it wrote stays, synced or not."""

    def power_lost(self, rng: random.Random) -> None:
        """The machine is gone: what was not synced may be there, lost or torn."""

    def spent_ns(self) -> int:
        """How long the work since the last call would have taken."""

    def unsynced(self) -> bool:
        """Something was written that a loss of power might take back."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a starting member is given."""

    witness: WitnessId
    peers: tuple[WitnessId, ...]
    cluster: ClusterId
    drive: Drive
    replicated: Replicated
    """The state above: told of every applied entry; its `turn_synced` is called by `Member.finish`."""
    timers: RaftTimers
    compaction: CompactionLimits
    rng: random.Random
    acknowledged: Callable[[bytes], None]
    """For a library that itself tells its client of success: the command as it was proposed."""


@dataclass(frozen=True, slots=True)
class View:
    """What a member says of itself; the checkers believe none of it without comparing."""

    leads: bool
    leader: WitnessId | None
    term: int
    commit_index: int
    applied_index: int
    last_index: int
    last_term: int
    votes: bool = True
    """It may vote and counts; False for a learner."""


class Links(Protocol):
    """The connections of one running process: what is said on them, and when they count (links.py, raft_links.py)."""

    def connected(self, socket: Socket) -> None: ...
    def received(self, socket: Socket, data: bytes) -> None:
        """A chunk of whole frames, as the other end wrote them."""

    def hung_up(self, socket: Socket) -> None:
        """It is closed, by whomever. Sets `socket.came_up`."""

    def look_after(self, socket: Socket) -> None:
        """Twice a second: a sign of life, or an end for one that is silent."""

    def send(self, peer: WitnessId, messages: list[Message]) -> None: ...
    def unsent_bytes(self) -> dict[WitnessId, int]: ...


class Member(Protocol):
    """One running process of a witness. Any exception out of a call ends it; the host throws the object away then."""

    def links(self, host: Host) -> Links:
        """Asked once, after the start: its connections on this machine."""

    def propose(self, command: bytes) -> None:
        """Raises ProposalRefused when it is not taken."""

    def turn(
        self, now_ns: int, unsent_bytes: Mapping[WitnessId, int], early: Callable[[Outbox], None] | None
    ) -> Outbox:
        """Works off what came; what it rests on is synced when it returns. `unsent_bytes`: what connections hold.

        `early` may be handed what may leave before the sync; that is not in the result again.
        """

    def took(self, duration_ns: int) -> None:
        """The turn lasted so long, its syncs included."""

    def finish(self) -> None:
        """After the outbox was handed to the network: answers to clients may go."""

    def wants_turn(self) -> bool:
        """Another turn is due at once."""

    def next_deadline_ns(self) -> int:
        """The next turn at the latest, by the member's own clock."""

    def force_snapshot(self) -> None: ...
    def view(self) -> View: ...

    def close(self) -> None:
        """An orderly end, at the end of a schedule; a crash calls nothing."""


class Subject(Protocol):
    """One implementation of consensus. Made anew for each schedule."""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of faults that it can be put under (faults.py); the schedules draw from these alone."""

    @property
    def asks_leave(self) -> bool:
        """Nobody stands without a majority's leave (D-13), so that a leader who is heard keeps its term."""

    def blank(self, witness: WitnessId) -> Drive:
        """A disk that is initialised for a witness's first start."""

    def start(self, seat: Seat, now_ns: int) -> Member:
        """Starts a process on a disk that may have had one before. StoreRefused: it will not run on this disk."""

    def close(self) -> None:
        """The schedule is over; everything that it made may go."""
