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
from witness.raft.admission import PAST_MAX, PROCESS_BYTES, Mark, Position, Speaker, decode_mark, encode_mark
from witness.raft.messages import DISK_BYTES, NUMBER_MAX
from witness.raft.store_rows import StoreRefused

PEER_PROTOCOL: Final = 4
NAME_CHARS_MAX: Final = 128
FEATURE_CEILING: Final = 1 << 16
"""Of what a peer may say; what counts of it is limited by our own maximum."""
REASON_CHARS_MAX: Final = 500
CODE_FORGOT: Final = 1
"""Of a refusal or an objection: that disk is behind what was seen of it, and its witness heeds it (heed.py)."""
CODE_MAX: Final = 255
"""A code that is not known here counts as none: what it adds to the words is for a later release."""
TOKEN_BYTES: Final = 16
RELAYS_MAX: Final = 2
"""Of one question: connections of one peer that a member may have, the one that counts and one that waits."""

_NUMBERS: Final = ("turn", "term", "last_term", "last_index", "starts")
_SPEAKER: Final = frozenset({"witness", "disk", "process", "past", "learner", *_NUMBERS})
_HELLO: Final = _SPEAKER | {"v", "cluster", "to", "lineage", "features"}
_QUESTION: Final = _SPEAKER | {"mark", "token"}
_BIN_MAX: Final = 1024
"""Of a mark; a token is shorter."""


@dataclass(frozen=True, slots=True)
class Hello:
    cluster: ClusterId
    to: WitnessId | None
    """Whom it dialled; None for the one that was dialled."""
    speaker: Speaker
    lineage: bytes
    features: int
    """The highest feature level that it can work at."""

    @property
    def witness(self) -> WitnessId:
        return self.speaker.peer


@dataclass(frozen=True, slots=True)
class Question:
    """Somebody introduced himself to the one who asks: is anything known against it?"""

    speaker: Speaker
    mark: Mark | None
    """What the one who asks knew of that peer."""
    token: bytes
    """Drawn for this question; what is relayed through that peer, when it is connected with the one asked too."""


@dataclass(frozen=True, slots=True)
class Answer:
    peer: WitnessId
    process: bytes
    """Of the speaker that was asked about."""
    token: bytes
    """The question's."""
    objection: str
    """Empty when there is none."""
    mark: Mark | None
    relays: int = 0
    """Over how many connections of that very process the token was sent; as often it must come back to the asker."""
    forgot: bool = False
    """The objection is that the disk forgot something: the one who was asked about heeds it, told by the asker."""


def pack_hello(hello: Hello) -> bytes:
    more = {"v": PEER_PROTOCOL, "cluster": hello.cluster, "to": hello.to}
    packed: bytes = msgpack.packb(
        {**more, **_fields(hello.speaker), "lineage": hello.lineage, "features": hello.features}
    )
    return packed


def _fields(speaker: Speaker) -> dict[str, Any]:
    at = speaker.position
    return {
        "witness": speaker.peer,
        "disk": speaker.disk,
        "process": speaker.process,
        "starts": speaker.starts,
        "past": list(speaker.past),
        "learner": speaker.learner,
        "turn": at.turn,
        "term": at.term,
        "last_term": at.last_term,
        "last_index": at.last_index,
    }


def read_hello(body: bytes) -> Hello:
    value = _unpack(body)
    if not isinstance(value, dict):
        raise FrameRefused("the introduction is not a map")
    if value.get("v") != PEER_PROTOCOL:
        shown = str(value.get("v"))[:20]
        raise FrameRefused(
            f"the peer speaks protocol {shown}, we speak {PEER_PROTOCOL}: run releases that fit on all witnesses"
        )
    if value.keys() != _HELLO:
        raise FrameRefused("the introduction has wrong fields")
    _text(value["cluster"], "cluster")
    if value["to"] is not None:
        _text(value["to"], "to")
    if not _is_token(value["lineage"], len(NO_LINEAGE)):
        raise FrameRefused(f"the introduction's lineage is not {len(NO_LINEAGE)} bytes")
    _number(value["features"], "features", FEATURE_CEILING)
    to = None if value["to"] is None else WitnessId(value["to"])
    return Hello(ClusterId(value["cluster"]), to, _speaker(value), value["lineage"], value["features"])


def _speaker(value: dict[str, Any]) -> Speaker:
    _text(value["witness"], "witness")
    for name, size in (("disk", DISK_BYTES), ("process", PROCESS_BYTES)):
        if not _is_token(value[name], size):
            raise FrameRefused(f"the introduction's {name} is not {size} bytes")
    past = value["past"]
    if not isinstance(past, list) or len(past) > PAST_MAX or not all(_is_token(item, PROCESS_BYTES) for item in past):
        raise FrameRefused(f"the introduction's past is not a list of at most {PAST_MAX} processes")
    for name in _NUMBERS:
        _number(value[name], name, NUMBER_MAX)
    if type(value["learner"]) is not bool:
        raise FrameRefused("the introduction's learner is not true or false")
    return Speaker(
        peer=WitnessId(value["witness"]),
        disk=value["disk"],
        learner=value["learner"],
        position=Position(value["turn"], value["term"], value["last_term"], value["last_index"]),
        process=value["process"],
        starts=value["starts"],
        past=tuple(past),
    )


def _text(text: object, name: str) -> None:
    if not isinstance(text, str) or not 1 <= len(text) <= NAME_CHARS_MAX:
        raise FrameRefused(f"the introduction's {name} is not text of 1 to {NAME_CHARS_MAX} characters")


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


def pack_question(question: Question) -> bytes:
    more = {"mark": _packed(question.mark), "token": question.token}
    packed: bytes = msgpack.packb({**_fields(question.speaker), **more})
    return packed


def read_question(body: bytes) -> Question:
    value = _unpack(body)
    if not isinstance(value, dict) or value.keys() != _QUESTION:
        raise FrameRefused("a question about a peer has wrong fields")
    speaker = _speaker(value)
    if not _is_token(value["token"], TOKEN_BYTES):
        raise FrameRefused(f"a question's token is not {TOKEN_BYTES} bytes")
    return Question(speaker, _mark(speaker.peer, value["mark"]), value["token"])


def pack_answer(answer: Answer) -> bytes:
    objection = answer.objection[:REASON_CHARS_MAX]
    code = CODE_FORGOT if answer.forgot else 0
    fields = [answer.peer, answer.process, answer.token, objection, _packed(answer.mark), answer.relays, code]
    packed: bytes = msgpack.packb(fields)
    return packed


def read_answer(body: bytes) -> Answer:
    value = _unpack(body)
    if not isinstance(value, list) or len(value) != 7:
        raise FrameRefused("an answer about a peer has wrong fields")
    peer, process, token, objection, mark, relays, code = value
    _text(peer, "witness")
    _number(relays, "relays", RELAYS_MAX)
    if not _is_token(process, PROCESS_BYTES) or not _is_token(token, TOKEN_BYTES) or not isinstance(objection, str):
        raise FrameRefused("an answer about a peer has wrong fields")
    _number(code, "code", CODE_MAX)
    forgot = code == CODE_FORGOT and bool(objection)
    return Answer(WitnessId(peer), process, token, _line(objection), _mark(peer, mark), relays, forgot)


def pack_relay(to: WitnessId, token: bytes) -> bytes:
    packed: bytes = msgpack.packb([to, token])
    return packed


def read_relay(body: bytes) -> tuple[WitnessId, bytes]:
    """To whom the token is to be sent on."""
    value = _unpack(body)
    if not isinstance(value, list) or len(value) != 2 or not _is_token(value[1], TOKEN_BYTES):
        raise FrameRefused("a token to be relayed has wrong fields")
    _text(value[0], "witness")
    return WitnessId(value[0]), value[1]


def read_token(body: bytes) -> bytes:
    """One that came back; its body is the token alone."""
    if not _is_token(body, TOKEN_BYTES):
        raise FrameRefused(f"a relayed token is not {TOKEN_BYTES} bytes")
    return body


def _packed(mark: Mark | None) -> bytes | None:
    return None if mark is None else encode_mark(mark)


def _mark(peer: str, data: object) -> Mark | None:
    if data is None:
        return None
    try:
        return decode_mark(peer, data if isinstance(data, bytes) else b"")
    except StoreRefused as refused:
        raise FrameRefused(f"what a witness knows of {peer} is not in our format") from refused


def pack_reason(words: str, *, forgot: bool = False) -> bytes:
    """Without a code the words alone, as every protocol has read them: another release is told why it is refused."""
    reason = words[:REASON_CHARS_MAX]
    packed: bytes = msgpack.packb([reason, CODE_FORGOT] if forgot else reason)
    return packed


def read_reason(body: bytes) -> tuple[str, bool]:
    """Another's words for a log line, printable and cut to their bound; and whether it says that our disk forgot."""
    value = _unpack(body)
    words, code = value if isinstance(value, list) and len(value) == 2 else (value, 0)
    if not isinstance(words, str):
        raise FrameRefused("a refusal must give its reason")
    _number(code, "code", CODE_MAX)
    return _line(words), code == CODE_FORGOT


def _line(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:REASON_CHARS_MAX])


def _unpack(body: bytes) -> Any:
    try:
        return msgpack.unpackb(
            body,
            max_array_len=PAST_MAX,
            max_map_len=len(_HELLO) + 1,
            max_str_len=REASON_CHARS_MAX * 4,
            max_bin_len=_BIN_MAX,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise FrameRefused("a frame that is not msgpack within our limits") from error
