"""What may travel between two engines, and its bounds; everything else is refused before the engine sees it.

Pure. A message is a dict with exactly the keys of its kind (D-20, D-21, S3, S4). Refused whole: the library's
`transmission` of split entries (D-22), `timeout_now`, `apply_command_response` (we ask for none: D-17, D-18),
utility messages, and every entry that is neither a plain command nor a no-op (membership, version: D-16, D-31).
Added to the library's messages: the term of an acknowledgement (D-4), the stamps of witness.raft.age and pace,
whether the sender votes at all and above which term it may (witness.raft.standing). Added kinds: the round before an
election (D-13) and the questions of a witness that is being readmitted (D-25); the engine sees none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from proto.errors import FrameRefused
from witness.raft.port import ENTRY_BYTES_MAX

Message = dict[str, Any]

REGULAR: Final = 0
NO_OP: Final = 1
COMMAND_KINDS: Final = frozenset({REGULAR, NO_OP})

ENTRIES_PER_MESSAGE_MAX = 1024
"""The journal hands out no longer slices, so that one turn and one frame stay small."""
BATCH_BYTES = 1024 * 1024
"""The engine's batch; the entry that crosses it is still included."""
COMMAND_BYTES_MAX = ENTRY_BYTES_MAX + 1
CHUNK_BYTES_MAX = 64 * 1024
"""Of a snapshot: small, since a heartbeat to that peer waits until it is through."""
FRAME_BYTES_MAX = BATCH_BYTES + COMMAND_BYTES_MAX + ENTRIES_PER_MESSAGE_MAX * 64
NUMBER_MAX = (1 << 53) - 1
STAMP_MAX = (1 << 63) - 1
TERM_JUMP_MAX = 1 << 20
"""A term that is further ahead of ours than any election storm can get is forged, and not taken at once (S3, D-50).

A term costs an election timeout and a majority's leave (D-13): a million of them at 100 ms each, one after the other,
take more than a day. It takes 2**33 forged jumps of this size to use up all terms (NUMBER_MAX); with jumps of 2**32 it
took two million messages.
"""
SNAPSHOT_ID_BYTES = 32
PACE_MS_MAX = 600_000
DISK_BYTES = 16
"""A disk incarnation."""

_STAMPS: Final = frozenset({"last", "sent", "echo", "pace"})
_KEYS: Final[dict[str, tuple[frozenset[str], ...]]] = {
    "append_entries": (
        frozenset({"type", "term", "commit_index", "entries", "prevLogIdx", "prevLogTerm"}) | _STAMPS,
        frozenset({"type", "term", "commit_index", "serialized"}) | _STAMPS,
    ),
    "next_node_idx": (
        frozenset({"type", "term", "next_node_idx", "reset", "success", "heard", "stamp", "votes", "floor"}),
    ),
    "request_vote": (frozenset({"type", "term", "last_log_index", "last_log_term"}),),
    "response_vote": (frozenset({"type", "term"}),),
    "apply_command": (frozenset({"type", "command"}),),
    "pre_vote": (frozenset({"type", "term", "last_log_index", "last_log_term"}),),
    "pre_vote_answer": (frozenset({"type", "term", "granted", "current"}),),
    "readmission_ask": (frozenset({"type", "disk"}),),
    "readmission_answer": (frozenset({"type", "disk", "current"}),),
}


def check_message(value: object) -> Message:
    """The value as a message of known kind whose fields are within bounds, or FrameRefused."""
    if not isinstance(value, dict):
        raise FrameRefused("a raft message must be a map")
    kind = value.get("type")
    shapes = _KEYS.get(kind) if isinstance(kind, str) else None
    if shapes is None:
        raise FrameRefused(f"raft message of unknown kind {str(kind)[:40]!r}")
    if value.keys() not in shapes:
        raise FrameRefused(f"raft message {kind}: wrong fields")
    _CHECKS[str(kind)](value)
    return value


def _number(value: Message, *names: str, highest: int = NUMBER_MAX) -> None:
    for name in names:
        field = value[name]
        if type(field) is not int or not 0 <= field <= highest:
            raise FrameRefused(f"raft message {value['type']}: {name} is not a number from 0 to {highest}")


def _flag(value: Message, *names: str) -> None:
    for name in names:
        if type(value[name]) is not bool:
            raise FrameRefused(f"raft message {value['type']}: {name} is not true or false")


def check_command(command: object) -> None:
    if not isinstance(command, bytes) or not 1 <= len(command) <= COMMAND_BYTES_MAX:
        raise FrameRefused(f"a log entry must have 1 to {COMMAND_BYTES_MAX} bytes")
    if command[0] not in COMMAND_KINDS or (command[0] == NO_OP and len(command) != 1):
        raise FrameRefused("a log entry must be a command or a no-op")


def _check_append(value: Message) -> None:
    _number(value, "term", "commit_index", "last")
    _number(value, "sent", "echo", highest=STAMP_MAX)
    _number(value, "pace", highest=PACE_MS_MAX)
    if "serialized" in value:
        _check_chunk(value["serialized"])
        return
    _number(value, "prevLogIdx", "prevLogTerm")
    entries = value["entries"]
    if not isinstance(entries, list) or len(entries) > ENTRIES_PER_MESSAGE_MAX:
        raise FrameRefused(f"entries must be a list of at most {ENTRIES_PER_MESSAGE_MAX}")
    index, term = value["prevLogIdx"], value["prevLogTerm"]
    for entry in entries:
        if not isinstance(entry, (list, tuple)) or len(entry) != 3:
            raise FrameRefused("an entry must be command, index, term")
        index += 1
        if type(entry[1]) is not int or entry[1] != index:
            raise FrameRefused("entries must follow one another")
        if type(entry[2]) is not int or not term <= entry[2] <= value["term"]:
            raise FrameRefused("terms of entries must not fall, nor exceed the message's")
        term = entry[2]
        check_command(entry[0])


def _check_chunk(chunk: object) -> None:
    if chunk is None:
        return
    if not isinstance(chunk, (list, tuple)) or len(chunk) != 6:
        raise FrameRefused("a snapshot chunk must have six fields")
    data, first, last, identity, offset, total = chunk
    if not isinstance(data, bytes) or len(data) > CHUNK_BYTES_MAX:
        raise FrameRefused(f"a snapshot chunk must have at most {CHUNK_BYTES_MAX} bytes")
    if type(first) is not bool or type(last) is not bool:
        raise FrameRefused("a snapshot chunk's marks must be true or false")
    if not isinstance(identity, bytes) or len(identity) != SNAPSHOT_ID_BYTES:
        raise FrameRefused("a snapshot chunk must name its snapshot")
    for number in (offset, total):
        if type(number) is not int or not 0 <= number <= NUMBER_MAX:
            raise FrameRefused("a snapshot chunk's place is not a number")
    if first != (offset == 0) or offset + len(data) > total or last != (offset + len(data) == total):
        raise FrameRefused("a snapshot chunk does not fit its place")


def _check_ack(value: Message) -> None:
    _number(value, "term", "next_node_idx", "floor")
    _number(value, "heard", "stamp", highest=STAMP_MAX)
    _flag(value, "reset", "success", "votes")
    if value["reset"] and value["success"]:
        raise FrameRefused("an acknowledgement cannot both succeed and reset")


def _check_vote_request(value: Message) -> None:
    _number(value, "term", "last_log_index", "last_log_term")


def _check_vote(value: Message) -> None:
    _number(value, "term")


def _check_pre_vote_answer(value: Message) -> None:
    _number(value, "term", "current")
    _flag(value, "granted")


def _check_ask(value: Message) -> None:
    if not isinstance(value["disk"], bytes) or len(value["disk"]) != DISK_BYTES:
        raise FrameRefused(f"raft message {value['type']}: disk must have {DISK_BYTES} bytes")


def _check_answer(value: Message) -> None:
    _check_ask(value)
    _number(value, "current")


def _check_proposal(value: Message) -> None:
    check_command(value["command"])
    if value["command"][0] != REGULAR:
        raise FrameRefused("only plain commands may be proposed")


_CHECKS: Final[dict[str, Callable[[Message], None]]] = {
    "append_entries": _check_append,
    "next_node_idx": _check_ack,
    "request_vote": _check_vote_request,
    "response_vote": _check_vote,
    "apply_command": _check_proposal,
    "pre_vote": _check_vote_request,
    "pre_vote_answer": _check_pre_vote_answer,
    "readmission_ask": _check_ask,
    "readmission_answer": _check_answer,
}
