"""A group's configuration as named JSON fields and back: what the operator API takes and `witnessctl` compares.

Flat, with the units in the names, every field always present; the reader is closed: what it does not know, it
refuses with the nearest name. Lease constants stand beside the other fields, because people set them together.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from proto.errors import BadValue, FrameRefused
from proto.groups import GroupConfig, check_group
from proto.lease import LeaseConstants
from proto.limits import ITEMS_MAX, TEXT_CHARS_MAX
from proto.schema import fields_of, reader_of

LABELS_MAX = 32

_CONSTANTS = {name: reader_of(hint) for name, hint in fields_of(LeaseConstants)}
_CONFIG = {name: reader_of(hint) for name, hint in fields_of(GroupConfig) if name not in {"constants", "labels"}}
FIELDS = (*_CONFIG, *_CONSTANTS, "labels")
_REQUIRED = frozenset({"group", "sites", *_CONSTANTS})


def to_fields(config: GroupConfig) -> dict[str, Any]:
    values = {name: getattr(config, name) for name in _CONFIG}
    values |= {name: getattr(config.constants, name) for name in _CONSTANTS}
    plain = {name: getattr(value, "value", value) for name, value in values.items()}
    return {**plain, "sites": list(config.sites), "labels": dict(config.labels)}


def from_fields(raw: Mapping[str, Any]) -> GroupConfig:
    """Raises BadValue for the first field that is not right, or the first rule that the whole breaks."""
    for name in raw:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            raise BadValue(name, raw[name], "unknown field", f"did you mean {near[0]!r}?" if near else "remove it")
    missing = sorted(_REQUIRED - raw.keys())
    if missing:
        raise BadValue(missing[0], None, "is required", "add it")
    constants = LeaseConstants(**{name: _read(name, reader, raw[name]) for name, reader in _CONSTANTS.items()})
    values = {name: _read(name, reader, raw[name]) for name, reader in _CONFIG.items() if name in raw}
    config = GroupConfig(constants=constants, labels=_labels(raw.get("labels", {})), **values)
    check_group(config)
    return config


def _read(name: str, reader: Any, value: Any) -> Any:
    try:
        return reader(value)
    except FrameRefused as error:
        raise BadValue(name, value, str(error), "change it") from error


def _labels(raw: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(raw, dict) or len(raw) > min(LABELS_MAX, ITEMS_MAX):
        raise BadValue("labels", raw, f"a mapping of at most {LABELS_MAX} texts", "change it")
    for key, value in raw.items():
        if not isinstance(key, str) or not isinstance(value, str) or len(key) + len(value) > TEXT_CHARS_MAX:
            raise BadValue(f"labels.{key}", value, f"text to text, at most {TEXT_CHARS_MAX} characters", "shorten it")
        if any("\ud800" <= char <= "\udfff" for char in key + value):
            raise BadValue(
                ascii(f"labels.{key}"), ascii(value), "half of a surrogate pair is no character", "send valid Unicode"
            )
    return tuple(sorted(raw.items()))
