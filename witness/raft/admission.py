"""Whose disk may speak for a peer: what we durably know of it, and what an introduction must show (D-25, O4, O5, O6).

Rule. For every peer a store keeps one mark: the disk that speaks for it, how far that disk was seen, the process that
last used it, and the disks that a readmission replaced. An introduction is judged by the mark alone:

    no mark yet                                taken, whatever disk it is
    a disk that was replaced                   refused, for ever
    our disk, less far than it was seen        refused: a backup, a snapshot that was rolled back, or a copy
    our disk, without the process that we saw  refused: two copies of it were used, one after the other
    our disk, as far or further                taken
    another disk, of a learner                 taken, and the disk before it is replaced
    another disk, of a voter                   refused

*How far* is first of all the store's turn of Raft: it counts the transactions that votes rest on and no others, within
one disk, so it never falls, never stands still over a vote, and never rises while nobody lets the disk in, however
often it starts and knocks (a disk that is behind would else catch up without what it forgot); the term may not fall
either. The log's last entry says the same in
words for people and decides nothing: an honest follower that drops what never was committed ends earlier for a while.
*Which process*: each start that speaks to anyone is recorded on the disk first, and the latest ones are named in the
introduction. Two copies of a disk write different ones, so that the one that was not seen is found out, also when it
has worked longer. Beyond PAST_MAX starts that we did not see there is nothing to compare, and the turn alone decides.
*Forgot*: a disk that is behind what was seen of it under another process lost that for good, since every process tells
of durable places alone; whoever speaks for it is told so in a form that it heeds (witness.raft.heed). The same process
is not: two of its connections may have crossed. A refused introduction changes nothing here. Two copies that are alive
at once are witness.raft.gate's business. Pure.
Rejected: a clock; the machine's name or address (a copied machine has the same).
docs/adr/0010-readmission-by-term.md says why a learner's new disk is safe to take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgpack

from proto.errors import RemoteFault
from proto.units import WitnessId
from witness.raft.messages import DISK_BYTES, NUMBER_MAX
from witness.raft.store_rows import StoreRefused

MARK_PREFIX: Final = "peer-disk/"
"""The store's mark of a peer is named by this and the peer's id."""
MARK_VERSION: Final = 1
TENTATIVE_VERSION: Final = 2
PROCESS_BYTES: Final = 16
PAST_MAX: Final = 16
"""Starts that an introduction names: an outage of one witness rarely sees more of another's."""
ASKERS_MAX: Final = 8
"""Witnesses, by their disks, that a mark is tentative for; there are four other ones at most."""
RETIRED_MAX: Final = 16
"""Replaced disks that are remembered by name; an older one is still another disk than ours, and refused as that."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a disk is, as of its last transaction."""

    turn: int
    """Transactions that votes rest on, and no others, counted by the store."""
    term: int
    last_term: int
    last_index: int


NOWHERE: Final = Position(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Speaker:
    """What an introduction says of who speaks; within bounds already."""

    peer: WitnessId
    disk: bytes
    learner: bool
    position: Position
    process: bytes
    starts: int = 1
    """How many processes this disk has seen, this one included."""
    past: tuple[bytes, ...] = ()
    """The processes before this one, the latest first, PAST_MAX at most."""


@dataclass(frozen=True, slots=True)
class Mark:
    disk: bytes
    position: Position
    process: bytes
    starts: int
    retired: tuple[bytes, ...] = ()
    """Disks that a readmission replaced, the latest first."""
    askers: tuple[bytes, ...] = ()
    """Tentative: the disks of those that may have let this process in on our word (witness.raft.vouching)."""
    before: Mark | None = None
    """What was known before that."""


@dataclass(frozen=True, slots=True)
class Admitted:
    mark: Mark
    """To be durable before anything of Raft leaves for this peer."""


@dataclass(frozen=True, slots=True)
class Refused:
    words: str
    """What is wrong and what to do, for the people at both ends."""
    forgot: bool = False
    """The disk lost what was seen of it, whatever is found out later."""


class DiskForgot(RemoteFault):
    """A verdict of that kind: its words go to the peer as ones that it heeds (witness.raft.heed)."""


def judge(mark: Mark | None, speaker: Speaker) -> Admitted | Refused:
    if mark is None:
        return Admitted(_taken(speaker, ()))
    if speaker.disk in mark.retired:
        return Refused(
            f"{speaker.peer} comes with a disk that a readmission replaced, and which may have voted before it; stop "
            f"that process. If its machine is to be {speaker.peer} again, {_remedy(speaker.peer)}"
        )
    if speaker.disk != mark.disk:
        if not speaker.learner:
            return Refused(
                f"{speaker.peer} comes with another disk than the one that is known: blank, replaced or initialised "
                f"anew, and it may have voted on the other one; {_remedy(speaker.peer)}"
            )
        return Admitted(_taken(speaker, (mark.disk, *mark.retired)[:RETIRED_MAX]))
    return _same_disk(mark, speaker)


def judge_elsewhere(mark: Mark | None, speaker: Speaker, *, here: bool) -> Admitted | Refused:
    """For an introduction to another witness: may we have seen more of that peer than it has?

    `here`: that very process has a connection here too, over which it is asked whether the other one is its own. What
    comes over the two has no order, so their places are not compared. No place is learned.
    """
    place = mark.position if mark is not None and mark.disk == speaker.disk else NOWHERE
    if here and mark is not None and (mark.disk, mark.process) == (speaker.disk, speaker.process):
        speaker = replace(speaker, position=place)
    verdict = judge(mark, speaker)
    return verdict if isinstance(verdict, Refused) else Admitted(replace(verdict.mark, position=place))


def newer(mine: Mark | None, theirs: Mark) -> Mark:
    """What two witnesses know of one peer: a disk that either knows as replaced is replaced."""
    theirs = replace(theirs, position=NOWHERE, askers=(), before=None)
    if mine is None:
        return theirs
    retired = (*mine.retired, *(disk for disk in theirs.retired if disk not in mine.retired))
    if theirs.disk == mine.disk or mine.disk not in theirs.retired or theirs.disk in mine.retired:
        return replace(mine, retired=tuple(disk for disk in retired if disk != mine.disk)[:RETIRED_MAX])
    return replace(theirs, retired=retired[:RETIRED_MAX])


def _same_disk(mark: Mark, speaker: Speaker) -> Admitted | Refused:
    seen, now = mark.position, speaker.position
    if fell(seen, now):
        same_process = mark.process == speaker.process
        return Refused(
            f"{speaker.peer} comes with an older state of its disk ({words(now)}) than was seen of it ({words(seen)}): "
            f"{_why_older(speaker, same_process=same_process)}",
            forgot=not same_process,
        )
    known = mark.process == speaker.process or mark.process in speaker.past
    beyond_memory = speaker.starts - mark.starts > max(len(speaker.past), PAST_MAX)
    if not known and not beyond_memory:
        return Refused(
            f"{speaker.peer} comes with a copy of its disk: another copy was used since the two parted (start "
            f"{speaker.starts} here, start {mark.starts} of the other one was seen); stop both processes, keep one "
            f"copy, and {_remedy(speaker.peer)}"
        )
    taken = _taken(speaker, mark.retired)
    return Admitted(replace(taken, position=highest(seen, now)))


def _why_older(speaker: Speaker, *, same_process: bool) -> str:
    if not same_process:
        return f"a restored backup, a snapshot rolled back, or a copy; {_remedy(speaker.peer)}"
    return (
        "and is the same process. When this is said once, two of its connections crossed; when it is said again, its "
        f"machine was copied or rolled back with its memory: stop that process, and {_remedy(speaker.peer)}"
    )


def _taken(speaker: Speaker, retired: tuple[bytes, ...]) -> Mark:
    return Mark(speaker.disk, speaker.position, speaker.process, speaker.starts, retired)


def _remedy(peer: WitnessId) -> str:
    return f"run `witness readmit -c FILE` on {peer}'s machine and start it again"


def fell(seen: Position, now: Position) -> bool:
    """Whether a disk is behind what was seen of it."""
    return now.turn < seen.turn or now.term < seen.term


def highest(seen: Position, now: Position) -> Position:
    last = max((seen.last_term, seen.last_index), (now.last_term, now.last_index))
    return Position(max(seen.turn, now.turn), max(seen.term, now.term), *last)


def words(position: Position) -> str:
    return f"turn {position.turn}, term {position.term}, entry {position.last_index} of term {position.last_term}"


# -- bytes ---------------------------------------------------------------------------------------------------


def encode_mark(mark: Mark) -> bytes:
    fields: list[Any] = [MARK_VERSION, *_seen(mark), list(mark.retired)]
    if mark.askers:
        before = None if mark.before is None else _seen(mark.before)
        fields = [TENTATIVE_VERSION, *fields[1:], list(mark.askers), before]
    packed: bytes = msgpack.packb(fields)
    return packed


def _seen(mark: Mark) -> list[Any]:
    at = mark.position
    return [mark.disk, [at.turn, at.term, at.last_term, at.last_index], mark.process, mark.starts]


def decode_mark(peer: str, data: bytes) -> Mark:
    """The store has proven that these are the bytes that were written: a newer program's, if they do not fit."""
    try:
        value = msgpack.unpackb(data, max_array_len=RETIRED_MAX, max_bin_len=DISK_BYTES, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        value = None
    if not _is_mark(value):
        raise StoreRefused(f"what the store knows of {peer}'s disk has another format: run the version that wrote it")
    _, *seen, retired = value[:6]
    askers, before = value[6:] or ((), None)
    earlier = None if before is None else _mark(before, ())
    return replace(_mark(seen, tuple(retired)), askers=tuple(askers), before=earlier)


def _mark(seen: Sequence[Any], retired: tuple[bytes, ...]) -> Mark:
    disk, numbers, process, starts = seen
    return Mark(disk, Position(*numbers), process, starts, retired)


def _is_mark(value: Any) -> bool:
    if not isinstance(value, list) or (len(value), value[:1]) not in ((6, [MARK_VERSION]), (8, [TENTATIVE_VERSION])):
        return False
    _, *seen, retired = value[:6]
    askers, before = value[6:] or ([], None)
    return (
        _is_seen(seen)
        and (before is None or _is_seen(before))
        and _are_tokens(retired)
        and _are_tokens(askers)
        and (len(value) == 6 or 1 <= len(askers) <= ASKERS_MAX)
    )


def _is_seen(seen: object) -> bool:
    if not isinstance(seen, list) or len(seen) != 4:
        return False
    disk, numbers, process, starts = seen
    if not isinstance(numbers, list) or len(numbers) != 4 or not _are_tokens([disk, process]):
        return False
    return all(type(number) is int and 0 <= number <= NUMBER_MAX for number in (*numbers, starts))


def _are_tokens(items: object) -> bool:
    return isinstance(items, list) and all(isinstance(item, bytes) and len(item) == DISK_BYTES for item in items)
