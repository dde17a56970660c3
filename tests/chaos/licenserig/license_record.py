"""What the vendor's record says: who was active from when to when, which key is the newest, what the law was broken by.

Rule: a site is active from the first connection of any of its services until the kernel closed the last one. Two sites
at one instant are double activation, also when one of them is frozen and executes nothing. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

MS = 1_000_000


@dataclass(slots=True)
class Span:
    site: str
    begin_ns: int
    end_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """An activation that the vendor let through, with the newest key: he lets no other one through."""

    at_ns: int
    site: str


@dataclass(slots=True)
class Record:
    key: str = ""
    """The newest, the only one that is alive."""
    keys: list[str] = field(default_factory=list)
    """All that ever were."""
    exchanges: int = 0
    starts: list[Start] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    open: dict[str, list[str]] = field(default_factory=dict)
    """By site its services that live."""

    def active(self) -> list[str]:
        return sorted(site for site, services in self.open.items() if services)

    def double_ms(self, now_ns: int, since_ns: int = 0) -> float:
        """Of all pairs of sites, from `since_ns` on."""
        total = 0
        for place, one in enumerate(self.spans):
            for other in self.spans[place + 1 :]:
                if one.site != other.site:
                    begin = max(one.begin_ns, other.begin_ns, since_ns)
                    total += max(0, min(_end(one, now_ns), _end(other, now_ns)) - begin)
        return total / MS

    def start_after(self, site: str, at_ns: int) -> Start | None:
        return next((one for one in self.starts if one.site == site and one.at_ns > at_ns), None)


def _end(span: Span, now_ns: int) -> int:
    return now_ns if span.end_ns is None else span.end_ns


def read_record(lines: Iterable[str]) -> Record:
    """A last line that is not whole yet is left out."""
    found = Record()
    for line in lines:
        if line.endswith("\n"):
            _RULES[(said := json.loads(line))["what"]](found, said)
    return found


def _begins(found: Record, said: dict[str, Any]) -> None:
    found.key = said["key"]
    found.keys.append(found.key)


def _exchanged(found: Record, said: dict[str, Any]) -> None:
    _begins(found, said)
    found.exchanges += 1
    if said["started"]:
        found.starts.append(Start(said["at_ns"], said["site"]))


def _violated(found: Record, said: dict[str, Any]) -> None:
    found.violations.append(said["words"])


def _opened(found: Record, said: dict[str, Any]) -> None:
    services = found.open.setdefault(said["site"], [])
    if not services:
        found.spans.append(Span(said["site"], said["at_ns"]))
    services.append(said["instance"])


def _closed(found: Record, said: dict[str, Any]) -> None:
    services = found.open[said["site"]]
    services.remove(said["instance"])
    if not services:
        next(one for one in reversed(found.spans) if one.site == said["site"]).end_ns = said["at_ns"]


_RULES = {"begins": _begins, "exchange": _exchanged, "violation": _violated, "open": _opened, "closed": _closed}
