"""The words of configuration files as types: durations, addresses, paths, names. Each says what is wrong and why.

A bare number is no duration: `ttl: 3` was meant as seconds by half of its writers and as milliseconds by the rest.
"""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

from proto import units
from proto.edge.config_file import refusal, refusal_of
from proto.errors import BadValue
from proto.units import GroupId, MemberName, SiteId, WitnessId, check_name

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s?(ms|s|m|h|d)")
_DURATION_RULE = "a duration is a number with a unit: ms, s, m, h or d"
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def parse_duration_ms(value: Any) -> int:
    """Reads "3s", "500ms", "1.5m" as whole milliseconds; raises pydantic's error with a remedy."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise refusal(_DURATION_RULE, f'write "{value}s" or "{value}ms", whichever you mean')
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise refusal(_DURATION_RULE, 'write for example "3s" or "500ms"')
    exact = Decimal(match[1]) * _UNITS_MS[match[2]]
    if exact != int(exact):
        raise refusal("a duration is a whole number of milliseconds", "round it")
    return int(exact)


def duration_between(low_ms: int, high_ms: int) -> AfterValidator:
    """Bounds that are told with their units; stands beside DurationMs in an Annotated."""

    def check(value_ms: int) -> int:
        if not low_ms <= value_ms <= high_ms:
            rule = f"must lie between {duration_words(low_ms)} and {duration_words(high_ms)}"
            raise refusal(rule, "choose a duration in that range")
        return value_ms

    return AfterValidator(check)


def duration_words(value_ms: int) -> str:
    """The shortest exact way to write it: 90000 as "90s", 3600000 as "1h"."""
    for unit in ("d", "h", "m", "s"):
        factor = _UNITS_MS[unit]
        if value_ms >= factor and value_ms % factor == 0:
            return f"{value_ms // factor}{unit}"
    return f"{value_ms}ms"


class Address(NamedTuple):
    """A TCP address; IPv6 hosts are without brackets here and with them in text."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Only an address that cannot leave this machine; a name other than localhost may."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(value: Any) -> Address:
    if isinstance(value, Address):
        return value
    rule, remedy = "an address is host:port", 'write for example "10.0.0.1:7400" or "[fd00::1]:7400"'
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not port.isdecimal() or len(port) > 5:
        raise refusal(rule, remedy)
    if not 1 <= int(port) <= 65_535:
        raise refusal("a port lies between 1 and 65535", "choose a free port in that range")
    if host.startswith("[") and host.endswith("]"):
        try:
            return Address(str(ipaddress.IPv6Address(host[1:-1])), int(port))
        except ValueError as error:
            raise refusal("an IPv6 address is expected between the brackets", remedy) from error
    if _HOST.fullmatch(host) is None:
        raise refusal(rule, remedy)
    return Address(host, int(port))


def _parse_path(value: Any, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise refusal("a path is expected", "write a path; relative ones start at the file's own directory")
    base = (info.context or {}).get("base", Path())
    return (Path(base) / value).absolute()


def _name(field: str) -> Any:
    def parse(value: Any) -> str:
        try:
            return check_name(value, field)
        except BadValue as error:
            raise refusal_of(error) from error

    return parse


_NAME_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"})

DurationMs = Annotated[
    int,
    BeforeValidator(parse_duration_ms),
    PlainSerializer(duration_words, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s?(ms|s|m|h|d)$", "examples": ["3s", "500ms"]}),
]
"""Milliseconds, written with a unit; defaults are written with it too, and validated: `Field(default="3s")`."""
ConfigAddress = Annotated[
    Address,
    PlainValidator(parse_address),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.1:7400"]}),
]
ConfigPath = Annotated[
    Path,
    PlainValidator(_parse_path),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "path"}),
]
"""Absolute after loading; relative ones start at the directory of the configuration file."""
SiteName = Annotated[SiteId, BeforeValidator(_name("site")), _NAME_SCHEMA]
GroupName = Annotated[GroupId, BeforeValidator(_name("group")), _NAME_SCHEMA]
WitnessName = Annotated[WitnessId, BeforeValidator(_name("witness")), _NAME_SCHEMA]
MemberId = Annotated[MemberName, BeforeValidator(_name("member")), _NAME_SCHEMA]
LicenseName = Annotated[units.LicenseName, BeforeValidator(_name("license")), _NAME_SCHEMA]
