"""A group's fields as its file writes them, for people: `ttl: 2s` for what the API calls `ttl_ms` and 2000.

Only words: what is sent and compared are the API's fields (witness/group_fields.py), and so is every --json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proto.edge.config_types import duration_words

PPM_PER_PERCENT: Final = 10_000
NOT_SET: Final = "not set"
_NESTED: Final = {"break_glass_key": "break_glass.key", "break_glass_after_ms": "break_glass.after"}
"""What stands below another key in the file."""
_MS, _PPM = "_ms", "_ppm"


def key_of(field: str) -> str:
    return _NESTED.get(field) or field.removesuffix(_MS).removesuffix(_PPM)


def value_of(field: str, value: Any) -> str:
    if value is None or value == "":
        return NOT_SET
    if field.endswith(_MS):
        return duration_words(value) if value else "0s"
    if field.endswith(_PPM):
        return f"{value / PPM_PER_PERCENT:g}%"
    return _yaml(value)


def _yaml(value: Any) -> str:
    """In one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_yaml(one) for one in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
