"""Bytes and values: every type comes back; everything else is FrameRefused and nothing worse."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import (
    codec,
    commands,
    events,
    health,
    limits,
    member_codec,
    member_messages,
    messages,
    permit,
    permit_codec,
    site_codec,
    site_messages,
    units,
)
from proto.errors import FrameRefused
from proto.features import FEATURE_MAX, UpgradeRequired

NAMES = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\Z")
TOKENS = st.binary(min_size=16, max_size=16)
BY_HINT: dict[object, st.SearchStrategy] = {
    units.SiteId: NAMES,
    units.GroupId: NAMES,
    units.WitnessId: NAMES,
    units.MemberName: NAMES,
    units.LicenseName: NAMES,
    units.Incarnation: TOKENS,
    units.Nonce: TOKENS,
    units.Claim: TOKENS,
    int: st.integers(-1, units.EPOCH_MAX),
    bool: st.booleans(),
    str: st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
    bytes: st.binary(max_size=40),
}


def values_of(hint: object) -> st.SearchStrategy:
    """Values of an annotated type, the way that the codec reads annotations."""
    if hint in BY_HINT:
        return BY_HINT[hint]
    if hasattr(hint, "__supertype__"):
        return values_of(hint.__supertype__)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if hint is commands.RaiseFeatureLevel:
        return st.builds(hint, st.integers(0, FEATURE_MAX))
    if dataclasses.is_dataclass(hint) or hasattr(hint, "_fields"):
        hints = typing.get_type_hints(hint)
        names = hint._fields if hasattr(hint, "_fields") else [field.name for field in dataclasses.fields(hint)]
        return st.builds(hint, *[values_of(hints[name]) for name in names])
    args = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and args[-1] is Ellipsis:
        return st.lists(values_of(args[0]), max_size=4).map(tuple)
    if typing.get_origin(hint) is tuple:
        return st.tuples(*[values_of(arg) for arg in args])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return st.none() | values_of(next(arg for arg in args if arg is not type(None)))
    raise TypeError(hint)


FAMILIES = (
    (codec.AGENT_MESSAGES, typing.get_args(messages.AgentMessage)),
    (codec.WITNESS_MESSAGES, typing.get_args(messages.WitnessMessage)),
    (codec.REPORTS, (health.HealthReport,)),
    (codec.EVENTS, (events.Event,)),
    (codec.COMMANDS, typing.get_args(commands.Command)),
    (member_codec.MEMBER_MESSAGES, typing.get_args(member_messages.MemberMessage)),
    (member_codec.LEAD_MESSAGES, typing.get_args(member_messages.LeadMessage)),
    (site_codec.SITE_REQUESTS, typing.get_args(site_messages.SiteRequest)),
    (site_codec.SITE_ANSWERS, typing.get_args(site_messages.SiteAnswer)),
    (permit_codec.PERMITS, (permit.Permit,)),
)
EVERY = [(family, cls) for family, classes in FAMILIES for cls in classes]
IDS = [f"{family.name}-{cls.__name__}" for family, cls in EVERY]


@pytest.mark.parametrize(("family", "cls"), EVERY, ids=IDS)
def test_every_type_comes_back_and_equal_values_have_equal_bytes(family, cls):
    @given(values_of(cls))
    @settings(max_examples=25)
    def comes_back(value):
        data = family.encode(value)
        again = family.decode(data)
        assert again == value
        assert type(again) is cls
        assert family.encode(again) == data

    comes_back()


def test_the_level_of_a_value_of_many_fields_is_read_before_anything_else():
    long, short = [[level, 1, *range(count)] for level, count in ((2, 14), (2, 13))]
    assert [codec.level_of(codec.pack(one)) for one in (long, short)] == [2, 2]
    assert codec.level_of(b"\xdc\x00\x0f\x02" + bytes(14)) is None, "one length has one way to be written"
    assert codec.level_of(b"\xdc\x00\x10") is None
    assert codec.level_of(b"\xdc\x00\x10\x00" + bytes(15)) is None


@given(st.lists(values_of(commands.SetMode) | values_of(commands.Votes), max_size=5), TOKENS, NAMES)
def test_a_log_entry_comes_back(inside, session, proposer):
    entry = commands.LogEntry(units.WitnessId(proposer), session, 7, units.WallMs(9), tuple(inside))
    data = codec.encode_entry(entry, [codec.encode_command(command) for command in inside])
    assert codec.decode_entry(data) == entry


DECODERS = [family.decode for family, _ in FAMILIES] + [codec.decode_entry]
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=10)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@pytest.mark.parametrize("decode", DECODERS)
def test_random_bytes_are_refused_and_nothing_worse(decode):
    @given(
        st.binary(max_size=80) | st.builds(lambda value: msgpack.packb([1, 1, value]), PLAIN) | PLAIN.map(msgpack.packb)
    )
    def refused(data):
        try:
            decode(data)
        except FrameRefused:
            return
        except UpgradeRequired:
            assert decode is codec.decode_entry
            assert codec.level_of(data) > FEATURE_MAX

    refused()


PING = messages.Ping(units.Nonce(b"n" * 16))
PING_BYTES = codec.AGENT_MESSAGES.encode(PING)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([FEATURE_MAX + 1, 4, b"n" * 16], f"version {FEATURE_MAX + 1}"),
        ([True, 4, b"n" * 16], "version True"),
        ([1, 99, b"n" * 16], "unknown tag 99"),
        ([1, True, b"n" * 16], "tagged list"),
        ([1, 4], "has 1 fields"),
        ([1, 4, b"n" * 16, 1], "has 1 fields"),
        ([1, 4, b"n" * 15], "16 random bytes"),
        ([1, 4, "n" * 16], "16 random bytes"),
        ([1], "was expected"),
        ({}, "was expected"),
        ({1: 2}, "not a frame"),
        (1, "was expected"),
        (None, "was expected"),
    ],
)
def test_the_unknown_is_refused_and_never_skipped(raw, says):
    with pytest.raises(FrameRefused, match=says):
        codec.AGENT_MESSAGES.decode(msgpack.packb(raw))


def test_families_do_not_read_each_other():
    command = codec.encode_command(commands.FoundCluster(units.ClusterId("c"), ()))
    for family, _ in FAMILIES[:4]:
        with pytest.raises(FrameRefused):
            family.decode(command)


@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 5_000 + b"\xc0",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc7\x01\x05x",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\x93\x01\x04\xa2\xff\xfe",
        PING_BYTES + b"\x00",
        PING_BYTES[:-1],
        b"",
        b"\xc1",
    ],
    ids=[
        "deep",
        "array-4g",
        "map-4g",
        "bin-4g",
        "str-4g",
        "ext",
        "timestamp",
        "utf8",
        "trailing",
        "cut",
        "empty",
        "c1",
    ],
)
def test_hostile_msgpack_is_refused(data):
    for decode in DECODERS:
        with pytest.raises(FrameRefused):
            decode(data)


def test_size_is_checked_both_ways():
    with pytest.raises(FrameRefused, match="at most"):
        codec.AGENT_MESSAGES.decode(b"\x00" * (limits.FRAME_BYTES_MAX + 1))
    fat = messages.Heartbeat(
        units.SiteId("a"),
        units.Incarnation(b"i" * 16),
        1,
        units.Nonce(b"n" * 16),
        units.WallMs(1),
        tuple(
            messages.GroupHeartbeat(units.GroupId(f"g{n}"), units.Epoch(0), units.Claim(bytes(16)), 0, b"x" * 2_000)
            for n in range(100)
        ),
    )
    with pytest.raises(FrameRefused, match="may be sent"):
        codec.AGENT_MESSAGES.encode(fat)


def test_counts_and_texts_are_capped():
    group = [b"g", 0, bytes(16), 0, b""]
    beat = [1, 2, "a", b"i" * 16, 1, b"n" * 16, 1, [group] * (limits.ITEMS_MAX + 1)]
    with pytest.raises(FrameRefused, match="at most"):
        codec.AGENT_MESSAGES.decode(msgpack.packb(beat))
    author = ["x" * (limits.TEXT_CHARS_MAX + 1), ""]
    with pytest.raises(FrameRefused, match="characters"):
        codec.COMMANDS.decode(msgpack.packb([1, 3, "g", author]))


@pytest.mark.parametrize("number", [-2, 2**62, 2**64 - 1, 1.0, True, "1", None])
def test_a_number_is_a_number_within_bounds(number):
    with pytest.raises(FrameRefused, match="number"):
        codec.WITNESS_MESSAGES.decode(msgpack.packb([1, 5, "g", "granted", number]))


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a" * 64, "a b", "a\n", 1, b"a"])
def test_a_name_is_a_name(name):
    with pytest.raises(FrameRefused):
        codec.WITNESS_MESSAGES.decode(msgpack.packb([1, 5, name, "granted", 1]))


def test_what_the_chain_covers_is_all_but_the_chain():
    event = events.Event(
        1, units.LogIndex(2), events.EventKind.MODE, None, None, units.Epoch(0), "a", "t", units.WallMs(3), b"c" * 32
    )
    assert codec.encode_event_body(event) == codec.encode_event_body(dataclasses.replace(event, chain=b""))
    assert codec.encode_event_body(event) != codec.encode_event_body(dataclasses.replace(event, text="u"))
