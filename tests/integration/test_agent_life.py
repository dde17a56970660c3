"""The real driver, runner and guards under a scripted witness: from the grant to the release, and every way out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import pytest
from agent_process import runs
from free_ports import free_ports
from scripted_witness import ScriptedLease, ScriptedWitness

from agents.core.settings import ProbeKind, ProbeRole
from agents.runtime import life
from agents.runtime.life import StopCutShort
from agents.runtime.supervisor import Agent
from agents.runtime.turn import Successor, Turn
from agents.settings import (
    CheckSpec,
    Endpoint,
    GroupSpec,
    PlanSpec,
    ProbeSpec,
    ResourceSpec,
    SiteSettings,
    StepSpec,
    TlsPaths,
)
from agents.store import open_store
from proto.decisions import Reason
from proto.edge.log_settings import LogSettings
from proto.health import SiteState
from proto.messages import NoticeKind, ReleaseKind, RevokePhase
from proto.units import ClusterId, GroupId, SiteId

pytestmark = pytest.mark.process
G = GroupId("shop")
CLUSTER = ClusterId("c" * 32)
NOWHERE = Path("/nonexistent")
WAIT_S = 20.0

PLATFORM = "echo $$ >> {pids}; env | grep THIRDSITE_ | sort > {env}; exec sleep 600"


class World:
    """One agent in this process, its witnesses, and the platform that its steps start."""

    def __init__(self, tmp_path: Path) -> None:
        self.dir = tmp_path
        self.lease = ScriptedLease(G)
        (self.port,) = free_ports(1)
        self.marker = f"thirdsite-test-{os.getpid()}-{self.port}"
        start = f"exec -a {self.marker} sleep 600 &"
        self.activation: tuple[StepSpec, ...] = (
            StepSpec("env", ("/bin/sh", "-c", f"env | grep THIRDSITE_ > {tmp_path}/env")),
            StepSpec("start", ("/bin/bash", "-c", f"({start})")),
        )
        self.deactivation: tuple[StepSpec, ...] = (StepSpec("drain", ("/usr/bin/touch", f"{tmp_path}/drained")),)
        self.checks: tuple[CheckSpec, ...] = ()
        self.probes: tuple[ProbeSpec, ...] = ()
        self.resources = ResourceSpec()
        self.enforce = True
        self.agent: Agent | None = None
        self.fatal: list[BaseException] = []

    def settings(self, *witnesses: ScriptedWitness) -> SiteSettings:
        group = GroupSpec(
            group=G,
            enforce=self.enforce,
            budgets=None,
            activation=PlanSpec(10_000, self.activation),
            deactivation=PlanSpec(10_000, self.deactivation),
            checks=self.checks,
            probes=self.probes,
            resources=self.resources,
        )
        return SiteSettings(
            cluster=CLUSTER,
            site=SiteId("dc-a"),
            tls=TlsPaths(NOWHERE, NOWHERE, NOWHERE),
            state_dir=self.dir / "state",
            runtime_dir=self.dir / "run",
            witnesses=tuple((witness.id, witness.endpoint) for witness in witnesses),
            http=Endpoint("127.0.0.1", self.port),
            groups=(group,),
            log=LogSettings(),
        )

    @contextlib.asynccontextmanager
    async def running(self, *witnesses: ScriptedWitness) -> AsyncIterator[Agent]:
        """An agent until the end of the block, then stopped in order."""
        settings = self.settings(*witnesses)
        store = open_store(settings.state_dir, settings.runtime_dir, [G])
        self.agent = Agent(settings, store, None, self._fatal)
        task = asyncio.create_task(self.agent.run())
        try:
            yield self.agent
        finally:
            self.agent.stop()
            await asyncio.wait_for(task, WAIT_S)
            assert self.fatal == []

    def _fatal(self, error: BaseException) -> NoReturn:
        self.fatal.append(error)
        traceback.print_exception(error)
        raise error

    def platform(self) -> list[int]:
        """Whatever carries the marker in its name, anywhere on this host."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if self.marker.encode() in (entry / "cmdline").read_bytes() and runs(int(entry.name)):
                        found.append(int(entry.name))
        return found

    def view(self) -> dict[str, Any]:
        assert self.agent is not None
        view = self.agent.driver.group_status(G)
        assert view is not None
        return view

    async def until(self, condition: Callable[[], bool], why: str) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition():  # noqa: ASYNC110 - conditions of the outside world have no event
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pytest.fail(f"{why}: {self.view() if self.agent else ''}; reports {self.lease.reports[-1:]}")

    async def until_state(self, state: SiteState) -> None:
        await self.until(lambda: self.lease.state is state, f"never {state.value}")

    async def activate(self, epoch: int) -> None:
        await self.until(lambda: self.lease.state in (SiteState.STANDBY, SiteState.FENCED), "never dormant")
        self.lease.grant(epoch)
        await self.until(lambda: self.lease.state is SiteState.ACTIVE and self.view()["active"], "never active")

    async def ask(self, path: str) -> tuple[int, dict[str, str], str]:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, dict(response.headers), await response.text()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def witness(world: World, name: str = "w1", *, leading: bool = True) -> ScriptedWitness:
    return ScriptedWitness(name, CLUSTER, world.lease, leading=leading)


async def test_grant_claim_active_revoke_release(world: World) -> None:
    async with witness(world) as w1, world.running(w1) as agent:
        await world.until_state(SiteState.STANDBY)
        assert (await world.ask("/"))[0] == 503
        await world.activate(7)
        assert world.platform() != []
        status, headers, _ = await world.ask("/v1/groups/shop")
        assert (status, headers["Thirdsite-Epoch"]) == (200, "7")
        assert 0 < int(headers["Thirdsite-Remaining-Ms"]) <= world.lease.ttl_ms
        renewed = world.lease.renewal
        await world.until(lambda: world.lease.renewal >= renewed + 3, "no renewals")
        env = dict(line.split("=", 1) for line in (world.dir / "env").read_text().splitlines())
        assert env["THIRDSITE_EPOCH"] == "7"
        assert env["THIRDSITE_PLAN"].startswith("activate-7-")
        assert int(env["THIRDSITE_DEADLINE_BOOTTIME_NS"]) > 0
        _, _, text = await world.ask("/metrics")
        assert 'thirdsite_agent_group_active{group="shop"} 1.0' in text
        _, _, text = await world.ask("/status")
        assert '"state": "active"' in text
        world.lease.revoke = RevokePhase.REVOKING
        await w1.notice(NoticeKind.REVOKED)
        await world.until(lambda: world.lease.releases != [], "never released")
        release = world.lease.releases[0]
        assert (release.epoch, release.kind) == (7, ReleaseKind.CLEAN)
        assert world.platform() == []
        assert (world.dir / "drained").exists()
        assert (await world.ask("/"))[0] == 503
        await world.until_state(SiteState.STANDBY)
        await world.until(lambda: world.lease.reports[-1].finished_epoch == 7, "never said that epoch 7 is finished")
        assert agent.core.groups[G].containment.startswith(("pid-namespace", "user+pid-namespace", "process-group"))
        await world.activate(9)
        assert len(world.platform()) == 1


async def test_silence_ends_the_platform_by_the_deadline(world: World) -> None:
    async with witness(world) as w1, world.running(w1):
        await world.activate(3)
        w1.silent = True
        await world.until(lambda: not world.view()["active"], "still active without answers")
        await world.until(lambda: world.view()["remaining_ms"] == 0, "authority without answers")
        await world.until(lambda: world.platform() == [], "the platform outlived its lease")
        world.lease.expire()
        w1.silent = False
        await world.until(lambda: world.lease.state in (SiteState.STANDBY, SiteState.FENCED), "never dormant")
        await world.activate(4)
        assert len(world.platform()) == 1


async def test_a_killed_guard_is_a_fence(world: World) -> None:
    async with witness(world) as w1, world.running(w1) as agent:
        await world.activate(3)
        guard = agent.driver.runners[G]._guards.guard  # type: ignore[attr-defined]  # the process to kill
        os.kill(guard.guard_pid, signal.SIGKILL)
        await world.until(lambda: world.lease.releases != [], "never released")
        assert world.platform() == []
        assert world.lease.releases[0].text.startswith("fenced: guard lost")
        await world.until_state(SiteState.FENCED)
        await world.activate(5)


async def test_a_refused_renewal_is_a_fence(world: World) -> None:
    async with witness(world) as w1, world.running(w1):
        await world.activate(3)
        world.lease.refuse = Reason.NOT_HOLDER
        await world.until_state(SiteState.FENCED)
        assert world.platform() == []


async def test_a_failed_activation_is_unwound_and_released_with_the_reason(world: World) -> None:
    world.activation = (
        *world.activation,
        StepSpec("lic", ("/bin/sh", "-c", "echo license server says no; exit 4")),
    )
    async with witness(world) as w1, world.running(w1):
        await world.until_state(SiteState.STANDBY)
        world.lease.grant(3)
        await world.until(lambda: world.lease.releases != [], "never released")
        release = world.lease.releases[0]
        assert release.kind is ReleaseKind.ACTIVATION_FAILED
        assert "lic: exit code 4" in release.text
        assert "license server says no" in release.text
        assert world.platform() == []


async def test_a_failed_activation_is_taken_back_in_reverse_and_its_daemons_die_with_the_namespace(
    world: World,
) -> None:
    """The daemon is double-forked, in its own session and deaf for TERM; the undo commands see it alive."""
    daemon = "import os, signal, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
    daemon += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
    said = world.dir / "said"

    def undo(name: str) -> tuple[str, ...]:
        return ("/bin/sh", "-c", f"echo {name} $THIRDSITE_CAUSE >> {said}")

    world.activation = (
        StepSpec("daemon", (sys.executable, "-I", "-S", "-c", daemon, world.marker), undo=undo("daemon")),
        StepSpec("fails", ("/bin/false",), undo=undo("fails")),
        StepSpec("never", ("/bin/true",), undo=undo("never")),
    )
    async with witness(world) as w1, world.running(w1):
        await world.until_state(SiteState.STANDBY)
        world.lease.grant(7)
        await world.until(lambda: world.lease.releases != [], "never released")
        assert world.lease.releases[0].kind is ReleaseKind.ACTIVATION_FAILED
        assert world.platform() == []
        assert said.read_text().splitlines() == ["fails unwind", "daemon unwind"]
        assert not (world.dir / "state" / "shop.plan").exists()


async def test_what_cannot_be_proven_down_is_never_standby(world: World) -> None:
    with socket.socket() as stubborn:
        stubborn.bind(("127.0.0.1", 0))
        stubborn.listen()
        target = Endpoint("127.0.0.1", stubborn.getsockname()[1])
        world.checks = (CheckSpec("port", ProbeKind.TCP, target, (), 500),)
        async with witness(world) as w1, world.running(w1):
            await world.until(lambda: any(report.blockers for report in world.lease.reports), "nothing was told")
            assert world.lease.state is SiteState.UNKNOWN
            stubborn.close()
            await world.until_state(SiteState.STANDBY)


async def test_an_orderly_stop_releases(world: World) -> None:
    async with witness(world) as w1:
        async with world.running(w1):
            await world.activate(3)
        assert [release.epoch for release in world.lease.releases] == [3]
        assert world.platform() == []


async def test_renewals_go_over_another_witness_when_one_is_silent(world: World) -> None:
    async with witness(world) as w1, witness(world, "w2", leading=False) as w2, world.running(w1, w2):
        await world.activate(3)
        assert w2.beats == 0
        w1.silent = True
        await world.until(lambda: w2.answered >= 3, "no renewal over the other witness")
        assert world.view()["active"]
        assert world.lease.releases == []
        assert len(world.platform()) == 1


async def test_a_group_that_is_only_watched_is_left_alone(world: World) -> None:
    world.enforce = False
    ready = ProbeSpec("disk", ProbeRole.READY, ProbeKind.EXEC, None, "", ("/bin/true",), (200,), True, 100, 1_000, 1, 1)
    world.probes = (ready,)
    async with witness(world) as w1, world.running(w1):
        await world.until(lambda: any(report.ready for report in world.lease.reports), "never ready")
        assert not world.lease.reports[-1].enforce
        world.lease.grant(3)
        answered = w1.answered
        await world.until(lambda: w1.answered >= answered + 3, "no heartbeats")
        assert world.lease.claim is None
        assert world.platform() == []


async def test_bounds_outlive_the_agent(world: World) -> None:
    async with witness(world) as w1:
        async with world.running(w1):
            await world.activate(8)
        world.lease.reports.clear()
        async with world.running(w1):
            await world.until_state(SiteState.STANDBY)
            assert (world.lease.reports[-1].epoch_bound, world.lease.reports[-1].finished_epoch) == (8, 8)
            world.lease.grant(8)
            answered = w1.answered
            await world.until(lambda: w1.answered >= answered + 3, "no heartbeats")
            assert world.lease.claim is None, "an epoch is begun at most once"


async def test_a_stream_is_refused_by_the_wrong_cluster(world: World) -> None:
    async with ScriptedWitness("w1", ClusterId("d" * 32), world.lease) as w1, world.running(w1) as agent:
        await world.until(lambda: "problem" in agent.streams.status()["w1"], "nothing was told")
        status = agent.streams.status()["w1"]
        assert status["goodbye"] == "wrong-cluster"
        assert dataclasses.is_dataclass(agent.settings)


async def test_a_second_signal_cuts_the_stop_short_says_so_and_the_guard_ends_the_platform(world: World) -> None:
    world.deactivation = (StepSpec("hangs", ("/bin/sleep", "60")),)
    async with witness(world) as w1:
        with pytest.raises(StopCutShort, match="before everything was"):  # noqa: PT012 - told by the block's end
            async with world.running(w1) as agent:
                await world.activate(3)
                agent.stop()
                agent.stop()
        await world.until(lambda: world.platform() == [], "the guard did not end it at its deadline")
        assert world.lease.releases == []


async def test_a_stop_that_comes_during_a_hand_over_is_not_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepared(_config: Path, *_kind: str) -> int:
        return os.memfd_create("settings")

    async def stood_by(_config: Path, settings_fd: int, *_kind: str) -> Successor:
        ours, theirs = socket.socketpair()
        theirs.close()
        return Successor(settings_fd, Turn(ours.detach()))

    monkeypatch.setattr(life, "prepare", prepared)
    monkeypatch.setattr(life, "stand_by", stood_by)
    handed_over = asyncio.Event()
    async with witness(world) as w1:
        with pytest.raises(StopCutShort, match="while it became the new program"):  # noqa: PT012 - told by its end
            async with world.running(w1) as agent:
                await world.activate(3)
                abandon = agent.driver.abandon

                async def told_to_stop() -> None:
                    agent.stop()
                    await abandon()
                    handed_over.set()

                monkeypatch.setattr(agent.driver, "abandon", told_to_stop)
                monkeypatch.setattr(agent, "_config", Path("agent.yaml"))
                agent.upgrade()
                await asyncio.wait_for(handed_over.wait(), 10)
        await world.until(lambda: world.platform() == [], "the guard did not end it at its deadline")
        assert world.lease.releases == []
