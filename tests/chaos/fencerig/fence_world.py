"""One rig: three real witnesses, two real agents with their guards, a referee; how it is looked at and struck.

Everything that is started is ended by its pid, by the demo's fleet. Faults go to processes of one site that were
found below its agent or named by its guard's record.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fencerig import unanswered_mount
from fencerig.activity import MS, Epoch, Report, read_report
from fencerig.fence_layout import FenceLayout

from agents.fencing.kernel_calls import library
from witness.demo.eyes import Expected, open_eyes, wait_for
from witness.demo.layout import SITES
from witness.demo.processes import Child, Fleet, Process
from witness.demo.story import DORMANT
from witness.demo.world import START_S, World

SETTLE_S = 40.0
RENEWALS_PER_TTL = 3
LOOKS_MIN = 4
MNT_DETACH = 2
REFEREE = Path(__file__).with_name("activity_referee.py")
UNANSWERED = Path(unanswered_mount.__file__)
Json = dict[str, Any]


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Active:
    """Who is active when all is well, and by which epoch."""

    site: str
    other: str
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Deadline:
    """Of a lease, by looks at its agent's status: no earlier than `low_ns`, no later than `high_ns`."""

    low_ns: int
    high_ns: int

    @property
    def at_ns(self) -> int:
        return (self.low_ns + self.high_ns) // 2

    def ms_after(self, instant_ns: int) -> float:
        """Negative: before the deadline."""
        return round((instant_ns - self.at_ns) / MS, 1)


class FenceWorld(World):
    """Owned by the run. `end` leaves no process; the layout's directory is the caller's."""

    def __init__(self, layout: FenceLayout, fleet: Fleet) -> None:
        super().__init__(layout, fleet, open_eyes(layout))
        self.rig = layout
        self.ttl_ns = layout.ttl_ms * MS

    # -- starting -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns with one site active and the other ready."""
        self.init_witnesses()
        await self.helper("referee", [str(REFEREE), str(self.rig.referee), str(self.rig.stamps)])
        await wait_for("the referee listens", self._has_referee, START_S)
        for name in self.rig.witnesses:
            await self.start_witness(name)
        for site in SITES:
            await self.start_agent(site)
        await wait_for("the witnesses elect a leader", self.eyes.leader, START_S)
        await self.operator("apply", "--file", str(self.rig.groups))
        await self.settled()

    async def _has_referee(self) -> bool:
        return self.rig.referee.exists()

    async def helper(self, name: str, arguments: list[str]) -> Child:
        """Ends when its stdin is closed, so also when this process is killed."""
        log = self.rig.logs / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self.fleet.children.append(child)
        return child

    @contextlib.asynccontextmanager
    async def unanswered(self) -> Any:
        """A mounted file system that does not answer, while the context lasts."""
        directory = str(self.rig.unanswered)
        child = await self.helper("unanswered", [str(UNANSWERED), directory])

        async def mounted() -> bool:
            self.require_running(child)
            return b"mounted" in child.log.read_bytes()

        child.log.write_bytes(b"")
        try:
            await wait_for("the file system is mounted", mounted, START_S)
            yield directory
        finally:
            child.signal(signal.SIGTERM)
            await child.wait(START_S)
            library().umount2(directory.encode(), MNT_DETACH)

    # -- looking --------------------------------------------------------------------------------------------

    async def report(self) -> Report:
        """The referee's word."""
        reader, writer = await asyncio.open_unix_connection(str(self.rig.referee), limit=1 << 24)
        try:
            writer.write(b"report\n")
            return read_report(json.loads(await asyncio.wait_for(reader.readline(), START_S)))
        finally:
            writer.close()

    async def settled(self) -> Active:
        """One site is active and seen by the referee, the other stands by, ready and free of quarantine."""
        return await wait_for("one site is active and the other ready", self._settled, SETTLE_S)

    async def _settled(self) -> Active | None:
        self.require_running(*self.witnesses.values(), *self.agents.values())
        group = await self.eyes.group()
        sites = {} if group is None else {one["site"]: one for one in group["sites"]}
        active = [name for name, one in sites.items() if one["state"] == "active"]
        if len(active) != 1 or len(sites) != len(SITES):
            return None
        (other,) = (name for name in SITES if name != active[0])
        free = sites[other]["state"] in DORMANT and sites[other]["ready"] and not sites[other]["quarantine"]
        newest = (await self.report()).newest()
        if not free or newest is None or newest.site != active[0] or newest.gone_ns is not None:
            return None
        return Active(active[0], other, newest)

    async def renewal(self) -> int:
        """The last one that any witness has applied."""
        seen = await asyncio.gather(*(self.eyes.group_at(name) for name in self.rig.witnesses))
        return max((int(one["renewal"]) for one in seen if one is not None), default=-1)

    async def still(self, site: str, deadline: Deadline) -> bool:
        """One more look at the agent agrees with that deadline."""
        before = now_ns()
        seen = await self.eyes.agent(site)
        if seen is None:
            return False
        left_ms = seen["remaining_ms"]
        return before + left_ms * MS <= deadline.high_ns and deadline.low_ns <= now_ns() + (left_ms + 1) * MS

    async def deadline(self, site: str) -> Deadline:
        """At a moment when no renewal is just on its way: the next one is due in a third of a period at least."""
        period_ms = self.rig.ttl_ms / RENEWALS_PER_TTL
        low, high, looks = 0, 1 << 63, 0
        ends = now_ns() + 3 * self.ttl_ns
        while now_ns() < ends:
            before = now_ns()
            seen = await self.eyes.agent(site)
            if seen is None:
                continue
            left_ms = seen["remaining_ms"]
            this = before + left_ms * MS, now_ns() + (left_ms + 1) * MS
            if this[0] > high or this[1] < low:
                low, high, looks = *this, 1
            else:
                low, high, looks = max(low, this[0]), min(high, this[1]), looks + 1
            since_ms = self.rig.ttl_ms - left_ms
            if looks >= LOOKS_MIN and 0.05 * period_ms < since_ms < 0.6 * period_ms:
                return Deadline(low, high)
        raise Expected(f"{site}: no quiet moment between two renewals within {3 * self.rig.ttl_ms} ms")

    def log_mark(self, site: str) -> int:
        return self.rig.sites[site].log.stat().st_size

    def log_lines(self, site: str, mark: int, event: str) -> list[Json]:
        """What the agent said of that kind since the mark."""
        found = []
        with self.rig.sites[site].log.open("rb") as file:
            file.seek(mark)
            for line in file.read().splitlines():
                with contextlib.suppress(ValueError):
                    said = json.loads(line)
                    if said.get("event") == event:
                        found.append(said)
        return found

    # -- striking -------------------------------------------------------------------------------------------

    def guard(self, site: str) -> Process:
        record = self._record(site)
        if not record:
            raise Expected(f"{site} has no guard")
        return Process(record["guard_pid"], record["guard_started"])

    def agent(self, site: str) -> Process:
        return self.agents[site].identity

    def stop_all(self, site: str) -> set[Process]:
        """SIGSTOP to everything of a site; what was just being started too. Returns whom it hit."""
        hit: set[Process] = set()
        self.agent(site).signal(signal.SIGSTOP)
        while new := self.site_processes(site) - hit:
            for one in new:
                one.signal(signal.SIGSTOP)
            hit |= new
        return hit

    @staticmethod
    def cont(processes: Iterable[Process]) -> int:
        """Returns how many of them there still are."""
        living = [one for one in processes if one.alive()]
        return sum(one.signal(signal.SIGCONT) for one in living)

    async def until(self, instant_ns: int) -> None:
        """A span that must pass."""
        await asyncio.sleep(max(0, instant_ns - now_ns()) / 1e9)  # the span that the caller names

    def manner(self, site: str, words: Sequence[str] = ()) -> None:
        """How the next platform of that site resists."""
        (self.rig.sites[site].data / "manner").write_text(" ".join(words), encoding="ascii")
