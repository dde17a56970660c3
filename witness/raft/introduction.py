"""What two witnesses tell each other beside Raft's messages: who they are, how far their disks are, why they refuse.

Pure: bodies of frames to values and back; every field has a type and a bound, and a body with anything else in it is
refused before anybody acts on it (D-21, S3, S5). The first field that is read is the version, so that another release
is told apart from garbage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgpack

from proto.errors import FrameRefused
from proto.units import NO_LINEAGE, ClusterId, WitnessId
from witness.raft.admission import PAST_MAX, PROCESS_BYTES, Claim, Position
from witness.raft.messages import DISK_BYTES, NUMBER_MAX

PEER_PROTOCOL: Final = 2
NAME_CHARS_MAX: Final = 128
FEATURE_CEILING: Final = 1 << 16
"""Of what a peer may say; what counts of it is limited by our own maximum."""
REASON_CHARS_MAX: Final = 500

_FIELDS: Final = frozenset(
    {"v", "cluster", "witness", "to", "disk", "process", "starts", "past", "learner"}
    | {"turn", "term", "last_term", "last_index", "lineage", "features"}
)
_NUMBERS: Final = ("turn", "term", "last_term", "last_index", "starts")


@dataclass(frozen=True, slots=True)
class Hello:
    cluster: ClusterId
    to: WitnessId | None
    """Whom it dialled; None for the one that was dialled."""
    claim: Claim
    lineage: bytes
    features: int
    """The highest feature level that it can work at."""

    @property
    def witness(self) -> WitnessId:
        return self.claim.peer


def pack_hello(hello: Hello) -> bytes:
    claim, at = hello.claim, hello.claim.position
    packed: bytes = msgpack.packb(
        {
            "v": PEER_PROTOCOL,
            "cluster": hello.cluster,
            "witness": claim.peer,
            "to": hello.to,
            "disk": claim.disk,
            "process": claim.process,
            "starts": claim.starts,
            "past": list(claim.past),
            "learner": claim.learner,
            "turn": at.turn,
            "term": at.term,
            "last_term": at.last_term,
            "last_index": at.last_index,
            "lineage": hello.lineage,
            "features": hello.features,
        }
    )
    return packed


def read_hello(body: bytes) -> Hello:
    value = _unpack(body)
    if not isinstance(value, dict):
        raise FrameRefused("the introduction is not a map")
    if value.get("v") != PEER_PROTOCOL:
        shown = str(value.get("v"))[:20]
        raise FrameRefused(
            f"the peer speaks protocol {shown}, we speak {PEER_PROTOCOL}: run releases that fit on all witnesses"
        )
    if value.keys() != _FIELDS:
        raise FrameRefused("the introduction has wrong fields")
    _check_texts(value)
    _check_tokens(value)
    for name in _NUMBERS:
        _number(value[name], name, NUMBER_MAX)
    _number(value["features"], "features", FEATURE_CEILING)
    if type(value["learner"]) is not bool:
        raise FrameRefused("the introduction's learner is not true or false")
    to = None if value["to"] is None else WitnessId(value["to"])
    return Hello(ClusterId(value["cluster"]), to, _claim(value), value["lineage"], value["features"])


def _claim(value: dict[str, Any]) -> Claim:
    return Claim(
        peer=WitnessId(value["witness"]),
        disk=value["disk"],
        learner=value["learner"],
        position=Position(value["turn"], value["term"], value["last_term"], value["last_index"]),
        process=value["process"],
        starts=value["starts"],
        past=tuple(value["past"]),
    )


def _check_texts(value: dict[str, Any]) -> None:
    for name in ("cluster", "witness", "to"):
        text = value[name]
        if name == "to" and text is None:
            continue
        if not isinstance(text, str) or not 1 <= len(text) <= NAME_CHARS_MAX:
            raise FrameRefused(f"the introduction's {name} is not text of 1 to {NAME_CHARS_MAX} characters")


def _check_tokens(value: dict[str, Any]) -> None:
    for name, size in (("disk", DISK_BYTES), ("process", PROCESS_BYTES), ("lineage", len(NO_LINEAGE))):
        if not _is_token(value[name], size):
            raise FrameRefused(f"the introduction's {name} is not {size} bytes")
    past = value["past"]
    if not isinstance(past, list) or len(past) > PAST_MAX or not all(_is_token(item, PROCESS_BYTES) for item in past):
        raise FrameRefused(f"the introduction's past is not a list of at most {PAST_MAX} processes")


def _is_token(value: object, size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size


def _number(value: object, name: str, highest: int) -> None:
    if type(value) is not int or not 0 <= value <= highest:
        raise FrameRefused(f"{name} is not a number from 0 to {highest}")


def pack_position(position: Position) -> bytes:
    packed: bytes = msgpack.packb([position.turn, position.term, position.last_term, position.last_index])
    return packed


def read_position(body: bytes) -> Position:
    value = _unpack(body)
    if not isinstance(value, list) or len(value) != 4:
        raise FrameRefused("a sign of life must say turn, term, last term and last index")
    for name, number in zip(_NUMBERS, value, strict=False):
        _number(number, name, NUMBER_MAX)
    return Position(*value)


def pack_reason(words: str) -> bytes:
    packed: bytes = msgpack.packb(words[:REASON_CHARS_MAX])
    return packed


def read_reason(body: bytes) -> str:
    """Another's words, for a log line: one line of printable text, cut to its bound."""
    value = _unpack(body)
    if not isinstance(value, str):
        raise FrameRefused("a refusal must give its reason")
    return "".join(char if char.isprintable() else "?" for char in value[:REASON_CHARS_MAX])


def _unpack(body: bytes) -> Any:
    try:
        return msgpack.unpackb(
            body,
            max_array_len=PAST_MAX,
            max_map_len=len(_FIELDS) + 1,
            max_str_len=REASON_CHARS_MAX * 4,
            max_bin_len=64,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise FrameRefused("a frame that is not msgpack within our limits") from error
