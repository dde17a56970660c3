"""Bytes <-> values, for four families: agents' streams, log entries, health reports, ledger events.

A frame is msgpack of [level, tag, field, ...]: the feature level that the value needs (proto.features), in the second
byte, so that it is read before anything else. Size, level, tag, count and every field are checked before anything is
built; an unknown tag or a surplus field is refused, never skipped. Families have their own tags, so that bytes of one
are never read as another. A value is written at the lowest level that can say it: equal on every version.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Generic, TypeVar

import msgpack

from proto import commands, events, health, limits, messages, units
from proto.errors import FrameRefused
from proto.features import FEATURE_FIRST, FEATURE_MAX, LEVEL_CEILING, UpgradeRequired, require_level, since
from proto.schema import Need, Reader, Writer, need_of, reader_of, record_reader, record_writer

_FIXED_ARRAY: Final = range(0x92, 0xA0)
"""msgpack's arrays of 2 to 15 fields have their length in the first byte, so the level is the second one."""
_LONG_ARRAY: Final = 0xDC
_FIXED_FIELDS_MAX: Final = b"\x00\x0f"
"""Longer ones have it in the two bytes behind the first. Only a report has so many fields, from level 2 on; entries,
commands and images keep the level in their second byte."""

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


def level_of(data: bytes) -> int | None:
    """The feature level that a frame, an entry or an image says it needs; None for what is none of them."""
    at = 1
    if len(data) > 3 and data[0] == _LONG_ARRAY and data[1:3] > _FIXED_FIELDS_MAX:
        at = 3
    elif len(data) < 2 or data[0] not in _FIXED_ARRAY:
        return None
    return data[at] if FEATURE_FIRST <= data[at] <= LEVEL_CEILING else None


class NewerFrame(FrameRefused):
    """The frame needs a higher feature level than its reader works at."""


class UnknownTag(FrameRefused):
    """The frame's level is known and its tag is not: whoever wrote it is newer and forgot to say so, or broken."""


class Family(Generic[T]):
    """One closed set of value types, each with a tag that is never given to another."""

    def __init__(self, name: str, bytes_max: int, types: dict[int, type]) -> None:
        self.name = name
        self.bytes_max = bytes_max
        self._types = types
        self._tags = {cls: tag for tag, cls in types.items()}
        self._needs: dict[type, Need | None] = {cls: _need(cls) for cls in types.values()}
        self._writers: dict[int, dict[type, Writer | None]] = {}
        self._readers: dict[int, dict[int, Reader]] = {}

    def need(self, value: T) -> int:
        """The lowest feature level that can say this value."""
        need = self._needs[type(value)]
        return FEATURE_FIRST if need is None else need(value)

    def to_list(self, value: T, level: int = FEATURE_FIRST) -> list[Any]:
        writers = self._writers.get(level)
        if writers is None:
            writers = self._writers[level] = {cls: record_writer(cls, level) for cls in self._types.values()}
        writer = writers[type(value)]
        return [self._tags[type(value)], *(list(value) if writer is None else writer(value))]  # type: ignore[call-overload]  # NamedTuple

    def from_list(self, raw: Any, level: int = FEATURE_FIRST) -> T:
        if type(raw) is not list or not raw or type(raw[0]) is not int:
            raise FrameRefused(f"{self.name}: a tagged list was expected")
        readers = self._readers.get(level)
        if readers is None:
            known = {tag: cls for tag, cls in self._types.items() if since(cls.__name__) <= level}
            readers = self._readers[level] = {tag: record_reader(cls, level) for tag, cls in known.items()}
        reader = readers.get(raw[0])
        if reader is None:
            raise UnknownTag(f"{self.name}: unknown tag {raw[0]}; is the other side newer?")
        value: T = reader(raw[1:])
        return value

    def encode(self, value: T) -> bytes:
        level = self.need(value)
        if level > LEVEL_CEILING:
            raise FrameRefused(f"{self.name}: there is no feature level {level}")
        try:
            data: bytes = msgpack.packb([level, *self.to_list(value, level)], use_bin_type=True)
        except (ValueError, OverflowError) as error:  # half a surrogate pair, a number beyond 64 bits
            raise FrameRefused(f"{self.name}: cannot be written: {type(error).__name__}") from error
        if len(data) > self.bytes_max:
            raise FrameRefused(f"{self.name}: {len(data)} bytes, at most {self.bytes_max} may be sent")
        return data

    def decode(self, data: bytes, level_max: int = FEATURE_MAX) -> T:
        """Raises FrameRefused, and nothing else, for whatever is not exactly one value of this family."""
        level = level_of(data)
        if level is not None and level > level_max:
            raise NewerFrame(f"{self.name}: version {level}, this side speaks up to {level_max}")
        raw = unpack(data, self.bytes_max)
        if type(raw) is not list or len(raw) < 2:
            raise FrameRefused(f"{self.name}: [version, tag, ...] was expected")
        if level is None or level != raw[0]:
            raise FrameRefused(f"{self.name}: version {raw[0]!r:.20}, this side speaks up to {level_max}")
        value = self.from_list(raw[1:], level)
        if self.need(value) > level:
            raise FrameRefused(f"{self.name}: it says level {level} and needs {self.need(value)}")
        return value


def _need(cls: type) -> Need | None:
    """A type that came later needs its level; one that names a level needs that (RaiseFeatureLevel)."""
    own = getattr(cls, "needs", None)
    if own is not None:
        found: Need = own
        return found
    came, need = since(cls.__name__), need_of(cls)
    if came == FEATURE_FIRST or need is None:
        return need if came == FEATURE_FIRST else lambda _value: came
    return lambda value: max(came, need(value))


AGENT_MESSAGES: Family[messages.AgentMessage] = Family(
    "agent message",
    limits.FRAME_BYTES_MAX,
    {1: messages.Hello, 2: messages.Heartbeat, 3: messages.Release, 4: messages.Ping, 5: messages.EscrowPut},
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
        7: messages.GroupSites,
        8: messages.EscrowPutAnswer,
        9: messages.EscrowValue,
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
        12: commands.RaiseFeatureLevel,
        13: commands.Reconcile,
        14: commands.PutEscrow,
        15: commands.WaiveEscrow,
        16: commands.ClockReport,
        17: commands.BeginTelling,
        18: commands.EndTelling,
        19: commands.Acknowledge,
        20: commands.NoteWould,
        21: commands.NoteUnusual,
        22: commands.NoteStandby,
    },
)

_ENTRY_HEAD = tuple(reader_of(hint) for hint in (units.WitnessId, units.Nonce, int, units.WallMs))


def encode_command(command: commands.Command) -> bytes:
    return COMMANDS.encode(command)


def encode_entry(entry: commands.LogEntry, encoded: list[bytes]) -> bytes:
    """`encoded` are the entry's commands, each by `encode_command`: they are measured before they are gathered.

    The entry needs what the most demanding of them needs.
    """
    level = max((level_of(one) or FEATURE_FIRST for one in encoded), default=FEATURE_FIRST)
    head = [entry.proposer, entry.session, entry.number, entry.wall_ms]
    data: bytes = msgpack.packb([level, *head, encoded], use_bin_type=True)
    return data


def decode_entry(data: bytes, feature_max: int = FEATURE_MAX) -> commands.LogEntry:
    """Raises UpgradeRequired for what a newer version wrote, and FrameRefused for what nobody can read.

    The level is looked at before anything else. A command that is not known at a known level is no garbage either:
    a newer witness may apply it, and to refuse here what it applies there would part the replicas for good.
    """
    level = level_of(data)
    if level is not None:
        require_level(level, feature_max, "an entry of the log")
    raw = unpack(data, limits.ENTRY_BYTES_MAX)
    if level is None or type(raw) is not list or len(raw) != 6 or type(raw[5]) is not list:
        raise FrameRefused("log entry: [version, proposer, session, number, wall, commands] was expected")
    proposer, session, number, wall_ms = (read(one) for read, one in zip(_ENTRY_HEAD, raw[1:5], strict=True))
    try:
        inside = tuple(COMMANDS.decode(_command_bytes(one), level) for one in raw[5])
    except UnknownTag as error:
        raise UpgradeRequired(
            f"an entry of the log holds what this version does not know ({error}): install the version that the "
            "other witnesses run, or a newer one, and start this witness again; its data stays as it is"
        ) from error
    return commands.LogEntry(proposer, session, number, wall_ms, inside)


def _command_bytes(raw: Any) -> bytes:
    if type(raw) is not bytes:
        raise FrameRefused("log entry: commands are bytes")
    return raw


def encode_event_body(event: events.Event) -> bytes:
    """What the chain hash covers: the event with an empty chain."""
    return EVENTS.encode(dataclasses.replace(event, chain=b""))
