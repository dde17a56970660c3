"""What the commands of a scenario act on: one world, its machines by name and by role, and who waits for what.

Rule: only `run_until` and `run_while` let time pass; every command else happens at one instant. Roles (leader,
follower, active, standby) are looked up when the command is done, and a command that finds nobody says so.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import NoReturn

from proto.units import NS_PER_MS, GroupId
from witness.core.effects import Outcome
from witness.sim.machine import SimHost
from witness.sim.quiet import silent
from witness.sim.raft.setup import tuned
from witness.sim.scenario.command import Wrong
from witness.sim.scenario.narrator import Detail, Narrator
from witness.sim.scenario.told_world import ToldWorld
from witness.sim.setup import Setup
from witness.sim.site import SiteHost
from witness.sim.witness import WitnessHost

GROUP = GroupId("erp")
"""The one platform of a scenario."""
ROLES = ("leader", "follower", "active", "standby", "witnesses", "sites")


class Stage:
    def __init__(self) -> None:
        self.narrator = Narrator()
        self.settled = False
        """All is healed and quiet now: nothing that was told may be missing anywhere."""
        self.waiting = 0
        """Operators' requests that were not answered yet."""
        self._world: ToldWorld | None = None
        self._tuning = ExitStack()
        self._told = 0

    @property
    def world(self) -> ToldWorld:
        if self._world is None:
            raise Wrong("nothing is there yet: begin with 'cluster'")
        return self._world

    def found(self, setup: Setup, start_ns: int | None) -> None:
        if self._world is not None:
            raise Wrong("there is a cluster already: a scenario has one")
        self._tuning.enter_context(tuned(setup.raft.tuning))
        self._tuning.enter_context(silent())
        self._world = ToldWorld(setup, self.narrator, start_ns)
        self._world.begin()

    def close(self) -> None:
        """The last looks of the judges; the world is gone afterwards."""
        if self._world is not None:
            self._world.close(settled=self.settled)
            self._world.end_processes()
        self._tuning.close()

    # -- what was told ---------------------------------------------------------------------------------------

    def say(self, who: str, what: str) -> None:
        self.world.say(Detail.BRIEF, who, what)

    def take(self) -> list[str]:
        """What was told since the last time, and what the judges found meanwhile."""
        lines = self.narrator.take()
        violations = self.violations()
        lines += [f"VIOLATION {violation}" for violation in violations[self._told :]]
        self._told = len(violations)
        return lines

    def violations(self) -> list[str]:
        return [] if self._world is None else [str(one) for one in self._world.judges.violations]

    def crashed(self, error: BaseException) -> None:
        """Whatever the code under test raises is a finding."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        self.world.judges.found("crash", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")

    # -- time ------------------------------------------------------------------------------------------------

    def after(self, span_ns: int, action: Callable[[], object]) -> None:
        def act() -> None:
            action()

        self.world.events.after(span_ns, act)

    def run_until(self, end_ns: int) -> None:
        self.world.run_until(end_ns)

    def run_while(self, condition: Callable[[], bool], within_ns: int, what: str) -> None:
        """Until it does not hold any more, to the very event; Wrong when that takes too long."""
        events, end_ns = self.world.events, self.world.events.now_ns + within_ns
        while condition():
            if events.next_ns() > end_ns:
                events.run_until(end_ns)
                raise Wrong(f"{what}: not within {within_ns // NS_PER_MS} ms")
            events.happen()

    # -- who -------------------------------------------------------------------------------------------------

    def sites(self, word: str) -> list[SiteHost]:
        """One site by name or role, or all of them."""
        sites = self.world.sites
        if word == "sites":
            return list(sites)
        if word in ("active", "standby"):
            active = self.world.judges.activity.active(GROUP)
            found = [site for site in sites if (site.name in active) == (word == "active")][:1]
            if not found:
                raise Wrong(f"no site is {word} now")
            return found
        return [site for site in sites if site.name == word] or self._unknown(word)

    def hosts(self, word: str) -> list[SimHost]:
        """As `sites`, or a member by its name."""
        found: list[SimHost] = [member for member in self.world.members if member.name == word]
        return found or [*self.sites(word)]

    def witnesses(self, word: str) -> list[WitnessHost]:
        machines = self.world.witnesses
        if word == "witnesses":
            return list(machines.values())
        if word in ("leader", "follower"):
            leader = self.world.cluster.leader()
            if leader is None:
                raise Wrong("no witness leads now")
            follow = [host.name for host in self.world.cluster.running() if host is not leader]
            names = [leader.name] if word == "leader" else follow[:1]
            return [machines[name] for name in names]
        return [host for host in machines.values() if host.name == word] or self._unknown(word)

    def is_site(self, word: str) -> bool:
        """Or a member."""
        known = [host.name for host in [*self.world.sites, *self.world.members]]
        return word in ("sites", "active", "standby", *known)

    def machines(self, word: str) -> list[SimHost | WitnessHost]:
        if self.is_site(word):
            return [*self.hosts(word)]
        return [*self.witnesses(word)]

    def names(self, word: str) -> list[str]:
        return [machine.name for machine in self.machines(word)]

    def _unknown(self, word: str) -> NoReturn:
        agents = [*self.world.sites, *self.world.members]
        known = [host.name for host in agents] + [host.name for host in self.world.witnesses.values()]
        raise Wrong(f"no such machine: {word!r}; there are {', '.join([*known, *ROLES])}")

    # -- operators -------------------------------------------------------------------------------------------

    def asked(self, what: str) -> Callable[[Outcome], None]:
        """What hears the answer to a request that is about to be made."""
        self.waiting += 1
        return partial(self._answered, what)

    def _answered(self, what: str, outcome: Outcome) -> None:
        self.waiting -= 1
        detail = f" ({outcome.detail})" if outcome.detail else ""
        self.say("operator", f"{what}: {'done' if outcome.ok else 'refused, ' + outcome.reason.value}{detail}")
