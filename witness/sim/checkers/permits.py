"""Break-glass permits, by an account of its own: who took which one, when, and whom the witnesses gave the group then.

A permit is taken once ever, by its own site, before its time is over by that machine's wall clock, when no witness
answered that site for `after` of true time, and while nothing of the group runs anywhere (that every other site is
stopped is the operator's word, and the simulated operator keeps it). From then until the site says that the permit is
over, the witnesses grant the group to nobody else; they adopt that site under a later epoch. What an operator vouches
for has ended. After all is healed nobody is under a permit any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from proto.clock import ClockReading
from proto.events import Event, EventKind
from proto.groups import GroupConfig
from proto.permit import Permit
from proto.units import NS_PER_MS, NS_PER_S, Epoch, GroupId
from witness.core.machine import Machine
from witness.core.permits import under_permit
from witness.sim.raft.checkers import Findings

ADOPTED = "adopted"
"""How the ledger's word of such a grant begins."""


@dataclass(slots=True)
class _Use:
    host: str
    epoch: Epoch


class PermitsChecker:
    def __init__(
        self,
        findings: Findings,
        now: Callable[[], int],
        groups: Iterable[GroupConfig],
        active: Callable[[GroupId], list[str]],
    ) -> None:
        """`active`: the hosts where something of a group runs."""
        self._found = findings.found
        self._now = now
        self._active = active
        self._after_ns = {one.group: one.permits.after_ms * NS_PER_MS for one in groups if one.permits.enabled}
        self._answered_ns: dict[tuple[GroupId, str], int] = {}
        self._taken: dict[bytes, str] = {}
        self._epochs: set[tuple[GroupId, Epoch]] = set()
        self._in_use: dict[GroupId, _Use] = {}

    def answered(self, group: GroupId, host: str) -> None:
        """By a witness, whatever it said."""
        self._answered_ns[group, host] = self._now()

    def taken(self, group: GroupId, host: str, permit: Permit, clock: ClockReading) -> None:
        """The agent of the host took it; `clock`: of its machine."""
        says = f"{host} takes permit {permit.permit.hex()[:8]} for {group}"
        if (permit.group, permit.site) != (group, host):
            self._found("permit", f"{says}, which is for {permit.group} at {permit.site}")
        if permit.permit in self._taken:
            self._found("permit", f"{says}, which {self._taken[permit.permit]} took before")
        if clock.wall_ms > permit.use_by_ms:
            self._found("permit", f"{says} {clock.wall_ms - permit.use_by_ms} ms after its time")
        silent_ns = self._now() - self._answered_ns.get((group, host), 0)
        if silent_ns < self._after_ns.get(group, 1 << 62):
            self._found("permit", f"{says}, {silent_ns / NS_PER_S:.3f} s after a witness answered it")
        if self._active(group):
            self._found("permit", f"{says} while it runs at {', '.join(self._active(group))}")
        self._taken[permit.permit] = host
        self._epochs.add((group, permit.epoch))
        self._in_use[group] = _Use(host, permit.epoch)

    def counts(self, group: GroupId, host: str, epoch: Epoch) -> bool:
        """What runs there under this epoch does so by a permit that is in use."""
        return self._in_use.get(group) == _Use(host, epoch)

    def went_on(self, group: GroupId, epoch: Epoch) -> str:
        """What runs has an epoch of the witnesses now, in place of this one: what that is counted as."""
        return "permit-adopted" if (group, epoch) in self._epochs else "regranted-in-place"

    def over(self, group: GroupId, host: str) -> None:
        """The site says that it is under a permit no longer."""
        use = self._in_use.get(group)
        if use is not None and use.host == host:
            del self._in_use[group]

    def told(self, event: Event) -> None:
        use = None if event.group is None else self._in_use.get(event.group)
        if use is None or event.group is None:
            return
        if event.kind is EventKind.RECONCILED:
            if use.host in self._active(event.group):
                self._found("permit", f"the simulated operator vouches for {use.host}, where {event.group} runs")
            del self._in_use[event.group]
        elif event.kind in (EventKind.GRANTED, EventKind.REGRANTED):
            says = f"event {event.seq}: {event.group} goes to {event.site} in epoch {event.epoch}"
            if event.site != use.host:
                self._found("permit", f"{says} while {use.host} is under a permit")
            elif event.epoch <= use.epoch or not event.text.startswith(ADOPTED):
                self._found("permit", f"{says}: {event.text}, it is under a permit of epoch {use.epoch}")

    def ends(self, machine: Machine) -> None:
        """All is healed and quiet."""
        for group, use in self._in_use.items():
            self._found("permit", f"{use.host} is still under a permit for {group}")
        for name, state in machine.state.groups.items():
            if under_permit(state):
                self._found("permit", f"the witnesses still count {', '.join(under_permit(state))} of {name} as such")
