"""I5 for what is no process: addresses, open ports, a watchdog's patience, a component outside of every guard.

By true time and the authority checker's own account: a resource is gone when the authority of its site has ended, a
counting watchdog resets by then, nothing begins where a required one does not count, and a site that says "down" says
so of its components too. A kernel's lifetimes stand still while its machine does (docs/operating/fencing.md), so as
much longer may a resource be there.
"""

from __future__ import annotations

from collections.abc import Callable

from proto.units import NS_PER_S, GroupId
from witness.sim.clock import RATE_ROUNDING_NS
from witness.sim.raft.checkers import Findings

Place = tuple[GroupId, str]


class HeldChecker:
    def __init__(self, findings: Findings, now: Callable[[], int], until: Callable[[GroupId, str], int]) -> None:
        """`until`: by when the authority of a group at a host has ended at the latest."""
        self._found = findings.found
        self._now = now
        self._until = until
        self._there: dict[Place, dict[str, int]] = {}
        """Since when; with the time in which the machine stood still."""

    def copied(self, host: str, copy: str) -> None:
        for (group, name), there in list(self._there.items()):
            if name == host:
                self._there[group, copy] = dict(there)

    def there(self, group: GroupId, host: str, name: str) -> None:
        """It was opened, or prolonged."""
        self._there.setdefault((group, host), {}).setdefault(name, 0)

    def is_there(self, group: GroupId, host: str, name: str) -> bool:
        return name in self._there.get((group, host), ())

    def slept(self, group: GroupId, host: str, span_ns: int) -> None:
        there = self._there.get((group, host), {})
        for name in there:
            there[name] += span_ns

    def gone(self, group: GroupId, host: str, name: str) -> None:
        slept_ns = self._there.get((group, host), {}).pop(name, 0)
        late_ns = self._now() - self._until(group, host) - slept_ns
        if late_ns > RATE_ROUNDING_NS:
            self._found("resource", f"{host} had {name} of {group} {late_ns / NS_PER_S:.6f} s after its authority")

    def look(self, group: GroupId, host: str) -> None:
        """At the end of all: what is still there."""
        for name in list(self._there.get((group, host), {})):
            self.gone(group, host, name)

    def fed(self, group: GroupId, host: str, resets_ns: int) -> None:
        late_ns = resets_ns - self._until(group, host)
        if late_ns > RATE_ROUNDING_NS:
            self._found("watchdog", f"{host} is reset {late_ns / NS_PER_S:.6f} s after its authority for {group}")

    def begun(self, group: GroupId, host: str, *, unwatched: bool) -> None:
        """The first step of an activation is about to start; `unwatched`: a required watchdog does not count."""
        if unwatched:
            self._found("watchdog", f"{host} begins {group} and its watchdog, which is required, does not count")

    def proven(self, group: GroupId, host: str, *, active: bool) -> None:
        """A guard says that no process of the active role is left; `active`: a component is."""
        if active:
            self._found("component", f"{host} says that {group} is down, and a component is in the active role")

    def said_down(self, group: GroupId, host: str, *, active: bool) -> None:
        """The site says so, and of its resources, too."""
        self.proven(group, host, active=active)
        for name in self._there.get((group, host), ()):
            self._found("resource", f"{host} says that {group} is down, and {name} is there")

    def unheeded(self, group: GroupId, host: str) -> None:
        """A component is in the active role at a dormant site whose agent had the time to see and to end it."""
        self._found("component", f"{host} leaves a component of {group} in the active role while it is dormant")
