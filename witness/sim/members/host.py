"""One simulated member: a machine of its own beside its lead's, with clocks, a disk, guards and a member's process."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from agents.core.member_group import Held
from agents.core.settings import AgentSettings
from agents.core.takeover import adopted_authority, incarnation_problem
from proto.units import Epoch, GroupId, Incarnation
from witness.sim.clock import NodeClock
from witness.sim.machine import SimHost
from witness.sim.members.plan import MemberPlan
from witness.sim.members.process import MemberProcess
from witness.sim.members.shell import MemberShell
from witness.sim.platform import Platform
from witness.sim.surroundings import Surroundings

if TYPE_CHECKING:
    from witness.sim.site import SiteHost


class MemberHost(SimHost):
    """Owned by the world, and known to its lead by name alone."""

    def __init__(
        self,
        lead: SiteHost,
        plan: MemberPlan,
        clock: NodeClock,
        around: Surroundings,
        rng: random.Random,
        platforms: Mapping[GroupId, Platform],
    ) -> None:
        super().__init__(plan.host_of(lead.name), clock, around, rng)
        self.lead = lead
        self.plan = plan
        self.process: MemberProcess | None = None
        self.shells = {group: MemberShell(self, group, platform) for group, platform in platforms.items()}

    @property
    def groups(self) -> Mapping[GroupId, MemberShell]:
        return self.shells

    @property
    def alive(self) -> bool:
        return self.process is not None

    # -- life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        if self.process is not None or self.off:
            return
        self._life += 1
        self.note(self.name, "member starts")
        held, instance = self._takeover()
        self.process = MemberProcess(self, held, instance)

    def _kept_as(self) -> AgentSettings:
        """As agents.member.take_over has it."""
        lead = self.lead.settings
        return AgentSettings(lead.site, lead.cluster, lead.agent_version, lead.store_id, (), ())

    def _takeover(self) -> tuple[dict[GroupId, Held], Incarnation | None]:
        """As agents.member.take_over does it, with the same judge."""
        kept, found = self.kept, dict[GroupId, Held]()
        if kept is None or incarnation_problem(kept, self._kept_as(), self.machine()):
            return found, None
        for group, one in kept.groups.items():
            held, bounds = self.shells[group].post.held(), self.disk.bounds.get(group, (Epoch(0), Epoch(0)))
            if held is None:
                self.hit("member-not-taken-over")
                continue
            judged = adopted_authority(one, kept.incarnation, held, bounds, self.clock.read())
            if isinstance(judged, str):
                self.note(self.name, f"{group} starts cold: {judged}")
                continue
            found[group] = Held(one.epoch, one.constants, judged)
            self.hit("member-taken-over")
        if not found:
            return found, None
        self.kept = replace(kept, life=kept.life + 1)
        return found, kept.incarnation

    def process_gone(self, *, told: bool) -> None:
        del told  # without power nothing is carried
        process, self.process = self.process, None
        if process is not None:
            process.gone()

    def guard_lacks(self, group: GroupId, lacks: tuple[str, ...]) -> None:
        """Its runner asks."""

    def shut_down(self) -> None:
        """SIGTERM."""
        process = self.process
        if process is not None:
            process.loop.within(process.driver.shutdown)

    def ended(self) -> bool:
        """After `shut_down`, or by itself."""
        return self.process is None or self.process.core.finished()

    def holds(self, group: GroupId, epoch: Epoch) -> bool:
        """Something of an epoch up to this one runs, or may begin at any moment."""
        process = self.process
        if process is not None:
            held = process.core.groups[group].held
            if held is not None and held.epoch <= epoch and held.authority.alive(self.clock.read()):
                return True
        return self.shells[group].may_run(epoch)

    def active(self, group: GroupId) -> bool:
        """As it is to be at a site that is active and whole."""
        process = self.process
        if process is None or process.core.groups[group].held is None:
            return False
        return self.shells[group].runs() or not self.plan.programs
