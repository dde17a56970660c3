"""A request's JSON body and query as checked values: closed, typed, bounded, with the nearest name for a typo.

Small on purpose: pydantic would cost a witness 10 MB for six little bodies.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from proto.errors import BadValue
from proto.limits import TEXT_CHARS_MAX
from proto.units import EPOCH_MAX
from witness.http.error_map import Problem
from witness.http.roles import ApiRefused

BODY_BYTES_MAX = 64 * 1024
_WORDS = {str: "text", int: "a whole number", bool: "true or false", dict: "a mapping", list: "a list"}


class Body:
    """The fields of one body. Every field that is read is known; `done` refuses the rest."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._known: set[str] = set()

    def text(self, name: str, default: str | None = None) -> str:
        value: str = self._typed(name, str, default)
        if len(value) > TEXT_CHARS_MAX:
            raise BadValue(name, value, f"at most {TEXT_CHARS_MAX} characters", "shorten it")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise BadValue(name, ascii(value), "half of a surrogate pair is no character", "send valid Unicode")
        return value

    def number(self, name: str) -> int | None:
        value: int | None = self._typed(name, int, None, optional=True)
        if value is not None and not 0 <= value <= EPOCH_MAX:
            raise BadValue(name, value, "must lie between 0 and 2^62-1", "change it")
        return value

    def flag(self, name: str) -> bool:
        value: bool = self._typed(name, bool, None)
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = self._typed(name, dict, None)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        values: list[Any] = self._typed(name, list, [])
        if len(values) > 16 or not all(isinstance(value, str) for value in values):
            raise BadValue(name, values, "at most 16 texts", "change it")
        return tuple(values)

    def numbers(self, name: str) -> tuple[int, ...]:
        values: list[Any] = self._typed(name, list, [])
        if len(values) > 256 or not all(type(value) is int and 0 <= value <= EPOCH_MAX for value in values):
            raise BadValue(name, values, "at most 256 whole numbers", "change it")
        return tuple(values)

    def done(self) -> None:
        for name in self._values:
            if name not in self._known:
                near = difflib.get_close_matches(name, sorted(self._known), n=1)
                remedy = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(self._known))}"
                raise BadValue(name, self._values[name], "unknown field", remedy)

    def _typed(self, name: str, kind: type, default: Any, *, optional: bool = False) -> Any:
        self._known.add(name)
        value = self._values.get(name, default)
        if value is None and optional:
            return None
        if name not in self._values and default is None:
            raise BadValue(name, None, "is required", "add it")
        if type(value) is not kind:
            raise BadValue(name, value, f"{_WORDS[kind]} is expected", "change it")
        return value


async def read_body(request: web.Request) -> Body:
    """Raises ApiRefused or aiohttp's own refusal of what is too large."""
    raw = await request.read()
    try:
        values = json.loads(raw) if raw else {}
    except (ValueError, RecursionError) as error:
        raise ApiRefused(Problem.BAD_REQUEST, f"the body is not JSON: {error!s:.120}") from error
    if not isinstance(values, dict):
        raise ApiRefused(Problem.BAD_REQUEST, "the body must be a JSON object")
    return Body(values)


def query_number(request: web.Request, name: str, default: int, highest: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or int(text) > highest:
        raise BadValue(name, text, f"a whole number from 0 to {highest}", "change it")
    return int(text)
