"""One witness process: what it is made of, in which order it starts and stops, and what ends it.

Start: certificate, store, core, engine, listeners; every refusal until then ends the process with words. From then
on a task that ends unexpectedly, a broken invariant or a store that cannot keep its promise ends it by `fatal`.
Stop (SIGTERM, SIGINT): goodbye to the agents, who go on at another witness at once; listeners; engine; store.
SIGHUP reads the certificate files again.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import ssl
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from proto.clock import SystemClock
from proto.edge.identity import Role, require_cluster, require_role
from proto.edge.logs import get_logger, setup_logging
from proto.edge.tls import (
    EXPIRY_WARNING_DAYS,
    OwnCertificate,
    TlsFiles,
    accepting,
    client_context,
    identity_of,
    own_certificate,
    reload_files,
    server_context,
)
from proto.errors import BadValue, LocalFault, NotNow, RemoteFault
from proto.invariants import InvariantViolation
from proto.takeover import ASSUMED
from proto.units import NS_PER_MS, NS_PER_S, TOKEN_BYTES, DurationNs, SiteId, WitnessId
from witness.backup.source import Parts, of_running
from witness.core.node import WitnessNode
from witness.http.app import build_app, build_metrics_app, say_goodbye
from witness.http.keys import Services
from witness.http.stream_table import StreamTable
from witness.notify.assembly import make_notifier
from witness.notify.watcher import StandbyWatcher, Watcher
from witness.raft.lineage import require_readable
from witness.raft.peer_transport import PeerTls
from witness.raft.port import Role as RaftRole
from witness.raft.standing import Standing
from witness.raft.store import Store, open_store
from witness.raft.syncobj import PySyncObjConsensus
from witness.runtime.control import Control
from witness.runtime.driver import Driver
from witness.runtime.facade import DriverShell, Facade
from witness.runtime.fatal import fatal
from witness.runtime.identity import require_own
from witness.runtime.telemetry import SiteLook, Telemetry
from witness.settings import Listen, WitnessSettings

HANDSHAKE_S = 5.0
CLOSE_S = 1.0
BACKLOG = 256
KEEPALIVE_S = 60.0
SWEEP_S = 1.0
HOUSEKEEPING_S = 3_600.0

log = get_logger(__name__)


class Witness:
    """The parts of one running witness. Made and used on one event loop."""

    def __init__(self, settings: WitnessSettings, files: TlsFiles, own: OwnCertificate, store: Store) -> None:
        self.settings = settings
        self._files = files
        self._store = store
        self._clock = SystemClock()
        self._stop = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._runners: list[web.AppRunner] = []
        self._servers: list[asyncio.Server] = []
        self.telemetry = Telemetry()
        idle_ns = settings.limits.idle_timeout_ms * NS_PER_MS
        self.streams = StreamTable(settings.limits.streams_max, idle_ns, self._clock.now)
        shell = DriverShell(store, self.telemetry, self.streams.push)
        self.driver = Driver(node=self._make_node(), clock=self._clock, fatal=fatal, shell=shell)
        self.facade = Facade(self.driver, store)
        self._contexts = self._make_contexts(own)
        self.engine = self._make_engine(own)
        self.driver.attach(self.engine)
        self.facade.peering = self.engine.peering
        self.facade.engine_timing = self.engine.timing
        shell.recorded = self.engine.request_turn
        self.services = Services(
            settings.cluster,
            settings.witness,
            self.facade,
            self.streams,
            self.telemetry,
            settings.limits,
            self._clock,
            make_notifier(settings, self.driver, self.facade, self._clock),
        )
        self._control = Control(settings.data_dir, self._backup)
        self._watch_certificate(own)

    def _make_node(self) -> WitnessNode:
        settings = self.settings
        return WitnessNode(
            self_id=settings.witness,
            cluster=settings.cluster,
            witnesses=settings.members,
            session=secrets.token_bytes(TOKEN_BYTES),
            now=self._clock.now(),
            delays=replace(ASSUMED, election_ns=DurationNs(settings.timers.election_max_ms * NS_PER_MS)),
        )

    def _make_contexts(self, own: OwnCertificate) -> dict[str, ssl.SSLContext]:
        files, clients = self._files, accepting(own.identity, Role.AGENT, Role.OPERATOR)
        peers = accepting(own.identity, Role.WITNESS)
        return {
            "listen": server_context(files, clients),
            "peers": server_context(files, peers),
            # The engine compares the certificate with the name that it dialled: the host's name says nothing more.
            "dial": client_context(files, peers, check_hostname=False),
        }

    def _make_engine(self, own: OwnCertificate) -> PySyncObjConsensus:
        settings = self.settings

        def identify(connection: ssl.SSLObject) -> WitnessId:
            identity = identity_of(connection)
            require_cluster(identity, own.identity.cluster_id)
            return WitnessId(require_role(identity, Role.WITNESS).name)

        return PySyncObjConsensus(
            self_id=settings.witness,
            peers={name: (where.host, where.port) for name, where in settings.peers},
            listen=(settings.listen_peers.host, settings.listen_peers.port),
            store=self._store,
            replicated=self.driver,
            tls=PeerTls(self._contexts["peers"], self._contexts["dial"], identify),
            fatal=fatal,
            clock_ns=self._clock.now,
            timers=settings.timers,
        )

    def _backup(self) -> Parts:
        node, status = self.driver.node, self.engine.status()
        return of_running(
            node.machine.state,
            node.snapshot(),
            self._store,
            term=status.term,
            wall_ms=self._clock.read().wall_ms,
            caught_up=status.has_quorum and status.caught_up,
        )

    # -- life -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Returns after an orderly stop."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        self.telemetry.watch(_Looks(self))
        await self._listen_all()
        try:
            await self.engine.start()
        except OSError as error:
            raise _cannot_listen("listen_peers", self.settings.listen_peers, error) from error
        self.driver.start(loop)
        await self._open_control()
        self._supervise("sweep", self._sweep())
        self._supervise("housekeeping", self._housekeep())
        self._supervise("watch", Watcher(self.driver).run())
        self._supervise("standby", StandbyWatcher(self.driver, self._clock).run())
        if self.services.notifier is not None:
            self._supervise("notify", self.services.notifier.run())
        gc.freeze()  # what was loaded stays: later collections need not look at it again
        log.info("started", witness=self.settings.witness, members=list(self.settings.members))
        await self._stop.wait()
        await self._shut_down()

    async def _open_control(self) -> None:
        try:
            await self._control.start()
        except OSError as error:  # a witness without it decides as well as any; it can be backed up when stopped
            log.warning("no_control_socket", error=str(error), consequence="`witness backup` needs it to be stopped")

    async def _listen_all(self) -> None:
        settings = self.settings
        await self._listen(build_app(self.services), settings.listen, self._contexts["listen"])
        if settings.metrics is not None:
            context = self._contexts["listen"] if settings.metrics.tls else None
            app = build_app(self.services) if settings.metrics.tls else build_metrics_app(self.services)
            await self._listen(app, settings.metrics.listen, context)

    async def _listen(self, app: web.Application, where: Listen, context: ssl.SSLContext | None) -> None:
        runner = web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=KEEPALIVE_S)
        await runner.setup()
        self._runners.append(runner)
        timeouts = {} if context is None else {"ssl_handshake_timeout": HANDSHAKE_S, "ssl_shutdown_timeout": CLOSE_S}
        create = partial(asyncio.get_running_loop().create_server, runner.server, where.host, where.port)
        try:
            server = await create(ssl=context, backlog=BACKLOG, **timeouts)
        except OSError as error:
            raise _cannot_listen("listen", where, error) from error
        self._servers.append(server)

    async def _shut_down(self) -> None:
        self._stopping = True
        log.info("stopping")
        self._control.stop()
        for server in self._servers:
            server.close()
        await say_goodbye(self.services)
        for task in self._tasks:
            task.cancel()
        if self.services.notifier is not None:
            await self.services.notifier.stop()
        self.driver.stop()
        for runner in self._runners:
            await runner.cleanup()
        await self.engine.stop()
        self._store.commit()
        self._store.close()
        log.info("stopped")

    def reload(self) -> None:
        """New connections show and check what the certificate files hold now."""
        try:
            own = own_certificate(self._files)
            require_own(own, self.settings)
            for context in self._contexts.values():
                reload_files(context, self._files)
        except (BadValue, RemoteFault) as error:
            log.warning("certificates_kept", error=str(error))
            return
        self._watch_certificate(own)
        log.info("certificates_reloaded", not_after_s=own.not_after_s)

    # -- what must not end ----------------------------------------------------------------------------------

    def _supervise(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if not self._stopping:
                error = None if task.cancelled() else task.exception()
                fatal(error or InvariantViolation(f"the task {name} ended"))

        task = asyncio.create_task(work, name=name)
        task.add_done_callback(ended)
        self._tasks.append(task)

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, InvariantViolation | LocalFault):
            fatal(error)
        log.warning("loop_error", message=context.get("message", ""), error=repr(error))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.streams.sweep()

    async def _housekeep(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                self._watch_certificate(own_certificate(self._files))
            except BadValue as error:
                log.warning("certificate_files_unusable", error=str(error))

    def _watch_certificate(self, own: OwnCertificate) -> None:
        self.telemetry.certificate.set(own.not_after_s)
        days = own.days_left(self._clock.read().wall_ns / NS_PER_S)
        if days < EXPIRY_WARNING_DAYS:
            remedy = "witness pki issue witness NAME --force, copy the files, then send SIGHUP"
            log.warning("certificate_ends_soon", days_left=round(days, 1), remedy=remedy)


class _Looks:
    """Implements witness.runtime.telemetry.Looks."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def summary(self) -> dict[str, Any]:
        return self._witness.facade.summary()

    def sites(self) -> dict[SiteId, SiteLook]:
        return self._witness.facade.sites(self._witness.services.clock.now())

    def streams(self) -> dict[SiteId, float]:
        return self._witness.streams.silent()

    def consensus(self) -> dict[str, float]:
        engine = self._witness.engine
        status = engine.status()
        numbers = {"term": status.term, "commit_index": status.commit_index, "applied_index": status.applied_index}
        numbers |= {"connected": len(status.connected), "is_candidate": status.role is RaftRole.CANDIDATE}
        numbers |= {"is_learner": engine.standing is Standing.LEARNER}
        return {name: float(value) for name, value in {**numbers, **engine.counters()}.items()}


def _cannot_listen(field: str, where: Listen, error: OSError) -> NotNow:
    rule = f"cannot listen there: {error.strerror or error}"
    return NotNow(field, f"{where.host}:{where.port}", rule, "choose an address of this machine and a free port")


def _arm_failpoint(text: str) -> None:
    """For tests of real processes; without the variable none of it is loaded."""
    from witness.raft import failpoints  # noqa: PLC0415 - see above

    order = failpoints.read_order(text)
    failpoints.install(order)
    remedy = "unset THIRDSITE_FAILPOINT and start again: this is for tests only"
    log.warning("failpoint_armed", point=order.name, count=order.count, action=order.action, remedy=remedy)


async def serve(settings: WitnessSettings) -> None:
    """Runs a witness until it is told to stop. Raises LocalFault or BadValue when it cannot start."""
    setup_logging(level=settings.log.level, json=settings.log.json)
    if "THIRDSITE_FAILPOINT" in os.environ:
        _arm_failpoint(os.environ["THIRDSITE_FAILPOINT"])
    files = TlsFiles(settings.tls.ca, settings.tls.cert, settings.tls.key, settings.tls.crl)
    own = own_certificate(files)
    require_own(own, settings)
    store = open_store(settings.data_dir, settings.cluster, settings.witness)
    require_readable(store, settings.data_dir)
    await Witness(settings, files, own, store).run()
