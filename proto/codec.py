"""Bytes <-> values, for four families: agents' streams, log entries, health reports, ledger events.

A frame is msgpack of [version, tag, field, ...]. Size, version, tag, count and every field are checked before
anything is built; an unknown tag or a surplus field is refused, never skipped. Families have their own tags, so
that bytes of one are never read as another.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Generic, TypeVar

import msgpack

from proto import commands, events, health, limits, messages, units
from proto.errors import FrameRefused
from proto.schema import Reader, Writer, reader_of, record_reader, record_writer

PROTOCOL_VERSION = 1

T = TypeVar("T")


def unpack(data: bytes, bytes_max: int, items_max: int = limits.ITEMS_MAX * 2) -> Any:
    """Plain values from bytes, capped in every direction; raises FrameRefused and nothing else."""
    if len(data) > bytes_max:
        raise FrameRefused(f"{len(data)} bytes, at most {bytes_max} are taken")
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_ext_len=0,
            max_map_len=0,
            max_array_len=items_max,
            max_str_len=limits.TEXT_CHARS_MAX * 4,
            max_bin_len=bytes_max,
        )
    except (ValueError, TypeError, RecursionError, UnicodeError, OverflowError) as error:
        raise FrameRefused(f"not a frame: {type(error).__name__}: {error!s:.80}") from error
    except msgpack.UnpackException as error:
        raise FrameRefused(f"not a frame: {type(error).__name__}") from error


def pack(value: Any) -> bytes:
    """The other way, for plain values of our own making; equal values give equal bytes."""
    data: bytes = msgpack.packb(value, use_bin_type=True)
    return data


class Family(Generic[T]):
    """One closed set of value types, each with a tag that is never given to another."""

    def __init__(self, name: str, bytes_max: int, types: dict[int, type]) -> None:
        self.name = name
        self.bytes_max = bytes_max
        self._tags: dict[type, tuple[int, Writer | None]] = {
            cls: (tag, record_writer(cls)) for tag, cls in types.items()
        }
        self._readers: dict[int, Reader] = {tag: record_reader(cls) for tag, cls in types.items()}

    def to_list(self, value: T) -> list[Any]:
        tag, writer = self._tags[type(value)]
        return [tag, *(list(value) if writer is None else writer(value))]  # type: ignore[call-overload]  # NamedTuple

    def from_list(self, raw: Any) -> T:
        if type(raw) is not list or not raw or type(raw[0]) is not int:
            raise FrameRefused(f"{self.name}: a tagged list was expected")
        reader = self._readers.get(raw[0])
        if reader is None:
            raise FrameRefused(f"{self.name}: unknown tag {raw[0]}; is the other side newer?")
        value: T = reader(raw[1:])
        return value

    def encode(self, value: T) -> bytes:
        try:
            data: bytes = msgpack.packb([PROTOCOL_VERSION, *self.to_list(value)], use_bin_type=True)
        except (ValueError, OverflowError) as error:  # half a surrogate pair, a number beyond 64 bits
            raise FrameRefused(f"{self.name}: cannot be written: {type(error).__name__}") from error
        if len(data) > self.bytes_max:
            raise FrameRefused(f"{self.name}: {len(data)} bytes, at most {self.bytes_max} may be sent")
        return data

    def decode(self, data: bytes) -> T:
        """Raises FrameRefused, and nothing else, for whatever is not exactly one value of this family."""
        raw = unpack(data, self.bytes_max)
        if type(raw) is not list or len(raw) < 2:
            raise FrameRefused(f"{self.name}: [version, tag, ...] was expected")
        if raw[0] != PROTOCOL_VERSION or type(raw[0]) is not int:
            raise FrameRefused(f"{self.name}: version {raw[0]!r:.20}, this side speaks {PROTOCOL_VERSION}")
        return self.from_list(raw[1:])


AGENT_MESSAGES: Family[messages.AgentMessage] = Family(
    "agent message",
    limits.FRAME_BYTES_MAX,
    {1: messages.Hello, 2: messages.Heartbeat, 3: messages.Release, 4: messages.Ping},
)
WITNESS_MESSAGES: Family[messages.WitnessMessage] = Family(
    "witness message",
    limits.FRAME_BYTES_MAX,
    {
        1: messages.Welcome,
        2: messages.Goodbye,
        3: messages.HeartbeatAnswer,
        4: messages.ReleaseAnswer,
        5: messages.Notice,
        6: messages.Pong,
    },
)
REPORTS: Family[health.HealthReport] = Family("report", limits.REPORT_BYTES_MAX, {1: health.HealthReport})
EVENTS: Family[events.Event] = Family("event", 16 * 1024, {1: events.Event})
COMMANDS: Family[commands.Command] = Family(
    "command",
    limits.COMMAND_BYTES_MAX,
    {
        1: commands.FoundCluster,
        2: commands.ConfigureGroup,
        3: commands.DeleteGroup,
        4: commands.HeartbeatFrame,
        5: commands.Votes,
        6: commands.Grant,
        7: commands.ReleaseLease,
        8: commands.Revoke,
        9: commands.SetMode,
        10: commands.SetMaintenance,
        11: commands.SetQuarantine,
    },
)

_ENTRY_HEAD = tuple(reader_of(hint) for hint in (units.WitnessId, units.Nonce, int, units.WallMs))


def encode_command(command: commands.Command) -> bytes:
    return COMMANDS.encode(command)


def encode_entry(entry: commands.LogEntry, encoded: list[bytes]) -> bytes:
    """`encoded` are the entry's commands, each by `encode_command`: they are measured before they are gathered."""
    head = [entry.proposer, entry.session, entry.number, entry.wall_ms]
    data: bytes = msgpack.packb([PROTOCOL_VERSION, *head, encoded], use_bin_type=True)
    return data


def decode_entry(data: bytes) -> commands.LogEntry:
    raw = unpack(data, limits.ENTRY_BYTES_MAX)
    if type(raw) is not list or len(raw) != 6 or raw[0] != PROTOCOL_VERSION or type(raw[5]) is not list:
        raise FrameRefused("log entry: [version, proposer, session, number, wall, commands] was expected")
    proposer, session, number, wall_ms = (read(one) for read, one in zip(_ENTRY_HEAD, raw[1:5], strict=True))
    return commands.LogEntry(
        proposer, session, number, wall_ms, tuple(COMMANDS.decode(_command_bytes(one)) for one in raw[5])
    )


def _command_bytes(raw: Any) -> bytes:
    if type(raw) is not bytes:
        raise FrameRefused("log entry: commands are bytes")
    return raw


def encode_event_body(event: events.Event) -> bytes:
    """What the chain hash covers: the event with an empty chain."""
    return EVENTS.encode(dataclasses.replace(event, chain=b""))
