"""The demo's little world: license server, three witnesses, two sites, started in order and ended in any.

A site is everything that belongs to it: agent, guard, the init of its namespace, the platform. It is found by its
tree and by what the guard recorded of itself, so that a fault hits all of it at once, as the loss of a machine does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import statistics
import sys
import time

from proto.units import WitnessId
from witness.demo.eyes import Expected, Eyes, wait_for
from witness.demo.layout import CALIBRATION_KEY, GROUP, SITES, Layout
from witness.demo.processes import Child, Fleet, Process, below, kill_all, wait_gone
from witness.raft.store import create_store

START_S = 20.0
CALIBRATIONS = 3
COMMAND_S = 30.0


class World:
    """Owned by the story. `end` leaves no process; the layout's directory is the caller's."""

    def __init__(self, layout: Layout, fleet: Fleet, eyes: Eyes) -> None:
        self.layout = layout
        self.fleet = fleet
        self.eyes = eyes
        self.witnesses: dict[str, Child] = {}
        self.agents: dict[str, Child] = {}
        self.license_server: Child | None = None

    # -- starting -------------------------------------------------------------------------------------------

    async def start_license_server(self) -> None:
        layout = self.layout
        options = ["--port", str(layout.license_port), "--log", str(layout.signs_log)]
        command = [sys.executable, "-m", "witness.demo.license_server", *options]
        self.license_server = await self.fleet.start("license", command, layout.logs / "license.log")

        async def answers() -> bool:
            self.require_running(self.license_server)
            with contextlib.suppress(Exception):
                return await self.eyes.verdict() is not None
            return False

        await wait_for("the license server answers", answers, START_S)

    def init_witnesses(self) -> None:
        """What `witness init` does, without three more interpreters to wait for."""
        for name in self.layout.witnesses:
            create_store(self.layout.root / name, self.layout.cluster.cluster_id, WitnessId(name))

    async def start_witness(self, name: str) -> None:
        place = self.layout.witnesses[name]
        self.witnesses[name] = await self.fleet.start(name, _witness("run", "-c", str(place.config)), place.log)

    async def start_agent(self, site: str) -> None:
        place = self.layout.sites[site]
        command = [sys.executable, "-m", "agents", "run", "-c", str(place.config)]
        self.agents[site] = await self.fleet.start(site, command, place.log)

    async def run(self, command: list[str]) -> tuple[int, str]:
        """A short command to its end: exit code and what it said."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(COMMAND_S):
                said, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return -1, f"{' '.join(command)} did not end within {COMMAND_S:.0f} s"
        return process.returncode or 0, said.decode(errors="replace").strip()

    async def operator(self, *arguments: str) -> str:
        """witnessctl, as an operator would use it; raises Expected with what it said when it refuses."""
        code, said = await self.run(witnessctl(self.layout, *arguments))
        if code != 0:
            raise Expected(f"witnessctl {' '.join(arguments)}: exit code {code}: {said}")
        return said

    def require_running(self, *children: Child | None) -> None:
        """Raises Expected when one of them has ended by itself."""
        for child in children:
            if child is not None and child.exit_code is not None:
                raise Expected(f"{child.name} ended with exit code {child.exit_code}: see {child.log.name}")

    def require_all_running(self) -> None:
        self.require_running(self.license_server, *self.witnesses.values(), *self.agents.values())

    # -- what belongs to a site -----------------------------------------------------------------------------

    def site_processes(self, site: str) -> set[Process]:
        agent = self.agents[site]
        found = self.fleet.tree(agent)
        recorded = {pid for pid in self._recorded(site) if Process(*pid).alive()}
        found |= {Process(*pid) for pid in recorded} | below(pid for pid, _ in recorded)
        return found

    def platform_processes(self, site: str) -> set[Process]:
        """What runs in the namespace: everything below the guard's init."""
        record = self._record(site)
        return below([record["init_pid"]]) if record else set()

    def _recorded(self, site: str) -> set[tuple[int, int]]:
        record = self._record(site)
        if not record:
            return set()
        pairs = {(record["guard_pid"], record["guard_started"]), (record["init_pid"], record["init_started"])}
        return {pair for pair in pairs if pair[0] > 0}

    def _record(self, site: str) -> dict[str, int]:
        path = self.layout.sites[site].runtime / f"{GROUP}.guard"
        try:
            return dict(json.loads(path.read_bytes()))
        except (OSError, ValueError):
            return {}

    def forget_guard(self, site: str) -> None:
        """Only where everything of the site was killed and seen dead."""
        (self.layout.sites[site].runtime / f"{GROUP}.guard").unlink(missing_ok=True)

    # -- faults ---------------------------------------------------------------------------------------------

    async def kill_site(self, site: str) -> int:
        """SIGKILL to all of it, as fast as one after the other goes; returns when all of it is dead."""
        victims = self.site_processes(site)
        kill_all(victims)
        left = await wait_gone(victims)
        if left:
            raise Expected(f"{len(left)} processes of {site} survive SIGKILL: {sorted(left)}")
        await self.agents[site].wait(1.0)
        self.fleet.reap()
        return len(victims)

    def stop_site(self, site: str) -> set[Process]:
        """SIGSTOP to all of it; returns whom it hit."""
        victims = self.site_processes(site)
        for one in victims:
            one.signal(signal.SIGSTOP)
        return victims

    # -- measuring the platform alone -----------------------------------------------------------------------

    async def calibrate(self) -> tuple[float, float]:
        """How long the platform itself takes to start and to stop, with nothing of thirdsite around it (median)."""
        place = self.layout.sites[SITES[0]]
        starts, stops = [], []
        for number in range(1, CALIBRATIONS + 1):
            began = time.monotonic()
            await self._platform([*self.layout.start_command(place, CALIBRATION_KEY), str(number)])
            lives = (await self.eyes.verdict(CALIBRATION_KEY))["lives"]
            starts.append(lives[-1]["first_ns"] / 1e9 - began)
            began = time.monotonic()
            await self._platform(self.layout.stop_command(place))
            stops.append(time.monotonic() - began)
            self.fleet.reap()
        return statistics.median(starts), statistics.median(stops)

    async def _platform(self, command: list[str]) -> None:
        code, said = await self.run(command)
        if code != 0:
            raise Expected(f"the platform alone: {said}")

    async def end(self) -> None:
        await self.eyes.close()
        await self.fleet.end(*self.agents.values())


def _witness(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "witness", *arguments]


def witnessctl(layout: Layout, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "witness.ctl", *arguments, "--config", str(layout.ctl)]
