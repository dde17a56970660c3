"""Readers and writers from annotations: strict, sorted where order is not meant, refused where unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple

import pytest

from proto.errors import FrameRefused
from proto.schema import reader_of, record_reader, record_writer, writer_of
from proto.units import SiteId


class Colour(Enum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Plain(NamedTuple):
    site: SiteId
    count: int


@dataclass(slots=True)
class Record:
    colour: Colour
    number: Number
    maybe: Colour | None
    plain: tuple[Plain, ...]
    names: set[str] = field(default_factory=set)
    by_name: dict[str, Plain] = field(default_factory=dict)


VALUE = Record(
    Colour.RED,
    Number.ONE,
    None,
    (Plain(SiteId("a"), 1),),
    {"y", "x"},
    {"b": Plain(SiteId("b"), 2), "a": Plain(SiteId("a"), 1)},
)


def test_a_record_is_written_in_order_with_sets_and_dicts_sorted():
    write = record_writer(Record)
    assert write is not None
    raw = write(VALUE)
    assert raw[:3] == ["red", 1, None]
    assert raw[4] == ["x", "y"]
    assert [pair[0] for pair in raw[5]] == ["a", "b"]


def test_a_record_comes_back():
    write = record_writer(Record)
    assert write is not None
    as_lists = ["red", 1, None, [["a", 1]], ["x", "y"], [["a", ["a", 1]], ["b", ["b", 2]]]]
    assert record_reader(Record)(as_lists) == VALUE


def test_a_plain_record_is_left_to_msgpack():
    assert record_writer(Plain) is None


@pytest.mark.parametrize(
    ("at", "bad", "names"),
    [
        (0, "blue", "Record.colour"),
        (0, ["red"], "Record.colour"),
        (1, 2, "Record.number"),
        (1, True, "Record.number"),
        (2, "blue", "Record.maybe"),
        (3, "text", "Record.plain"),
        (3, [["a"]], "Record.plain"),
        (3, [["a", True]], "Plain.count"),
        (4, {"x": 1}, "Record.names"),
        (5, [["a"]], "Record.by_name"),
    ],
)
def test_a_bad_field_is_named(at, bad, names):
    raw = ["red", 1, None, [["a", 1]], ["x"], []]
    raw[at] = bad
    with pytest.raises(FrameRefused, match=names):
        record_reader(Record)(raw)


def test_unknown_annotations_are_refused_at_import_time():
    for hint in (float, tuple[int, str] | int, frozenset[int]):
        with pytest.raises(TypeError):
            reader_of(hint)
    with pytest.raises(TypeError):
        writer_of(tuple[Colour, int])
