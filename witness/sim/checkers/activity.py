"""I1 and I2: at most one site of a group is active at any true instant, under an epoch that nobody had before.

A site is *active* from the first activation step in its guard until the guard's namespace is dead; a machine that
stands still (suspended, without power, frozen) is not. After a guest was frozen with all its clocks, no software in it
can know that time passed: what it does until its lease ends by those clocks is counted apart, bounded, and left to the
epoch check at the resource (DESIGN section 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proto.units import NS_PER_S, Epoch, GroupId
from witness.sim.raft.checkers import Findings

Place = tuple[GroupId, str]


@dataclass(slots=True)
class _Thaw:
    """What was frozen goes on with clocks that are behind."""

    since_ns: int
    bound_ns: int


class ActivityChecker:
    def __init__(self, findings: Findings, now: Callable[[], int]) -> None:
        self.activations = 0
        self.excused = 0
        """Overlaps with a site that had been frozen."""
        self.longest_excuse_ns = 0
        self._found = findings.found
        self._now = now
        self._active: dict[GroupId, set[str]] = {}
        self._begun: dict[GroupId, Epoch] = {}
        self._thaws: dict[Place, _Thaw] = {}

    def active(self, group: GroupId) -> list[str]:
        return sorted(self._active.get(group, ()))

    def begun(self, group: GroupId, host: str, epoch: Epoch) -> None:
        """The first activation step of an epoch is about to start."""
        self.activations += 1
        highest = self._begun.get(group, Epoch(0))
        if epoch <= highest:
            self._found("epoch", f"{host} begins {group} under epoch {epoch}, epoch {highest} was begun before")
        self._begun[group] = max(highest, epoch)
        self.running(group, host)

    def running(self, group: GroupId, host: str) -> None:
        """It executes: it began, or its machine goes on."""
        active = self._active.setdefault(group, set())
        active.add(host)
        for other in sorted(active - {host}):
            if (group, host) in self._thaws or (group, other) in self._thaws:
                self.excused += 1
            else:
                self._found("overlap", f"{host} runs {group} while {other} runs it too")

    def stands_still(self, group: GroupId, host: str) -> None:
        """The machine executes nothing; what it ran may go on."""
        self._active.setdefault(group, set()).discard(host)

    def dead(self, group: GroupId, host: str) -> None:
        """Nothing of the group's active role runs on the host any more."""
        self._active.setdefault(group, set()).discard(host)
        thaw = self._thaws.pop((group, host), None)
        if thaw is not None:
            lasted_ns = self._now() - thaw.since_ns
            self.longest_excuse_ns = max(self.longest_excuse_ns, lasted_ns)
            if lasted_ns > thaw.bound_ns:
                text = f"{lasted_ns / NS_PER_S:.3f} s after it was frozen, at most {thaw.bound_ns / NS_PER_S:.3f} s"
                self._found("stale", f"{host} ran {group} for {text}")

    def thawed(self, group: GroupId, host: str, bound_ns: int) -> None:
        """To be told before `running`; the bound is one lease by clocks within their rates."""
        self._thaws[group, host] = _Thaw(self._now(), bound_ns)

    def thawing(self, group: GroupId) -> bool:
        """Something of the group runs by clocks that had been frozen."""
        return any(known == group for known, _ in self._thaws)

    def renewed(self, group: GroupId, host: str) -> None:
        """The witnesses confirmed an attempt that it made after its thaw."""
        self._thaws.pop((group, host), None)
