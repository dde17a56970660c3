"""One member process: what it is made of, in which order it starts and stops, and what ends it.

Start: certificate, store and its locks, core, sockets, stream, looks; every refusal until then ends the process with
words. A process that finds guards of the one before it goes on where that one ended (agents/member/take_over.py);
otherwise it ends what was left, and that epoch is over on this host.
Stop (SIGTERM, SIGINT): what runs here is ended and proven down first; the lead hears of it. A second signal, or a stop
that takes too long, ends the process without: the guards then end what runs at their deadlines. SIGHUP reads the
certificate files again. SIGUSR2 makes the process the program that is installed now, once that has checked the
configuration; its guards go on meanwhile.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from agents.actions.build import group_plans
from agents.actions.guard_setup import guard_options
from agents.actions.real import host_parts, start_bare_guard
from agents.actions.runner import GroupRunner
from agents.client.websocket import WebSocketTransport
from agents.components.build import build_components
from agents.components.watching import component_probes
from agents.core.member import MemberSettings, SiteMember, connection_number
from agents.core.member_group import MemberGroupSettings
from agents.core.takeover import Machine
from agents.fencing.base import Guard
from agents.fencing.exec_registry import ExecRegistry
from agents.fencing.guard_client import GuardHandle
from agents.local.endpoint import Looks, build_app
from agents.local.server import LocalServer
from agents.member.driver import MemberDriver
from agents.member.steps import MemberSteps, StepWorld
from agents.member.stream import LEAD, LeadStream
from agents.member.take_over import FoundGuards, kept_as, take_over_guards
from agents.members.endpoint import PATH
from agents.probes.schedule import ProbeSchedule, ScheduledProbe
from agents.runtime.certificate_watch import CertificateWatch
from agents.runtime.identity import lead_context, require_own_member, tls_files
from agents.runtime.life import ProcessLife
from agents.runtime.machine import read_machine
from agents.runtime.take_over import Keeper
from agents.runtime.telemetry import Telemetry, resident_bytes
from agents.runtime.turn import Successor, Turn, have_turn
from agents.runtime.upgrade import MEMBER
from agents.settings import GroupSpec, MemberGroupSpec, MemberProcessSettings
from agents.store import AgentStore, open_store
from proto.clock import SystemClock
from proto.edge.fatal import fatal as end_process
from proto.edge.identity import member_certificate_name
from proto.edge.logs import get_logger, setup_logging
from proto.edge.tls import reload_files
from proto.member_messages import MEMBER_PROTOCOL, GroupOffer, MemberHello
from proto.timing import LocalDeadlines
from proto.units import TOKEN_BYTES, GroupId, Nonce

STOP_MARGIN_S = 15.0
STEP_LOGS = "steps"
UNDO_GRACE_NS = 1_000_000_000

log = get_logger("agents.member")


class Member(ProcessLife):
    """The parts of one running member. Made and used on one event loop."""

    def __init__(
        self,
        settings: MemberProcessSettings,
        store: AgentStore,
        machine: Machine,
        found: FoundGuards,
        config: Path | None = None,
        fatal: Callable[[BaseException], NoReturn] = end_process,
        stand_in: Turn | None = None,
    ) -> None:
        """`stand_in`: this process is one, and gives this turn back."""
        longest_ms = max(one.held.deactivation.timeout_ms for one in settings.groups)
        super().__init__(log, fatal, config, longest_ms / 1_000 + STOP_MARGIN_S, MEMBER, turn=stand_in)
        self.settings = settings
        self._machine = machine
        self._found = found
        self._store = store
        self._clock = SystemClock()
        former = found.takeover
        self.keeper = Keeper(kept_as(settings, store), settings.runtime_dir, machine, former)
        self._connections = 0
        """That were begun by this process."""
        self._random = random.Random(secrets.randbits(64))  # noqa: S311 - jitter of pauses, no secret
        self.telemetry = Telemetry(self._clock)
        groups = tuple(_core_settings(one.held) for one in settings.groups)
        self.core = SiteMember(
            MemberSettings(settings.site, settings.member, groups),
            tokens=lambda: secrets.token_bytes(TOKEN_BYTES),
            bounds=store.bounds(),
            started=self._clock.read(),
            adopted=found.held,
            instance=None if former is None else former.kept.incarnation,
        )
        self.driver = MemberDriver(
            self.core,
            self._clock,
            fatal,
            store.store_bounds,
            self.telemetry,
            self.keeper.keep,
        )
        self.registry = ExecRegistry(settings.exec_socket, [one.held.group for one in settings.groups])
        self._looks: tuple[ScheduledProbe, ...] = ()
        for one in settings.groups:
            self._add_group(one)
        self._context = lead_context(settings, require_own_member(settings))
        self._certificate = CertificateWatch(
            lambda: require_own_member(self.settings),
            lambda: reload_files(self._context, tls_files(self.settings)),
            f"witness pki issue member {member_certificate_name(settings.member, settings.site)}",
            self._clock,
            self.telemetry,
            log,
        )
        transport = WebSocketTransport({LEAD: settings.lead}, {LEAD: self._context}, PATH)
        self.stream = LeadStream(str(settings.lead), transport, self._hello, self.driver, self._random.random)
        self.driver.stream = self.stream
        self.schedule = ProbeSchedule(self._looks, self.driver.probed, self._random.random)
        looks = Looks(self.driver.group_status, lambda: tuple(self.core.groups), self._status, self.telemetry.metrics)
        self.local = LocalServer(build_app(looks), settings.http, settings.status_socket)

    def _add_group(self, one: MemberGroupSpec) -> None:
        settings, held = self.settings, one.held
        options, logs = guard_options(held), settings.state_dir / STEP_LOGS
        parts = host_parts(
            settings.runtime_dir,
            self.registry,
            self._clock,
            self.driver.spawn,
            lambda: self.core.instance.hex(),  # noqa: PLW0108 - the core's instance of that moment
            {held.group: options},
        )
        components = build_components(settings.site, held.group, held.components)
        plans = group_plans(settings.site, held, logs, components)
        seen, _ = self._store.bounds()[held.group]
        runner = GroupRunner(plans, parts, self.driver, seen)
        self.driver.runners[held.group] = runner
        if held.group in self._found.guards:
            guard, deadlines = self._found.guards[held.group]
            runner.adopt(guard, self._found.held[held.group].epoch, deadlines)
        self._looks += component_probes(held.group, components, held.components, runner)
        self.driver.steps[held.group] = MemberSteps(
            StepWorld(
                site=settings.site,
                group=held.group,
                steps={step.name: step for step in one.steps},
                log_dir=logs / held.group,
                clock=self._clock,
                guard_of=runner.guard_of,
                deadlines=lambda: self._deadlines(held.group),
                down=self.core.groups[held.group].down,
                start_undo_guard=lambda finished: start_bare_guard(held.group, settings.runtime_dir, finished, options),
                end_undo_guard=_end_undo_guard,
            )
        )

    def _deadlines(self, group: GroupId) -> LocalDeadlines | None:
        return self.core.groups[group].deadlines()

    def _hello(self) -> MemberHello:
        settings = self.settings
        self._connections += 1
        offers = tuple(GroupOffer(one.held.group, tuple(step.name for step in one.steps)) for one in settings.groups)
        return MemberHello(
            MEMBER_PROTOCOL,
            settings.site,
            settings.member,
            settings.cluster,
            Nonce(self.core.instance),
            settings.version[:64],
            offers,
            connection_number(self.keeper.life, self._connections),
        )

    def _status(self) -> dict[str, Any]:
        view = self.driver.status()
        view |= {"cluster": self.settings.cluster, "version": self.settings.version}
        open_now = self.core.connected
        words = self.stream.status.words()
        view["streams"] = [{"witness": LEAD, "connected": open_now, "suspect": False, "rtt_us": None, **words}]
        view["told"] = list(self.telemetry.words)
        view["resident_bytes"] = int(resident_bytes())
        view["certificate"] = self._certificate.status()
        view["incarnation"] = self.core.instance.hex()
        view["process"] = self._process({"taken_over": sorted(self._found.guards)})
        return view

    # -- life -----------------------------------------------------------------------------------------------

    async def run(self) -> Successor | None:
        """Returns after an orderly stop: None, or what this process is to become.

        Raises LocalFault or BadValue when it cannot start.
        """
        self._listen()
        await self.registry.start()
        await self.local.start()
        self.telemetry.watch(self.driver.status)
        self.driver.begin()
        self._supervise("lead", self.stream.run())
        self._supervise("looks", self.schedule.run())
        self._supervise("certificate", self._certificate.run())
        self._supervise_generation(self._machine.generation)
        log.info("started", site=self.settings.site, member=self.settings.member, groups=len(self.settings.groups))
        return await self._until_told()

    @property
    def _living(self) -> MemberDriver:
        return self.driver

    def reload(self) -> None:
        self._certificate.reload()

    async def _close_parts(self) -> None:
        await self.local.close()
        await self.registry.close()
        self._store.close()


def _core_settings(held: GroupSpec) -> MemberGroupSettings:
    return MemberGroupSettings(
        group=held.group,
        budgets=held.budgets,
        stop_timeout_ms=held.deactivation.timeout_ms,
        enforce=held.enforce,
        addresses=bool(held.resources.addresses),
        watchdog=bool(held.ladder.watchdog),
        reset_before_ms=held.ladder.reset_before_ms if held.ladder.reset_trigger else None,
    )


async def _end_undo_guard(guard: Guard) -> None:
    await guard.stop(UNDO_GRACE_NS)
    if isinstance(guard, GuardHandle):
        await guard.release()


async def serve_member(
    settings: MemberProcessSettings, config: Path | None, turn: Turn | None = None
) -> Successor | None:
    """Runs a member until it is told to stop; see `Member.run`. Raises LocalFault or BadValue when it cannot start.

    `turn`: another process holds until this one is ready (agents/runtime/turn.py).
    """
    setup_logging(level=settings.log.level, json=settings.log.json)
    require_own_member(settings)
    if turn is not None and not have_turn(turn):
        return None
    store = open_store(settings.state_dir, settings.runtime_dir, [one.held.group for one in settings.groups])
    machine = read_machine()
    found = await take_over_guards(settings, store, machine, SystemClock())
    stand_in = turn if turn is not None and turn.stand_in is None else None
    return await Member(settings, store, machine, found, config, stand_in=stand_in).run()
