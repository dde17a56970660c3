"""From annotated value types to strict readers and writers of msgpack arrays, built once at import.

A value becomes the array of its fields in order. The reader checks every type and bound and refuses what it does
not know; nothing is coerced, nothing is ignored. Hot types are NamedTuples of plain fields: msgpack writes them
as they are, and only reading costs anything. Each is built for one feature level (proto.features): fields and members
of enums that came later are neither written nor read, and a field that is not read has its default.

Rejected: pydantic inside (ten times slower per heartbeat), maps with field names on the wire (twice the bytes).
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any

from proto import limits, units
from proto.errors import BadValue, FrameRefused
from proto.features import FEATURE_FIRST, FEATURE_MAX, LEVEL_CEILING, since
from proto.invariants import require

Reader = Callable[[Any], Any]
Writer = Callable[[Any], Any]
Need = Callable[[Any], int]

INT_MAX = units.EPOCH_MAX
INT_MIN = -1
"""Only 'unknown' (-1) is below zero in the protocol."""


def _read_int(raw: Any) -> int:
    if type(raw) is not int or not INT_MIN <= raw <= INT_MAX:
        raise FrameRefused(f"a number from {INT_MIN} to 2^62-1 was expected, not {raw!r:.60}")
    return raw


def _read_bool(raw: Any) -> bool:
    if raw is not True and raw is not False:
        raise FrameRefused(f"true or false was expected, not {raw!r:.60}")
    return raw


def _read_text(raw: Any) -> str:
    if type(raw) is not str or len(raw) > limits.TEXT_CHARS_MAX:
        raise FrameRefused(f"a text of at most {limits.TEXT_CHARS_MAX} characters was expected, not {raw!r:.60}")
    return raw


def _read_bytes(raw: Any) -> bytes:
    if type(raw) is not bytes or len(raw) > limits.FRAME_BYTES_MAX:
        raise FrameRefused(f"at most {limits.FRAME_BYTES_MAX} bytes were expected, not {type(raw).__name__}")
    return raw


def _read_token(raw: Any) -> bytes:
    if type(raw) is not bytes or len(raw) != units.TOKEN_BYTES:
        raise FrameRefused(f"{units.TOKEN_BYTES} random bytes were expected, not {raw!r:.60}")
    return raw


_names_seen: dict[str, str] = {}
_NAMES_SEEN_MAX = 50_000


def _read_name(raw: Any) -> str:
    """Names repeat in every heartbeat: a checked one is remembered (bounded), and interned by the way."""
    known = _names_seen.get(raw) if type(raw) is str else None
    if known is not None:
        return known
    try:
        name = units.check_name(raw, "name")
    except BadValue as error:
        raise FrameRefused(str(error)) from error
    if len(_names_seen) < _NAMES_SEEN_MAX:
        _names_seen[name] = name
    return name


_BY_NAME: dict[Any, Reader] = {
    units.SiteId: _read_name,
    units.GroupId: _read_name,
    units.WitnessId: _read_name,
    units.MemberName: _read_name,
    units.LicenseName: _read_name,
    units.ClusterId: _read_text,
    units.Incarnation: _read_token,
    units.Nonce: _read_token,
    units.Claim: _read_token,
    int: _read_int,
    bool: _read_bool,
    str: _read_text,
    bytes: _read_bytes,
}


def fields_of(cls: type, level: int = FEATURE_MAX) -> list[tuple[str, Any]]:
    """The fields that there are at `level`; later ones stand behind them, so that an array is only cut short."""
    hints = typing.get_type_hints(cls)
    names: list[str] = list(getattr(cls, "_fields", ())) or [field.name for field in dataclasses.fields(cls)]
    levels = [since(f"{cls.__name__}.{name}") for name in names]
    require(levels == sorted(levels), f"{cls.__name__}: a field of a later feature level stands before an earlier one")
    return [(name, hints[name]) for name, came in zip(names, levels, strict=True) if came <= level]


def members_of(cls: type[Enum], level: int) -> list[Enum]:
    return [member for member in cls if since(f"{cls.__name__}.{member.name}") <= level]


def is_record(hint: Any) -> bool:
    return isinstance(hint, type) and (dataclasses.is_dataclass(hint) or hasattr(hint, "_fields"))


def _enum_reader(cls: type[Enum], level: int) -> Reader:
    members = {member.value: member for member in members_of(cls, level)}

    def read(raw: Any) -> Enum:
        member = members.get(raw) if type(raw) in (str, int) else None
        if member is None:
            raise FrameRefused(f"{cls.__name__} has no {raw!r:.60}")
        return member

    return read


def _array_reader(item: Reader) -> Reader:
    def read(raw: Any) -> tuple[Any, ...]:
        if type(raw) is not list or len(raw) > limits.ITEMS_MAX:
            raise FrameRefused(f"a list of at most {limits.ITEMS_MAX} items was expected")
        return tuple([item(one) for one in raw])

    return read


def _list_reader(item: Reader, make: Callable[[list[Any]], Any]) -> Reader:
    """Lists, sets and dicts stand in images only, whose size is capped as a whole."""

    def read(raw: Any) -> Any:
        if type(raw) is not list:
            raise FrameRefused("a list was expected")
        return make([item(one) for one in raw])

    return read


def _fixed_reader(items: tuple[Reader, ...]) -> Reader:
    def read(raw: Any) -> tuple[Any, ...]:
        if type(raw) is not list or len(raw) != len(items):
            raise FrameRefused(f"a list of {len(items)} items was expected")
        return tuple([item(one) for item, one in zip(items, raw, strict=True)])

    return read


def record_reader(cls: type, level: int = FEATURE_MAX) -> Reader:
    readers = tuple((name, reader_of(hint, level)) for name, hint in fields_of(cls, level))
    count = len(readers)

    def read(raw: Any) -> Any:
        if type(raw) is not list or len(raw) != count:
            raise FrameRefused(f"{cls.__name__} has {count} fields, not {raw!r:.60}")
        try:
            return cls(*[reader(one) for (_, reader), one in zip(readers, raw, strict=True)])
        except FrameRefused as error:
            raise FrameRefused(f"{cls.__name__}.{_failing(readers, raw)}: {error}") from error

    return read


def _failing(readers: tuple[tuple[str, Reader], ...], raw: list[Any]) -> str:
    for (name, reader), one in zip(readers, raw, strict=True):
        try:
            reader(one)
        except FrameRefused:
            return name
    return "?"


def reader_of(hint: Any, level: int = FEATURE_MAX) -> Reader:
    if hint in _BY_NAME:
        return _BY_NAME[hint]
    if hasattr(hint, "__supertype__"):
        return reader_of(hint.__supertype__, level)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum_reader(hint, level)
    if is_record(hint):
        return record_reader(hint, level)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return _array_reader(reader_of(args[0], level))
    if origin is tuple:
        return _fixed_reader(tuple(reader_of(arg, level) for arg in args))
    if origin is list:
        return _list_reader(reader_of(args[0], level), list)
    if origin is set:
        return _list_reader(reader_of(args[0], level), set)
    if origin is dict:
        return _list_reader(_fixed_reader((reader_of(args[0], level), reader_of(args[1], level))), dict)
    if origin in (typing.Union, types.UnionType) and len(args) == 2 and type(None) in args:
        inner = reader_of(next(arg for arg in args if arg is not type(None)), level)
        return lambda raw: None if raw is None else inner(raw)
    raise TypeError(f"the codec knows no type {hint!r}")


def writer_of(hint: Any, level: int = FEATURE_MAX) -> Writer | None:
    """None when msgpack may write the value as it is."""
    if hint in _BY_NAME:
        return None
    if hasattr(hint, "__supertype__"):
        return writer_of(hint.__supertype__, level)
    if isinstance(hint, type) and issubclass(hint, int):
        return None
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda value: value.value
    if is_record(hint):
        return record_writer(hint, level)
    origin = typing.get_origin(hint)
    if origin in (dict, set, list):
        return _collection_writer(origin, typing.get_args(hint), level)
    args = [arg for arg in typing.get_args(hint) if arg not in (Ellipsis, type(None))]
    inner = [writer_of(arg, level) for arg in args]
    if all(writer is None for writer in inner):
        return None
    first = inner[0]
    if first is None or len(set(args)) != 1:
        raise TypeError(f"the codec cannot write {hint!r}")
    if typing.get_origin(hint) is tuple:
        return lambda value: [first(one) for one in value]
    return lambda value: None if value is None else first(value)


def _collection_writer(origin: Any, args: tuple[Any, ...], level: int) -> Writer:
    """Sets and dicts are written sorted: equal states have equal bytes on every replica."""
    writers = [writer_of(arg, level) or (lambda value: value) for arg in args]
    if origin is dict:
        key, item = writers
        return lambda value: sorted(([key(k), item(v)] for k, v in value.items()), key=lambda pair: pair[0])
    item = writers[0]
    if origin is set:
        return lambda value: sorted(item(one) for one in value)
    return lambda value: [item(one) for one in value]


def record_writer(cls: type, level: int = FEATURE_MAX) -> Writer | None:
    plan = tuple((name, writer_of(hint, level)) for name, hint in fields_of(cls, level))
    whole = len(plan) == len(fields_of(cls, LEVEL_CEILING))
    if not dataclasses.is_dataclass(cls) and whole and all(writer is None for _, writer in plan):
        return None

    def write(value: Any) -> list[Any]:
        return [getattr(value, name) if writer is None else writer(getattr(value, name)) for name, writer in plan]

    return write


def need_of(hint: Any) -> Need | None:
    """Which feature level a value of this type needs; None when each of them has been there from the first."""
    if hasattr(hint, "__supertype__"):
        return need_of(hint.__supertype__)
    if isinstance(hint, type) and issubclass(hint, Enum):
        levels = {member: since(f"{hint.__name__}.{member.name}") for member in hint}
        return None if set(levels.values()) <= {FEATURE_FIRST} else levels.__getitem__
    if is_record(hint):
        return _record_need(hint)
    needs = [need_of(arg) for arg in typing.get_args(hint) if arg not in (Ellipsis, type(None))]
    if all(need is None for need in needs):
        return None
    first = needs[0]
    if first is None or len(needs) != 1:
        raise TypeError(f"the codec cannot tell which feature level {hint!r} needs")
    if typing.get_origin(hint) in (tuple, list, set):
        return lambda value: max(map(first, value), default=FEATURE_FIRST)
    return lambda value: FEATURE_FIRST if value is None else first(value)


def _record_need(cls: type) -> Need | None:
    """A field that came later and has its default is not written, so it needs nothing."""
    blank = _defaults_of(cls)
    later: list[tuple[str, int, Any]] = []
    inner: list[tuple[str, Need]] = []
    for name, hint in fields_of(cls, LEVEL_CEILING):
        came, need = since(f"{cls.__name__}.{name}"), need_of(hint)
        if came > FEATURE_FIRST:
            require(name in blank, f"{cls.__name__}.{name} came later and has no default")
            later.append((name, came, blank[name]))
        if need is not None:
            inner.append((name, need))
    if not later and not inner:
        return None

    def needed(value: Any) -> int:
        levels = [came for name, came, default in later if getattr(value, name) != default]
        levels += [need(getattr(value, name)) for name, need in inner]
        return max(levels, default=FEATURE_FIRST)

    return needed


def _defaults_of(cls: type) -> dict[str, Any]:
    if not dataclasses.is_dataclass(cls):
        return dict(cls._field_defaults)  # type: ignore[attr-defined]  # a NamedTuple
    made = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            made[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            made[field.name] = field.default_factory()
    return made
