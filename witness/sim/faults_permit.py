"""The third location is lost for long, and an operator breaks the glass (DESIGN section 6).

Rule: the whole outage is one blow, told in steps: every site loses the witnesses; every site but one is stopped; that
one is offered permits until it takes one, also such as nobody may take; it runs; the witnesses come back, mostly to the
other sites first. In between the rest of the schedule's faults goes on.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from proto.decisions import Reason
from proto.units import NS_PER_MS, NS_PER_S, GroupId
from witness.sim import break_glass, faults_net
from witness.sim.setup import Setup, rng_for

if TYPE_CHECKING:
    from witness.sim.site import SiteHost
    from witness.sim.world import World

Strike = Callable[["World", random.Random], None]
KIND = "permit"
TRY_NS = 400 * NS_PER_MS
PATIENCE_NS = 45 * NS_PER_S
"""After that an operator gives up: something else keeps the site from it."""
SAFETY_S = (45.0, 75.0)
"""An outage with all its steps takes around half a minute."""


def with_outage(setup: Setup) -> Setup:
    """Groups that take permits, and time for one, where the kind is drawn; every other seed is what it was."""
    if KIND not in setup.kinds:
        return setup
    return replace(break_glass.with_permits(setup), safety_s=rng_for(setup.seed, "outage").uniform(*SAFETY_S))


def permit(world: World, rng: random.Random) -> None:
    if world.outage is None or world.outage.over:
        world.outage = Outage(world, rng)
        world.outage.begin()


class Outage:
    """One loss of the third location, from the first cut to the last host that starts again."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._site = rng.choice(world.sites[: len(world.setup.sites)])
        self._others: list[SiteHost] = []
        self._cut: list[tuple[str, str]] = []
        self._permits: dict[GroupId, str] = {}
        """One for each group, kept until it is taken or its epoch turns out too low."""
        self._wanted = [config.group for config in world.setup.groups if config.permits.enabled]
        self._until_ns = world.events.now_ns + PATIENCE_NS
        self._tried_wrong = False
        self.over = not self._wanted

    def begin(self) -> None:
        if self.over:
            return
        world = self._world
        self._cut = faults_net.ways_to_witnesses(world)
        world.hit("permit-outage")
        world.note("operator", f"the third location is gone; {self._site.name} shall run by a permit")
        for sender, to in self._cut:
            world.network.cut(sender, to)
        self._then(world.some_ttls(self._rng), self._stop_others)

    def finish(self) -> None:
        """The faults are over: power for everybody."""
        self.over = True
        for site in (*self._others, self._site):
            for machine in break_glass.machines_of(self._world, site):
                machine.kept_off = False

    def _then(self, after_ns: int, step: Callable[[], None]) -> None:
        self._world.events.after(after_ns, lambda: None if self.over else step())

    # -- the permit ---------------------------------------------------------------------------------------

    def _stop_others(self) -> None:
        self._others = [site for site in self._world.sites if site is not self._site]
        for site in self._others:
            break_glass.stop(self._world, site)
        self._try()

    def _try(self) -> None:
        if not self._tried_wrong and self._site.runs:
            self._tried_wrong = True
            for group in self._wanted:
                self._offer_wrong(group)
        for group in list(self._wanted):
            self._offer(group)
        if self._wanted and self._world.events.now_ns < self._until_ns:
            self._then(TRY_NS, self._try)
        else:
            self._run()

    def _offer(self, group: GroupId) -> None:
        site, keys = self._site, self._world.keys
        if group not in self._permits:
            self._permits[group] = keys.permit(group, site.settings.site)
        text = self._permits[group]
        words = site.break_glass(group, text)
        if words == "":
            self._wanted.remove(group)
            self._world.hit("permit-taken")
        elif words is not None and "silent for" in words:
            self._world.hit("permit-refused-early")
        elif words is not None and "the epoch" in words:
            del self._permits[group]

    def _offer_wrong(self, group: GroupId) -> None:
        """Such as must be refused at any time."""
        site, keys = self._site, self._world.keys
        own, other = site.settings.site, next(one for one in self._world.setup.sites if one != site.settings.site)
        self._refuses(group, keys.permit(group, own, forged=True), "forged")
        behind_ms = max(0, keys.wall_ms() - site.clock.read().wall_ms)  # a guest that was frozen knows no better
        expired = keys.permit(group, own, lifetime_ms=60_000, age_ms=70_000 + behind_ms)
        self._refuses(group, expired, "expired")
        self._refuses(group, keys.permit(group, other), "elsewhere")

    def _refuses(self, group: GroupId, text: str, what: str) -> None:
        words = self._site.break_glass(group, text)
        if words == "":
            self._world.judges.found("permit", f"{self._site.name} takes a permit for {group} that is {what}")
        elif words is not None:
            self._world.hit(f"permit-refused-{what}")

    # -- under it -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        world, rng = self._world, self._rng
        for group, text in self._permits.items():
            if group not in self._wanted:
                self._then(world.some_ttls(rng) // 4, partial(self._refuses, group, text, "used"))
        if rng.random() < 0.4:
            self._then(world.some_ttls(rng), self._others_start)
        if rng.random() < 0.4:
            self._then(world.some_ttls(rng), self._upgrade)
        if rng.random() < 0.5:
            self._then(world.some_ttls(rng), self._end_it if rng.random() < 0.5 else self._lose_it)
        self._then(2 * world.some_ttls(rng), self._witnesses_return)

    def _others_start(self) -> None:
        self._world.hit("permit-other-started")
        for site in self._others:
            break_glass.start(self._world, site)

    def _upgrade(self) -> None:
        self._world.hit("permit-upgrade")
        self._site.crash_and_restart(self._rng.randint(5, 300) * NS_PER_MS)

    def _end_it(self) -> None:
        self._world.hit("permit-end")
        for group, text in self._permits.items():
            self._site.end_break_glass(group)
            if group not in self._wanted:
                self._then(self._world.some_ttls(self._rng), partial(self._refuses, group, text, "used"))

    def _lose_it(self) -> None:
        self._world.hit("permit-site-lost")
        break_glass.stop(self._world, self._site)

    # -- afterwards -----------------------------------------------------------------------------------------

    def _witnesses_return(self) -> None:
        world, rng, own = self._world, self._rng, self._site.name
        first = [pair for pair in self._cut if own not in pair] if rng.random() < 0.5 else self._cut
        self._mend(first)
        self._then(world.some_ttls(rng) // 2, self._others_start_again)
        if first is not self._cut:
            world.hit("permit-site-late")
        self._then(2 * world.some_ttls(rng), self._look_after_it)

    def _mend(self, pairs: list[tuple[str, str]]) -> None:
        for sender, to in pairs:
            self._world.network.mend(sender, to)

    def _others_start_again(self) -> None:
        for site in self._others:
            break_glass.start(self._world, site)

    def _look_after_it(self) -> None:
        """What is lost is vouched for, by somebody who sees that it has no power."""
        if self._site.kept_off:
            for config in self._world.setup.groups:
                self._reconcile(config.group, [])
            self._then(4 * self._world.some_ttls(self._rng), self._back)
        else:
            self._back()

    def _reconcile(self, group: GroupId, told: list[Reason], tries: int = 20) -> None:
        if Reason.OK in told:
            self._world.hit("permit-reconciled")
        elif tries and self._site.kept_off:
            break_glass.reconcile(self._world, group, told)
            self._then(TRY_NS, partial(self._reconcile, group, told, tries - 1))

    def _back(self) -> None:
        self._mend(self._cut)
        for site in (*self._others, self._site):
            if any(machine.kept_off for machine in break_glass.machines_of(self._world, site)):
                break_glass.start(self._world, site)
        self.over = True


BLOWS: dict[str, tuple[Strike, float]] = {KIND: (permit, 4.0)}
