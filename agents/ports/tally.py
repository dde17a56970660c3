"""How many addresses talk to each service port, and which ports fell silent between two such looks.

Rule: a port is silent when it had sources before and has none now, and fewer when it has less than `share` of them;
ports without a source before say nothing. Addresses, not devices: many devices behind one router are one.
Pure. Rejected: counting connections (UDP has none, and a device that reconnects all day is not many devices).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.settings import PortSpec
from proto.errors import BadValue

PORTS_KEY = "ports"
PORTS_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Fallen:
    """One port on which fewer talk than did."""

    port: PortSpec
    before: int
    now: int

    @property
    def words(self) -> str:
        return f"{self.port}: {self.before} sources before, {self.now or 'none'} now"


def tally(elements: Iterable[tuple[PortSpec, str]], ports: Iterable[PortSpec]) -> dict[PortSpec, int]:
    """Distinct sources of each of `ports`, 0 included, in their order."""
    sources: dict[PortSpec, set[str]] = {port: set() for port in ports}
    for port, source in elements:
        if port in sources:
            sources[port].add(source)
    return {port: len(found) for port, found in sources.items()}


def fallen(before: Mapping[PortSpec, int], now: Mapping[PortSpec, int], share: float) -> list[Fallen]:
    """The silent ones first, then those that lost most."""
    found = [
        Fallen(port, count, now.get(port, 0))
        for port, count in before.items()
        if count > 0 and (now.get(port, 0) == 0 or now.get(port, 0) < share * count)
    ]
    return sorted(found, key=lambda one: (one.now > 0, one.now - one.before, str(one.port)))


def to_json(group: str, counts: Mapping[PortSpec, int]) -> dict[str, Any]:
    return {"group": group, PORTS_KEY: {str(port): count for port, count in counts.items()}}


def from_json(said: Any, name: str) -> dict[PortSpec, int]:
    """Raises BadValue for what `site-agent ports show --json` did not write; `name` is the argument that named it."""
    rule, remedy = "is what `site-agent ports show --json` printed on the site that was active", "keep one from there"
    ports = said.get(PORTS_KEY) if isinstance(said, dict) else None
    if not isinstance(ports, dict) or len(ports) > PORTS_MAX:
        raise BadValue(name, type(said).__name__, rule, remedy)
    return dict(_counts(ports, name, rule, remedy))


def _counts(ports: Mapping[str, Any], name: str, rule: str, remedy: str) -> Iterator[tuple[PortSpec, int]]:
    for text, count in ports.items():
        number, _, protocol = text.partition("/")
        known = protocol in ("tcp", "udp") and number.isascii() and number.isdigit() and len(number) <= 5
        if not known or type(count) is not int or count < 0:
            raise BadValue(name, f"{text}: {count!r}", rule, remedy)
        yield PortSpec(protocol, int(number)), count
