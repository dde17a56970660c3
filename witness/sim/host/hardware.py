"""All that one group has of one machine beside processes, and the ladder that each of its guards is given.

Owned by the group's shell (witness.sim.plans). What it holds lives as long as the machine has power; a guard's keeper
dies with its guard. Faults turn its knobs; who is told what is there, by true time, are the checkers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from agents.fencing.cgroup import Cgroup
from agents.fencing.guard_options import GuardOptions
from agents.fencing.ladder import WATCHDOG, Ladder
from agents.fencing.memory_resources import Grain
from agents.fencing.timed_resources import close_all
from agents.fencing.watchdog import Watchdog
from proto.units import NS_PER_MS, GroupId
from witness.sim.host.component import ComponentGroup, SimComponent
from witness.sim.host.fitting import RESET_BEFORE_MS
from witness.sim.host.keeper import SimKeeperLink, Stall
from witness.sim.host.kernel import KernelResource, SimWatchdog

if TYPE_CHECKING:
    from agents.fencing.timed_resources import TimedResource
    from witness.sim.machine import SimHost

RESET_MS = (500, 3_000)
"""How long a machine takes from a reset to its agent."""


class SimOptions(GuardOptions):
    """Of a guard's ladder, with simulated bodies."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__()
        fitting = hardware.fitting
        self.addresses = [("192.0.2.10", 24, "eth0")] if fitting.address else []
        self.ports = [("tcp", 443)] if fitting.ports else []
        self.outside = ["shop-db.service"] if fitting.component else []
        self.reset_trigger = "sysrq" if fitting.reset else ""
        self.reset_before_ns = RESET_BEFORE_MS * NS_PER_MS
        self.required = [WATCHDOG] if fitting.required else []
        self._hardware = hardware

    def resources(self, group: str) -> list[TimedResource]:
        del group
        return [*self._hardware.resources]

    def watchdog(self) -> Watchdog | None:
        device = self._hardware.watchdog
        return None if device is None else Watchdog(device)


class SimLadder(Ladder):
    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
        super().__init__(SimOptions(hardware), hardware.group, link=hardware.link, now=hardware.boot)

    def _find_outside(self) -> None:
        self._outside = list(self._hardware.groups)

    def _can_pull(self, trigger: str) -> bool:
        return bool(trigger)

    def _pull(self, trigger: str) -> None:
        del trigger
        self._hardware.host.hit("ladder-reset")
        self._hardware.reset("the guard's ladder")


class Hardware:
    def __init__(self, host: SimHost, group: GroupId, rng: random.Random) -> None:
        self.host = host
        self.group = group
        self.fitting = host.fitting
        self.boot = host.clock.now
        self.may_fork = True
        self.stall = Stall(self.boot, host.hit)
        self.resources = self._resources()
        self.watchdog = self._watchdog(rng) if self.fitting.watchdog else None
        role = self.fitting.component
        self.component = (
            None if role is None else SimComponent(role, self._component_told, partial(host.hit, "component-clings"))
        )
        self.groups: list[Cgroup] = [] if self.component is None else [ComponentGroup(self.component)]
        self._rng = rng
        self._link: SimKeeperLink | None = None
        self._asleep: list[Callable[[], None]] = []
        self._powered = 0

    def _resources(self) -> list[KernelResource]:
        wanted = [("address", Grain.SECONDS)] * self.fitting.address + [("ports", Grain.MILLISECONDS)] * (
            self.fitting.ports
        )
        made = [KernelResource(name, grain, self.stall, self, partial(self._told, name)) for name, grain in wanted]
        for one in made:
            one.refused = partial(self.host.hit, "resource-stuck")
        return made

    def _watchdog(self, rng: random.Random) -> SimWatchdog:
        device = SimWatchdog(rng.choice((1, 1, 2)), self.stall, self, self._fed)
        device.bites = self._bites
        device.missed = partial(self.host.hit, "watchdog-missing")
        return device

    # -- guards -------------------------------------------------------------------------------------------

    def ladder(self) -> Ladder | None:
        """For a new guard."""
        return SimLadder(self) if self.fitting.anything else None

    def link(self, resources: list[TimedResource], watchdog: Watchdog | None) -> SimKeeperLink:
        self._link = SimKeeperLink(resources, watchdog, self.stall, self._keeper_gone, lambda: self.may_fork)
        return self._link

    def guard_gone(self) -> None:
        if self._link is not None:
            self._link.end()
            self._link = None

    def left(self) -> list[str]:
        """What the agent's proof of down closes itself (agents.actions.guard_setup), and what stands against that."""
        stalls, self.stall.draw, self.stall.lasted_ns = self.stall.draw, lambda: 0, 0
        try:
            return close_all([*self.resources])
        finally:
            self.stall.draw = stalls

    def kill_keeper(self) -> bool:
        return self._link is not None and self._link.killed()

    def _keeper_gone(self) -> None:
        if self.watchdog is not None:
            self.watchdog.keeper_gone()

    def counts(self) -> bool:
        """The watchdog does."""
        return self.watchdog is not None and self.watchdog.counts

    @property
    def unwatched(self) -> bool:
        """A required watchdog does not count."""
        return self.fitting.required and not self.counts()

    # -- what the kernel does -----------------------------------------------------------------------------

    def now(self) -> int:
        return self.host.clock.raw()

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        powered = self._powered

        def fire() -> None:
            if powered != self._powered:
                return
            if self.host.suspended:
                self._asleep.append(fire)
            elif self.now() >= when_ns:
                action()
            else:
                self.host.events.at(self.host.clock.true_at_raw(when_ns), fire)

        fire()

    def slept(self, span_ns: int) -> None:
        """The machine was suspended for so long; `goes_on` follows when it executes again."""
        self.host.judges.held.slept(self.group, self.host.name, span_ns)

    def goes_on(self) -> None:
        """What was due while nothing executed."""
        asleep, self._asleep = self._asleep, []
        for fire in asleep:
            fire()

    def _told(self, name: str, there: bool) -> None:
        held, host = self.host.judges.held, self.host.name
        if held.is_there(self.group, host, name) is not there:
            self.host.note(host, f"{self.group}'s {name} {'can be' if there else 'can no longer be'} reached here")
        if there:
            held.there(self.group, host, name)
        else:
            held.gone(self.group, host, name)

    def _component_told(self, active: bool) -> None:
        name = "component"
        self.host.note(self.host.name, f"{self.group}'s {name} is {'' if active else 'not '}in the active role")

    def _fed(self, after_ns: int) -> None:
        at_ns = self.host.clock.true_at_raw(self.now() + after_ns)
        self.host.judges.held.fed(self.group, self.host.name, at_ns)

    def _bites(self) -> None:
        self.host.hit("watchdog-bites")
        self.reset("its watchdog")

    def reset(self, by: str) -> None:
        """The machine starts anew, at once for all that ran; whoever asked for it is told nothing any more."""
        host = self.host
        host.note(host.name, f"is reset by {by}")
        back_ns = self._rng.randint(*RESET_MS) * NS_PER_MS

        def reset() -> None:
            host.power_off()
            host.events.after(back_ns, lambda: None if host.alive else host.power_on())

        host.events.after(0, reset)

    def power_off(self) -> None:
        self._powered += 1
        self._asleep.clear()
        self.guard_gone()
        for resource in self.resources:
            resource.gone()
        if self.watchdog is not None:
            self.watchdog.off()
        if self.component is not None:
            self.component.killed()

    def heal(self) -> None:
        self.may_fork = True
        self.stall.draw = lambda: 0
        for resource in self.resources:
            resource.refuses = ""
        if self.watchdog is not None:
            self.watchdog.there = True
        if self.component is not None:
            self.component.cling("")
