"""One agent process: what it is made of, in which order it starts and stops, and what ends it.

Start: certificate, store and its locks, core, sockets, streams, probes; every refusal until then ends the process
with words. From then on a task that ends unexpectedly or a broken invariant ends it by `fatal`: guards count on.
Stop (SIGTERM, SIGINT): the core deactivates and releases in order; only then do streams and sockets go. A second
signal, or a stop that takes too long, ends the process without: the guards then end what runs at their deadlines.
SIGHUP reads the certificate files again. SIGUSR2 makes the process the program that is installed now, without a stop
(agents/runtime/upgrade.py); a process that finds guards of the one before it goes on where that one ended.
"""

from __future__ import annotations

import gc
import random
import secrets
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from agents.actions.build import group_plans
from agents.actions.guard_setup import guard_options
from agents.actions.plan_journal import PlanJournal
from agents.actions.real import host_parts
from agents.actions.runner import GroupRunner
from agents.client.streams import WitnessStreams
from agents.client.websocket import WebSocketTransport
from agents.components.build import build_components
from agents.components.watching import component_probes
from agents.core.agent import SiteAgent
from agents.core.health import HealthFold
from agents.fencing.exec_registry import ExecRegistry
from agents.holds_store import HoldsStore
from agents.incarnations import Incarnations
from agents.license.stance import Stance
from agents.local.endpoint import Looks, build_app
from agents.local.server import LocalServer
from agents.members.build import Members
from agents.permit_files import PermitFiles
from agents.probes.build import scheduled_probes
from agents.probes.schedule import ProbeSchedule, ScheduledProbe
from agents.runtime.break_glass import BreakGlass
from agents.runtime.certificate_watch import CertificateWatch
from agents.runtime.driver import Driver
from agents.runtime.identity import require_own, tls_files, witness_contexts
from agents.runtime.licenses import license_components, license_room
from agents.runtime.life import ProcessLife
from agents.runtime.machine import read_machine
from agents.runtime.shell import AgentShell, full_status
from agents.runtime.take_over import Found, Keeper, Place, take_over
from agents.runtime.telemetry import Telemetry
from agents.runtime.turn import Successor, Turn, have_turn
from agents.settings import SiteSettings, core_settings
from agents.site_link.build import Sites
from agents.store import AgentStore, open_store
from proto.clock import Clock, SystemClock
from proto.edge.fatal import fatal as end_process
from proto.edge.logs import get_logger, setup_logging
from proto.edge.tls import reload_files
from proto.features import FEATURE_MAX
from proto.messages import Hello
from proto.units import TOKEN_BYTES, GroupId, LicenseName, WitnessId

STOP_MARGIN_S = 30.0
"""Added to the longest deactivation: for proofs, the release and its answer."""
STEP_LOGS = "steps"

log = get_logger("agents.supervisor")


class Agent(ProcessLife):
    """The parts of one running agent. Made and used on one event loop."""

    def __init__(
        self,
        settings: SiteSettings,
        store: AgentStore,
        contexts: Mapping[WitnessId, ssl.SSLContext] | None,
        fatal: Callable[[BaseException], NoReturn] = end_process,
        start: Start | None = None,
    ) -> None:
        """`contexts` None: streams without TLS, for tests. `start` None: a cold start."""
        self.settings = settings
        start = start or Start(place_of(settings, store, SystemClock()), Found(), None)
        longest_ms = max(group.deactivation.timeout_ms for group in settings.groups)
        super().__init__(log, fatal, start.config, longest_ms / 1_000 + STOP_MARGIN_S, turn=start.stand_in)
        self._place, self._found = start.place, start.found
        self._store = store
        self._contexts = contexts
        self._clock = SystemClock()
        self._random = random.Random(secrets.randbits(64))  # noqa: S311 - jitter of pauses, no secret
        self.telemetry = Telemetry(self._clock)
        permits = PermitFiles(settings.state_dir, store.bounds())
        core, takeover = self._place.settings, self._found.takeover
        holds = HoldsStore(settings.state_dir, [group.group for group in settings.groups], self._place.machine.boot_id)
        self.licenses = license_room(settings, self._license_stance)
        self.core = SiteAgent(
            core,
            tokens=lambda: secrets.token_bytes(TOKEN_BYTES),
            bounds=store.bounds(),
            started=self._clock.read(),
            takeover=takeover,
            promises=holds.promises,
            sites=holds.sites,
            permits=permits.load(),
            sealed=None if self.licenses is None else self.licenses.kept(),
            begun=self._place.incarnations.begun,
        )
        self.keeper = Keeper(core, settings.runtime_dir, self._place.machine, takeover)
        self.shell = AgentShell(store, self._place.incarnations, holds, permits, self.telemetry, self.keeper)
        folds = {
            group.group: HealthFold(group.probes, passing=group.group in self._found.guards) for group in core.groups
        }
        self.driver = Driver(agent=self.core, folds=folds, clock=self._clock, fatal=fatal, shell=self.shell)
        self.registry = ExecRegistry(settings.exec_socket, [group.group for group in settings.groups])
        self.members = Members(settings, self.core, store.bounds(), self._found.guards, self._clock, self.driver.spawn)
        self._certificate = CertificateWatch(
            lambda: require_own(self.settings),
            self._reload_contexts,
            f"witness pki issue agent {settings.site}",
            self._clock,
            self.telemetry,
            log,
        )
        self._component_probes: tuple[ScheduledProbe, ...] = ()
        self._add_runners()
        self.sites = Sites(settings, self.driver, self._clock, self._random.random)
        self.streams = self._make_streams()
        self.shell.streams, self.shell.sites, self.shell.licenses = self.streams, self.sites, self.licenses
        probes = (*scheduled_probes(settings), *self._component_probes, *self.members.looks())
        self.schedule = ProbeSchedule(probes, self.driver.probed, self._random.random)
        self.glass = BreakGlass(self.driver)
        self.local = LocalServer(build_app(self._looks()), settings.http, settings.status_socket)

    def _license_stance(self, group: GroupId, name: LicenseName, restore_step: str) -> Stance:
        return self.driver.license_stance(group, name, restore_step)

    def _add_runners(self) -> None:
        parts = host_parts(
            self.settings.runtime_dir,
            self.registry,
            self._clock,
            self.driver.spawn,
            lambda: self.core.incarnation.hex(),  # noqa: PLW0108 - the core's incarnation of that moment
            {group.group: guard_options(group) for group in self.settings.groups},
            self.members.desk,
        )
        bounds = self._store.bounds()
        for group in self.settings.groups:
            components = build_components(self.settings.site, group.group, group.components)
            proven = (*components, *license_components(self.settings.site, group))
            plans = group_plans(self.settings.site, group, self.settings.state_dir / STEP_LOGS, proven)
            seen, _ = bounds[group.group]
            runner = GroupRunner(plans, parts, self.driver, seen, self._place.journals[group.group])
            self.driver.runners[group.group] = runner
            self._component_probes += component_probes(group.group, components, group.components, runner)
            guard, takeover = self._found.guards.get(group.group), self._found.takeover
            if guard is not None and takeover is not None:
                adopted = takeover.groups[group.group]
                runner.adopt(guard, adopted.epoch, adopted.deadlines)

    def _make_streams(self) -> WitnessStreams:
        addresses = dict(self.settings.witnesses)
        transport = WebSocketTransport(addresses, self._contexts)
        relays = self.sites.relays(self._contexts)
        return WitnessStreams(addresses, transport, self._hello, self.driver, self._random.random, relays)

    def _hello(self) -> Hello:
        core = self.core.settings
        groups = tuple(self.core.groups)
        return Hello(core.site, self.core.incarnation, core.agent_version, core.cluster, groups, FEATURE_MAX)

    def _looks(self) -> Looks:
        return Looks(
            group=self.driver.group_status,
            groups=lambda: tuple(self.core.groups),
            status=self._status,
            metrics=self.telemetry.metrics,
            use_permit=self.glass.use,
            end_permit=self.glass.end,
        )

    def _status(self) -> dict[str, Any]:
        view = full_status(self.driver, self.streams, self.registry, self.telemetry, self.settings)
        view["site_link"] = self.sites.status()
        for group in view["groups"]:
            group["members"] = self.members.desk.status(group["group"])
            seen = {} if self.licenses is None else self.licenses.view(group["group"])
            group["licenses"] = [{**one, **seen.get(one["license"], {})} for one in group["licenses"]]
        view["certificate"] = self._certificate.status()
        view["process"] = self._process({"life": self.keeper.life})
        return view

    # -- life ---------------------------------------------------------------------------------------------

    async def run(self) -> Successor | None:
        """Returns after an orderly stop: None, or what this process is to become.

        Raises LocalFault or BadValue when it cannot start.
        """
        self._listen()
        await self.registry.start()
        await self.local.start()
        await self.members.start(tls_files(self.settings), lambda: require_own(self.settings))
        await self.sites.start(tls_files(self.settings), lambda: require_own(self.settings))
        self.telemetry.watch(lambda: {**self.driver.status(), "site_link": self.sites.status()})
        self.driver.start()
        self._supervise("streams", self.streams.run())
        if self.sites.configured:
            self._supervise("site link", self.sites.run())
        self._supervise("probes", self.schedule.run())
        if self.licenses is not None:
            self._supervise("licenses", self.licenses.run(self.driver))
        if self._contexts is not None:
            self._supervise("certificate", self._certificate.run())
        self._supervise_generation(self._place.machine.generation)
        gc.collect()
        gc.freeze()  # what was loaded stays: later collections need not look at it again
        log.info("started", site=self.settings.site, groups=len(self.settings.groups))
        return await self._until_told()

    @property
    def _living(self) -> Driver:
        return self.driver

    async def _close_parts(self) -> None:
        await self.members.close()
        await self.sites.close()
        await self.local.close()
        await self.registry.close()
        self._store.close()

    def reload(self) -> None:
        self._certificate.reload()

    def _reload_contexts(self) -> None:
        for context in (self._contexts or {}).values():
            reload_files(context, tls_files(self.settings))
        self.members.reload(tls_files(self.settings))
        self.sites.reload(tls_files(self.settings))


@dataclass(frozen=True, slots=True)
class Start:
    """With what a process begins."""

    place: Place
    found: Found
    config: Path | None
    """The configuration's file, for a successor."""
    stand_in: Turn | None = None
    """This process is one, and gives this back."""


def place_of(settings: SiteSettings, store: AgentStore, clock: Clock) -> Place:
    return Place(
        settings=core_settings(settings, store_id=store.store_id),
        runtime_dir=settings.runtime_dir,
        machine=read_machine(),
        clock=clock,
        journals={group.group: PlanJournal(settings.state_dir, group.group) for group in settings.groups},
        bounds=store.bounds(),
        incarnations=Incarnations(settings.state_dir),
    )


async def serve(settings: SiteSettings, config: Path | None, turn: Turn | None = None) -> Successor | None:
    """Runs an agent until it is told to stop; see `Agent.run`. Raises LocalFault or BadValue when it cannot start.

    `turn`: another process holds until this one is ready (agents/runtime/turn.py).
    """
    setup_logging(level=settings.log.level, json=settings.log.json)
    own = require_own(settings)
    contexts = witness_contexts(settings, own)
    if turn is not None and not have_turn(turn):
        return None
    store = open_store(settings.state_dir, settings.runtime_dir, [group.group for group in settings.groups])
    place = place_of(settings, store, SystemClock())
    stand_in = turn if turn is not None and turn.stand_in is None else None
    start = Start(place, await take_over(place), config, stand_in)
    return await Agent(settings, store, contexts, start=start).run()
