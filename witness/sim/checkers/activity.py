"""I1 and I2: at most one site of a group is active at any true instant, under an epoch that nobody had before.

What runs on any host of a site makes the site active.
A site is *active* from the first activation step in its guard until the guard's namespace is dead; a machine that
stands still (suspended, without power, frozen) is not. After a guest was frozen with all its clocks, no software in it
can know that time passed: what it does until its lease ends by those clocks is counted apart, bounded, and left to the
epoch check at the resource (DESIGN section 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proto.units import NS_PER_S, Epoch, GroupId
from witness.sim.checkers.copies import CopiesChecker
from witness.sim.clock import RATE_ROUNDING_NS
from witness.sim.raft.checkers import Findings

Place = tuple[GroupId, str]


@dataclass(slots=True)
class _Thaw:
    """What was frozen goes on with clocks that are behind."""

    since_ns: int
    bound_ns: int


class ActivityChecker:
    def __init__(
        self,
        findings: Findings,
        now: Callable[[], int],
        place_of: Callable[[str], str] = lambda host: host,
        bound_by_a_copy: Callable[[GroupId, str], bool] = lambda _group, _host: False,
        copies: CopiesChecker | None = None,
    ) -> None:
        """`place_of`: the host that stands for the site of a host; a copy of a machine is a place of its own.

        `bound_by_a_copy`: it begins beside a promise that another copy of its machine gave.
        """
        self._bound_by_a_copy = bound_by_a_copy
        self._copies = copies
        self._place_of = place_of
        self.activations = 0
        self.moves = 0
        """Epochs that were begun in place."""
        self.windows = 0
        """Times in which a site that had been frozen and another one were active."""
        self.window_ns_max = 0
        self.copied_windows = 0
        """Times in which two copies of a running machine were active, or one beside whom the other one let in."""
        self.copied_window_ns_max = 0
        self._found = findings.found
        self._now = now
        self._active: dict[GroupId, set[str]] = {}
        self._begun: dict[GroupId, dict[Epoch, set[str]]] = {}
        """By which hosts, all of one place."""
        self._thaws: dict[Place, _Thaw] = {}
        self._still_since: dict[Place, int] = {}
        """Of what is there and does not execute."""
        self._window_ns: dict[GroupId, tuple[int, bool]] = {}
        """Since when one is open, and whether copies opened it."""

    def active(self, group: GroupId) -> list[str]:
        return sorted(self._active.get(group, ()))

    def begun(self, group: GroupId, host: str, epoch: Epoch) -> None:
        """The first activation step of an epoch is about to start."""
        place = self._place_of(host)
        self.activations += place == host
        begun = self._begun.setdefault(group, {})
        highest, hosts = max(begun, default=Epoch(0)), begun.setdefault(epoch, set())
        again = host in hosts or any(self._strange(host, other) for other in hosts)
        if again or (epoch < highest and not self._behind(group, host)):
            self._found("epoch", f"{host} begins {group} under epoch {epoch}, epoch {highest} was begun before")
        hosts.add(host)
        self.running(group, host)

    def moved(self, group: GroupId, host: str, epoch: Epoch) -> None:
        """What runs goes on under a new epoch, without a stop."""
        place, begun = self._place_of(host), self._begun.setdefault(group, {})
        highest, hosts = max(begun, default=Epoch(0)), begun.setdefault(epoch, set())
        again = host in hosts or any(self._strange(host, other) for other in hosts)
        if (again or epoch < highest) and not self._behind(group, host):
            self._found("epoch", f"{host} goes on with {group} under epoch {epoch}, {highest} was begun before")
        hosts.add(host)
        self.moves += place == host

    def running(self, group: GroupId, host: str) -> None:
        """It executes: it began, or its machine goes on."""
        self._still_since.pop((group, host), None)
        active = self._active.setdefault(group, set())
        active.add(host)
        for other in sorted(one for one in active if self._place_of(one) != self._place_of(host)):
            if self.excused(group, host) or self.excused(group, other):
                self._window_ns.setdefault(group, (self._now(), False))
            elif self._copied(group, host, other):
                self._window_ns.setdefault(group, (self._now(), True))
            else:
                self._found("overlap", f"{host} runs {group} while {other} runs it too")

    def stands_still(self, group: GroupId, host: str) -> None:
        """The machine executes nothing; what it ran may go on."""
        self._still_since[group, host] = self._now()
        self._ends(group, host)

    def dead(self, group: GroupId, host: str) -> None:
        """Nothing of the group's active role runs on the host any more."""
        self._ends(group, host)
        executed_until_ns = self._still_since.pop((group, host), self._now())
        thaw = self._thaws.pop((group, host), None)
        if thaw is not None:
            lasted_ns = executed_until_ns - thaw.since_ns
            if lasted_ns > thaw.bound_ns + RATE_ROUNDING_NS:
                text = f"{lasted_ns / NS_PER_S:.3f} s after it was frozen, at most {thaw.bound_ns / NS_PER_S:.3f} s"
                self._found("stale", f"{host} ran {group} for {text}")

    def _ends(self, group: GroupId, host: str) -> None:
        active = self._active.setdefault(group, set())
        active.discard(host)
        if len({self._place_of(one) for one in active}) >= 2 or group not in self._window_ns:
            return
        since_ns, copied = self._window_ns.pop(group)
        lasted_ns = self._now() - since_ns
        if copied:
            self.copied_windows += 1
            self.copied_window_ns_max = max(self.copied_window_ns_max, lasted_ns)
        else:
            self.windows += 1
            self.window_ns_max = max(self.window_ns_max, lasted_ns)

    # -- copies of a running machine ------------------------------------------------------------------------

    def copied(self, group: GroupId, host: str, copy: str) -> None:
        """Its machine is there twice from now on, with all that ran."""
        for hosts in self._begun.get(group, {}).values():
            if host in hosts:
                hosts.add(copy)
        if (group, host) in self._thaws:
            self._thaws[group, copy] = self._thaws[group, host]
        if host in self._active.get(group, ()):
            self.running(group, copy)

    def _copied(self, group: GroupId, host: str, other: str) -> bool:
        """One of them goes on beside its copy, or beside whom its copy let in, until its own lease has run out."""
        copies = self._copies
        if copies is None:
            return False
        lags = copies.under_its_feet(group, host) or copies.under_its_feet(group, other)
        return lags or copies.of_one_run(group, host, other)

    def _behind(self, group: GroupId, host: str) -> bool:
        return self.excused(group, host) or (self._copies is not None and self._copies.under_its_feet(group, host))

    def _strange(self, host: str, other: str) -> bool:
        """Not of the same place, nor a copy that began when it did."""
        ours = self._copies is not None and other in self._copies.siblings(host)
        return self._place_of(other) != self._place_of(host) and not ours

    def thawed(self, group: GroupId, host: str, bound_ns: int) -> None:
        """To be told before `running`; the bound is one lease by clocks within their rates."""
        self._thaws[group, host] = _Thaw(self._now(), bound_ns)

    def thawing(self, group: GroupId) -> bool:
        """Something of the group may run by clocks that had been frozen."""
        return any(known == group and self.excused(group, host) for known, host in self._thaws)

    def excused(self, group: GroupId, host: str) -> bool:
        """It goes on by clocks that had been frozen; no witness has confirmed anything to it since. So do members under
        the authority of a lead that does. Or a promise of its machine binds another copy of that.
        """
        if self._bound_by_a_copy(group, self._place_of(host)):
            return True
        thaws = [self._thaws.get((group, one)) for one in {host, self._place_of(host)}]
        return any(one and self._now() - one.since_ns <= one.bound_ns + RATE_ROUNDING_NS for one in thaws)

    def renewed(self, group: GroupId, host: str) -> None:
        """The witnesses confirmed an attempt that it made after its thaw."""
        self._thaws.pop((group, host), None)
