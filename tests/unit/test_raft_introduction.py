"""What witnesses tell each other beside Raft: it comes back as it was, all else is refused (D-21, S3, S5)."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.errors import FrameRefused
from proto.units import NO_LINEAGE, ClusterId, WitnessId
from witness.raft.admission import PAST_MAX, Mark, Position, Speaker
from witness.raft.introduction import (
    NAME_CHARS_MAX,
    REASON_CHARS_MAX,
    RELAYS_MAX,
    TOKEN_BYTES,
    Answer,
    Hello,
    Question,
    pack_answer,
    pack_hello,
    pack_position,
    pack_question,
    pack_reason,
    pack_relay,
    read_answer,
    read_hello,
    read_position,
    read_question,
    read_reason,
    read_relay,
    read_token,
)
from witness.raft.messages import NUMBER_MAX
from witness.raft.peer_link import SMALL_BYTES_MAX

W2, W3 = WitnessId("w2"), WitnessId("w3")
AT = Position(9, 3, 2, 7)
SPEAKER = Speaker(W2, b"d" * 16, learner=False, position=AT, process=b"p" * 16, starts=3, past=(b"1" * 16, b"0" * 16))
HELLO = Hello(ClusterId("ab" * 16), W3, SPEAKER, b"l" * 16, 2)


@pytest.mark.parametrize("to", [W3, None])
def test_an_introduction_comes_back_as_it_was(to: WitnessId | None) -> None:
    hello = Hello(HELLO.cluster, to, SPEAKER, NO_LINEAGE, 1)
    assert read_hello(pack_hello(hello)) == hello


def test_the_longest_introduction_fits_its_frame() -> None:
    name = WitnessId("w" * NAME_CHARS_MAX)
    most = Position(*[NUMBER_MAX] * 4)
    speaker = Speaker(name, b"d" * 16, learner=True, position=most, process=b"p" * 16, starts=NUMBER_MAX)
    whole = Hello(ClusterId(name), name, Speaker(*_values(speaker)[:-1], (b"x" * 16,) * PAST_MAX), b"l" * 16, 1 << 16)
    assert len(pack_hello(whole)) <= SMALL_BYTES_MAX
    assert read_hello(pack_hello(whole)) == whole


def _values(speaker: Speaker) -> list[object]:
    return [getattr(speaker, name) for name in Speaker.__dataclass_fields__]


WRONG: list[dict[str, object]] = [
    {"v": 2},
    {"v": "3"},
    {"cluster": 1},
    {"cluster": ""},
    {"witness": b"w2"},
    {"witness": "w" * (NAME_CHARS_MAX + 1)},
    {"to": 5},
    {"disk": b"short"},
    {"process": "text"},
    {"lineage": None},
    {"past": b"x" * 16},
    {"past": [b"short"]},
    {"past": [b"x" * 16] * (PAST_MAX + 1)},
    {"starts": -1},
    {"learner": 0},
    {"turn": True},
    {"term": 1.0},
    {"last_term": -1},
    {"last_index": NUMBER_MAX + 1},
    {"features": 1 << 17},
    {"more": 1},
]


@pytest.mark.parametrize("changes", WRONG, ids=lambda changes: next(iter(changes)))
def test_an_introduction_with_a_wrong_field_is_refused(changes: dict[str, object]) -> None:
    fields = {**msgpack.unpackb(pack_hello(HELLO)), **changes}
    with pytest.raises(FrameRefused):
        read_hello(msgpack.packb(fields))


@pytest.mark.parametrize("name", msgpack.unpackb(pack_hello(HELLO)))
def test_an_introduction_without_a_field_is_refused(name: str) -> None:
    fields = msgpack.unpackb(pack_hello(HELLO))
    del fields[name]
    with pytest.raises(FrameRefused):
        read_hello(msgpack.packb(fields))


def test_another_release_is_told_so_and_what_to_do() -> None:
    with pytest.raises(FrameRefused, match="speaks protocol 2, we speak 4: run releases that fit"):
        read_hello(msgpack.packb({"v": 2, "cluster": "c", "witness": "w", "to": None, "disk": b"d", "process": b"p"}))


@given(st.binary(max_size=200))
def test_garbage_is_no_introduction(body: bytes) -> None:
    with pytest.raises(FrameRefused):
        read_hello(body)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(FrameRefused):
        read_hello(b"\x91" * 900 + b"\x01")


# -- questions, answers, tokens ------------------------------------------------------------------------------

TOKEN = b"t" * TOKEN_BYTES
MARK = Mark(b"d" * 16, AT, b"p" * 16, 3, (b"r" * 16,))


@pytest.mark.parametrize("mark", [MARK, None])
def test_a_question_and_its_answer_come_back_as_they_were(mark: Mark | None) -> None:
    question = Question(SPEAKER, mark, TOKEN)
    assert read_question(pack_question(question)) == question
    answer = Answer(W2, SPEAKER.process, TOKEN, "no", mark, RELAYS_MAX)
    assert read_answer(pack_answer(answer)) == answer
    assert read_relay(pack_relay(W3, TOKEN)) == (W3, TOKEN)
    assert read_token(TOKEN) == TOKEN


def test_a_token_or_a_count_out_of_bounds_is_refused() -> None:
    question = msgpack.unpackb(pack_question(Question(SPEAKER, None, TOKEN)))
    with pytest.raises(FrameRefused, match="token is not 16 bytes"):
        read_question(msgpack.packb({**question, "token": b"short"}))
    answer = msgpack.unpackb(pack_answer(Answer(W2, SPEAKER.process, TOKEN, "", None)))
    for at, value in ((2, b"short"), (5, RELAYS_MAX + 1), (5, -1), (5, True)):
        with pytest.raises(FrameRefused):
            read_answer(msgpack.packb([*answer[:at], value, *answer[at + 1 :]]))
    for body in ([W3], [W3, b"short"], ["", TOKEN], {}):
        with pytest.raises(FrameRefused):
            read_relay(msgpack.packb(body))
    with pytest.raises(FrameRefused, match="a relayed token is not 16 bytes"):
        read_token(TOKEN + b"t")


# -- signs of life and refusals ------------------------------------------------------------------------------


def test_a_position_comes_back_as_it_was() -> None:
    assert read_position(pack_position(AT)) == AT


@pytest.mark.parametrize("value", [[], [1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, -1], [1, 2, 3, True], 4, None, {1: 2}])
def test_another_position_is_refused(value: object) -> None:
    with pytest.raises(FrameRefused):
        read_position(msgpack.packb(value))


def test_a_reason_is_one_printable_line_of_bounded_length() -> None:
    assert read_reason(pack_reason("stop that witness")) == ("stop that witness", False)
    assert read_reason(msgpack.packb("a\nb\x1b[31m")) == ("a?b?[31m", False)
    assert len(read_reason(pack_reason("x" * 5_000))[0]) == REASON_CHARS_MAX
    assert len(read_reason(msgpack.packb("é" * (REASON_CHARS_MAX + 1)))[0]) == REASON_CHARS_MAX


@pytest.mark.parametrize("value", [1, b"bytes", ["text"], "x" * 5_000])
def test_another_reason_is_refused(value: object) -> None:
    with pytest.raises(FrameRefused):
        read_reason(msgpack.packb(value))
