"""What a lead has for its members: the real desk and the real ends of their streams, in one process of the lead.

Owned by the site's host. The desk ends with its process; what it had on disk is found by the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from agents.actions.parts import MemberStep
from agents.core.lease_holder import LeaseHolder
from agents.core.member_looks import not_holding, not_ready
from agents.core.members import Handed
from agents.fencing.base import GuardError, StepResult
from agents.members.desk import MemberDesk
from agents.members.endpoint import MemberEndpoint, MemberStream
from agents.settings import GroupSpec, MemberSpec, PlanSpec, SiteSettings, TlsPaths
from proto.edge.identity import Identity, Role, member_certificate_name
from proto.health import DORMANT_STATES, SiteState
from proto.lease import LeaseConstants
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs, MemberName
from witness.sim.members.lines import End, LeadLine
from witness.sim.members.loop import ProcessLoop

if TYPE_CHECKING:
    from aiohttp import web

    from witness.sim.members.plan import MemberPlan
    from witness.sim.site import SiteHost

LOOK_NS = 500 * NS_PER_MS
NOWHERE = Path("/dev/null")


class SimHandedFile:
    """One group's file on the simulated disk (agents.members.handed_file)."""

    def __init__(self, disk: dict[GroupId, Handed], group: GroupId) -> None:
        self._disk = disk
        self._group = group

    def load(self, members: tuple[MemberName, ...]) -> Handed | None:
        del members
        return self._disk.get(self._group)

    def store(self, epoch: Epoch, ttl_ms: int, processes: Mapping[MemberName, bytes]) -> None:
        self._disk[self._group] = (epoch, ttl_ms, dict(processes))


def site_settings(host: SiteHost, plans: tuple[MemberPlan, ...]) -> SiteSettings:
    plan, groups = PlanSpec(0, ()), tuple(host.shells)
    return SiteSettings(
        cluster=host.settings.cluster,
        site=host.settings.site,
        tls=TlsPaths(NOWHERE, NOWHERE, NOWHERE),
        state_dir=NOWHERE,
        runtime_dir=NOWHERE,
        witnesses=(),
        http=None,
        groups=tuple(GroupSpec(group, True, None, plan, plan, (), ()) for group in groups),
        members=tuple(MemberSpec(one.name, groups, one.required) for one in plans),
    )


class LeadHouse:
    """The machine's side: it accepts connections while a process listens."""

    def __init__(self, host: SiteHost, plans: tuple[MemberPlan, ...]) -> None:
        self.host = host
        self.plans = plans
        self.desk: MemberDesk | None = None
        self.loop: ProcessLoop | None = None
        self.ends: list[End] = []
        self._found: dict[GroupId, tuple[str, ...]] = {}

    # -- the process ----------------------------------------------------------------------------------------

    def begin(self, over: Mapping[GroupId, Epoch]) -> None:
        """A new process of the lead; `over`: of each group, every epoch up to this one has ended or must end."""
        host = self.host
        self.loop = ProcessLoop(host, self._failed)  # type: ignore[abstract]  # what else a loop can do nobody here asks for
        self.desk = MemberDesk(
            site_settings(host, self.plans),
            over,
            host.clock,
            self._holder,
            self._known,
            self.spawn,
            lambda group: SimHandedFile(host.disk.handed, group),
        )
        for group in self.desk.books:
            host.later(host.rng.randint(1, LOOK_NS), partial(self._look, group))

    def gone(self) -> None:
        if self.loop is not None:
            for end in self.ends:
                end.close()
            self.loop.kill()
        self.desk = self.loop = None
        self.ends.clear()
        self._found.clear()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A task of this process; from outside of its callbacks, too. What it tells the runner comes after it."""
        loop = self.loop
        if loop is None:
            work.close()
            raise GuardError("the process is gone")
        task = loop.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        raise error

    def _holder(self, group: GroupId) -> LeaseHolder:
        agent = self.host.agent
        if agent is None:
            raise GuardError("the process is gone")
        return agent.groups[group].holder

    def _known(self, group: GroupId) -> LeaseConstants | None:
        agent = self.host.agent
        return None if agent is None else agent.groups[group].known_constants

    # -- connections ----------------------------------------------------------------------------------------

    def knocked(self, end: End) -> None:
        """The kernel accepts for a process that is stopped, too."""
        host, loop = self.host, self.loop
        if host.off or host.suspended:
            return
        if loop is None:
            host.network.carry(host.name, end.host.name, lambda: end.loop.within(lambda: _answered(end, ok=False)))
            return
        if end.other is not None:
            return  # its knock came twice
        ours = End(host, loop)
        ours.other, end.other = end, ours
        self.ends = [one for one in self.ends if not one.closed]
        self.ends.append(ours)
        host.network.carry(host.name, end.host.name, lambda: end.loop.within(lambda: _answered(end, ok=True)))
        loop.within(lambda: self._serve(ours, end))

    def _serve(self, ours: End, end: End) -> None:
        settings, desk = self.host.settings, self.desk
        if desk is None:
            return
        member = next(one for one in self.plans if end.host.name == one.host_of(self.host.name))
        cert = member_certificate_name(member.name, settings.site)
        who = Identity(settings.cluster, Role.MEMBER, cert, all_groups=True)
        place = SimpleNamespace(desk=desk, cluster=settings.cluster, site=settings.site, clock=self.host.clock)
        stream = MemberStream(cast("web.WebSocketResponse", LeadLine(ours)), who, cast("MemberEndpoint", place))
        self.spawn(stream.run(), f"member {member.name}")

    # -- what the runner of a group asks ----------------------------------------------------------------------

    @property
    def any(self) -> bool:
        return bool(self.plans)

    def give(self, group: GroupId, epoch: Epoch, deadline: InstantNs) -> None:
        if self.desk is not None and group in self.desk.books:
            self._inside(lambda desk: desk.give(group, epoch, deadline))

    def fence(self, group: GroupId) -> None:
        self._inside(lambda desk: desk.fence(group))

    def _inside(self, work: Callable[[MemberDesk], None]) -> None:
        """Its tasks are made by a running loop, as asyncio wants it."""
        desk, loop = self.desk, self.loop
        if desk is not None and loop is not None:
            work(desk)

    def end(self, group: GroupId, grace_ns: int, then: Callable[[], None]) -> None:
        """`then`: when each member is verified down, or out of authority."""

        async def ends() -> None:
            if self.desk is not None:
                await self.desk.end_and_wait(group, grace_ns)
            self.host.later(0, then)

        self._spawned(ends(), f"end {group}", then)

    def armed(self, group: GroupId, epoch: Epoch, then: Callable[[str], None]) -> None:
        """`then`: '' when every required member holds it, or why not."""

        async def waits() -> None:
            why = ""
            if self.desk is not None:
                try:
                    await self.desk.armed(group, epoch)
                except GuardError as error:
                    why = str(error)
            self.host.later(0, lambda: then(why))

        self._spawned(waits(), f"armed {group}", lambda: then(""))

    def run_step(self, step: MemberStep, then: Callable[[StepResult], None]) -> None:
        async def runs() -> None:
            if self.desk is not None:
                result = await self.desk.run_step(step)
                self.host.later(0, lambda: then(result))

        self._spawned(runs(), f"step {step.step_id}", lambda: None)

    def _spawned(self, work: Coroutine[Any, Any, None], name: str, otherwise: Callable[[], None]) -> None:
        if self.loop is None or self.desk is None or not self.desk.books:
            work.close()
            otherwise()
        else:
            self.spawn(work, name)

    def still_out(self, group: GroupId) -> str:
        return "" if self.desk is None else self.desk.still_out(group)

    def orderly(self, group: GroupId) -> bool:
        return self.desk is None or self.desk.orderly(group)

    # -- looks (agents/members/looks.py) ----------------------------------------------------------------------

    def _look(self, group: GroupId) -> None:
        found = self._problems(group)
        if found != self._found.get(group):
            self._found[group] = found
            self.host.probe(group)
        self.host.later(LOOK_NS, lambda: self._look(group))

    def against(self, group: GroupId) -> tuple[str, ...]:
        """What was seen at the last look."""
        return self._found.get(group, ("member: not looked at yet",) if self.desk and self.desk.books else ())

    def _problems(self, group: GroupId) -> tuple[str, ...]:
        desk, agent = self.desk, self.host.agent
        if desk is None or agent is None:
            return ()
        state, now = agent.groups[group].state, self.host.clock.now()
        words = []
        for plan in self.plans:
            if not plan.required:
                continue
            seat, known = desk.seat(group, plan.name), desk.known_steps(group, plan.name)
            dormant = state in DORMANT_STATES
            if why := not_ready(seat, frozenset(plan.steps), known, now, dormant=dormant):
                words.append(f"ready member {plan.name}: {why}")
            if state is SiteState.ACTIVE and (why := not_holding(seat, agent.groups[group].holder.epoch, now)):
                words.append(f"service member {plan.name}: {why}")
        return tuple(words)


def _answered(end: End, *, ok: bool) -> None:
    if not end.ready.done():
        end.ready.set_result(ok)
