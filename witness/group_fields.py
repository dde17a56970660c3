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
from proto.license import EscrowPolicy, LicenseSpec
from proto.limits import ITEMS_MAX, TEXT_CHARS_MAX
from proto.schema import fields_of, reader_of
from proto.units import LicenseName, check_name

LABELS_MAX = 32
_OWN = frozenset({"constants", "labels", "licenses"})
"""Fields that have no plain value."""
_ESCROW = {policy.value: policy for policy in EscrowPolicy}

_CONSTANTS = {name: reader_of(hint) for name, hint in fields_of(LeaseConstants)}
_CONFIG = {name: reader_of(hint) for name, hint in fields_of(GroupConfig) if name not in _OWN}
FIELDS = (*_CONFIG, *_CONSTANTS, "labels", "licenses")
_REQUIRED = frozenset({"group", "sites", *_CONSTANTS})


def to_fields(config: GroupConfig) -> dict[str, Any]:
    values = {name: getattr(config, name) for name in _CONFIG}
    values |= {name: getattr(config.constants, name) for name in _CONSTANTS}
    plain = {name: getattr(value, "value", value) for name, value in values.items()}
    licenses = [{"name": one.name, "escrow": one.escrow.value} for one in config.licenses]
    return {**plain, "sites": list(config.sites), "labels": dict(config.labels), "licenses": licenses}


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
    labels, licenses = _labels(raw.get("labels", {})), _licenses(raw.get("licenses", []))
    config = GroupConfig(constants=constants, labels=labels, licenses=licenses, **values)
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


def _licenses(raw: Any) -> tuple[LicenseSpec, ...]:
    if not isinstance(raw, list) or len(raw) > ITEMS_MAX:
        raise BadValue("licenses", raw, f"a list of at most {ITEMS_MAX} mappings", "write [{name: ..., escrow: ...}]")
    return tuple(_license(one, f"licenses.{number}") for number, one in enumerate(raw))


def _license(raw: Any, field: str) -> LicenseSpec:
    if not isinstance(raw, dict) or not {"name"} <= raw.keys() <= {"name", "escrow"}:
        raise BadValue(field, raw, "a mapping with name, and escrow if you like", "write {name: ..., escrow: ...}")
    escrow = raw.get("escrow", EscrowPolicy.REQUIRED.value)
    if not isinstance(escrow, str) or escrow not in _ESCROW:
        raise BadValue(f"{field}.escrow", escrow, f"is none of: {', '.join(_ESCROW)}", "use one of these")
    return LicenseSpec(LicenseName(check_name(raw["name"], f"{field}.name")), _ESCROW[escrow])
