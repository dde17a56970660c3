"""One process of a member: the product's driver, core, runner, steps and stream, over simulated bodies.

What agents.member.process puts together for a real one is put together here in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

from agents.actions.parts import RunnerParts
from agents.actions.plans import GroupPlans
from agents.actions.runner import GroupRunner
from agents.core.effects import Effect, KeepAuthority, Tell
from agents.core.member import Ask, MemberSettings, SiteMember, connection_number
from agents.core.member_group import Held, MemberGroupSettings
from agents.core.takeover import KeptGroup, KeptIncarnation
from agents.fencing.base import Guard, GuardError, NotProvenDown
from agents.fencing.guard_model import Behaviour
from agents.member.driver import MemberDriver
from agents.member.steps import MemberSteps, StepWorld
from agents.member.stream import LeadStream
from agents.settings import StepSpec
from proto.member_messages import MEMBER_PROTOCOL, GroupOffer, LeadAnswer, LeadMessage, MemberHello, Order
from proto.units import NS_PER_MS, NS_PER_S, Epoch, GroupId, Incarnation, Nonce
from witness.sim.guards import PREPARE_NS
from witness.sim.host.fitting import BUDGETS, DEACTIVATION_MS, RESET_BEFORE_MS
from witness.sim.members.guard import BareGuard, SimGuard
from witness.sim.members.lines import Lines
from witness.sim.members.loop import ProcessLoop

if TYPE_CHECKING:
    from agents.runtime.telemetry import Telemetry
    from witness.sim.members.host import MemberHost
    from witness.sim.members.shell import MemberShell

NOWHERE = Path("/dev/null")
UNDO_GRACE_NS = 100 * NS_PER_MS


class NoExecs:
    """Programs of `site-agent exec` run in the group's own guard here (witness.sim.members.shell)."""

    def set_deadline(self, group: str, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int) -> None: ...

    async def stop_all(self, group: str, grace_ns: int) -> None: ...

    def fence(self, group: str) -> None: ...

    def running(self, group: str) -> tuple[int, ...]:
        del group
        return ()


class LeftCheck:
    """Implements agents.actions.down_checks.DownCheck."""

    name = "what the machine holds"

    def __init__(self, shell: MemberShell) -> None:
        self._shell = shell

    async def still_up(self) -> str:
        left = self._shell.post.hardware.left()
        if not left and not self._shell.platform.proves("stop"):
            left = ["a process is still seen"]
        return "; ".join(left)


class WatchedDriver(MemberDriver):
    """Tells the checkers what leaves and what arrives; neither waits for them nor hears from them."""

    host: MemberHost

    def perform(self, effect: Any) -> None:
        if isinstance(effect, Ask):
            self.host.judges.members.asked(self.host.name, effect.message.nonce)
        super().perform(effect)

    def received(self, message: LeadMessage) -> None:
        if isinstance(message, LeadAnswer):
            held = [order.group for order in message.groups if order.order is Order.HOLD]
            self.host.judges.member_renewed(self.host.name, message.nonce, held)
        super().received(message)


class MemberProcess:
    """Owned by the member's host; begins to work in its own time."""

    def __init__(self, host: MemberHost, held: Mapping[GroupId, Held], instance: Incarnation | None) -> None:
        self._host = host
        self._held = held
        self._life = 0 if host.kept is None or instance is None else host.kept.life
        self._connections = 0
        self.loop = ProcessLoop(host, self._failed)  # type: ignore[abstract]  # what else a loop can do nobody here asks for
        lead = host.lead.settings
        self.core = SiteMember(
            MemberSettings(lead.site, host.plan.name, tuple(_group(host, group) for group in host.shells)),
            tokens=lambda: host.rng.randbytes(16),
            bounds=dict(host.disk.bounds),
            started=host.clock.read(),
            adopted=held,
            instance=instance,
        )
        telemetry = cast("Telemetry", SimpleNamespace(told=self._told))
        self.driver = WatchedDriver(self.core, host.clock, self._failed, self._store, telemetry, self._keep)
        self.driver.host = host
        self.lines = Lines(host, self.loop, lambda: host.lead.house)
        self.stream = LeadStream("lead", self.lines, self._hello, self.driver, host.rng.random)
        self.loop.within(self._begin)

    def _begin(self) -> None:
        for group, shell in self._host.shells.items():
            self._add(group, shell)
        self.driver.stream = self.stream
        self.driver.begin()
        self.driver.spawn(self.stream.run(), "lead")

    def _add(self, group: GroupId, shell: MemberShell) -> None:
        host = self._host
        plans = GroupPlans(group, host.lead.settings.site, True, (), (), (LeftCheck(shell),), NOWHERE)
        seen, _ = host.disk.bounds.get(group, (Epoch(0), Epoch(0)))
        runner = GroupRunner(plans, self._parts(shell), self.driver, seen)
        self.driver.runners[group] = runner
        model = shell.post.guard
        if group in self._held and model is not None and shell.post.latest is not None:
            shell.handle = SimGuard(shell, self.loop, model)
            runner.adopt(shell.handle, self._held[group].epoch, shell.post.latest[1])
        self.driver.steps[group] = MemberSteps(
            StepWorld(
                site=host.lead.settings.site,
                group=group,
                steps={name: StepSpec(name, ("run",), undo=("undo",)) for name in host.plan.steps},
                log_dir=NOWHERE,
                clock=host.clock,
                guard_of=runner.guard_of,
                deadlines=self.core.groups[group].deadlines,
                down=self.core.groups[group].down,
                start_undo_guard=partial(self._bare_guard, shell),
                end_undo_guard=_end_undo_guard,
                fresh_log=lambda _directory, _name: NOWHERE,
            )
        )

    def _parts(self, shell: MemberShell) -> RunnerParts:
        host = self._host

        async def start_guard(_group: GroupId, over: Epoch) -> Guard:
            await asyncio.sleep(host.rng.randint(*PREPARE_NS) / NS_PER_S)
            if self.loop.dead:
                raise GuardError("the process is gone")
            shell.handle = SimGuard(shell, self.loop, shell.prepare(over))
            return shell.handle

        async def no_undo_guard(_group: GroupId, _over: Epoch) -> Guard:
            raise GuardError("a member has no plan of its own to take back")

        async def release(_guard: Guard) -> None: ...

        def end_leftovers(_group: GroupId) -> None:
            if words := shell.end_leftovers():
                raise NotProvenDown(words)

        return RunnerParts(
            start_guard=start_guard,
            start_undo_guard=no_undo_guard,
            release_guard=release,
            end_leftovers=end_leftovers,
            execs=NoExecs(),
            clock=host.clock,
            spawn=self.driver.spawn,
            boot_id=host.machine().boot_id,
            incarnation=lambda: self.core.instance.hex(),  # noqa: PLW0108  # the core's instance of that moment
        )

    async def _bare_guard(self, shell: MemberShell, over: Epoch) -> Guard:
        host = self._host
        if shell.runs() and not self.loop.dead:
            host.judges.found("undo", f"{host.name} takes back a step of {shell.group} beside what still runs")
        await asyncio.sleep(host.rng.randint(*PREPARE_NS) / NS_PER_S)
        host.hit("member-undo")
        takes_ns = host.rng.randint(2, 400) * NS_PER_MS
        return BareGuard(self.loop, host.clock.now, lambda _step: Behaviour(takes_ns), over)

    # -- what it does -----------------------------------------------------------------------------------------

    def _hello(self) -> MemberHello:
        host, lead = self._host, self._host.lead.settings
        self._connections += 1
        offers = tuple(GroupOffer(group, host.plan.steps) for group in host.shells)
        return MemberHello(
            MEMBER_PROTOCOL,
            lead.site,
            host.plan.name,
            lead.cluster,
            Nonce(self.core.instance),
            lead.agent_version,
            offers,
            connection_number(self._life, self._connections),
        )

    def _told(self, effect: Effect) -> None:
        if isinstance(effect, Tell):
            self._host.note(self._host.name, effect.text)

    def _store(self, group: GroupId, bound: Epoch, finished: Epoch) -> None:
        self._host.disk.bounds[group] = (bound, finished)

    def _keep(self, instance: Incarnation, effect: KeepAuthority) -> None:
        """As agents.runtime.take_over.Keeper."""
        host, lead = self._host, self._host.lead.settings
        kept = host.kept
        if kept is None or kept.incarnation != instance:
            kept = KeptIncarnation(lead.cluster, lead.site, lead.store_id, host.machine(), instance, 0, {})
        group = KeptGroup(effect.epoch, effect.claim, effect.constants)
        host.kept = replace(kept, groups={**kept.groups, effect.group: group})

    # -- its end ----------------------------------------------------------------------------------------------

    def gone(self) -> None:
        self.lines.process_gone()
        self.loop.kill()

    def _failed(self, error: BaseException) -> NoReturn:
        if self.loop.dead:
            raise asyncio.CancelledError
        raise error


async def _end_undo_guard(guard: Any) -> None:
    await guard.stop(UNDO_GRACE_NS)


def _group(host: MemberHost, group: GroupId) -> MemberGroupSettings:
    fitting = host.fitting
    return MemberGroupSettings(
        group=group,
        budgets=BUDGETS if fitting.slow else None,
        stop_timeout_ms=DEACTIVATION_MS,
        addresses=fitting.address,
        watchdog=fitting.watchdog,
        reset_before_ms=RESET_BEFORE_MS if fitting.reset else None,
    )
