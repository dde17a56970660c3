"""D1 on a real, small file system: a full disk costs one witness and nothing that was acknowledged."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from crashrig.campaign import Campaign, Result
from crashrig.cluster import Cluster, Nursery

MIB = 1024 * 1024
ENTRY_BYTES = 60_000
WITHIN_S = 30.0
BEHIND = 25

pytestmark = [
    pytest.mark.process,
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("nsenter") is None,
        reason="D1 needs root, unshare and nsenter: a file system is mounted where only the test's processes see it",
    ),
]


class Small:
    """Three witnesses, w1 of them on the small disk."""

    def __init__(self, root: Path, size: str, space: tuple[int, int]) -> None:
        self.disk = root / "w1"
        self.disk.mkdir(mode=0o700)
        self.nursery = Nursery((self.disk, size))
        self.cluster = Cluster(root, self.nursery, ballast=0, entries_max=40, small=("w1", space))
        self.victim = self.cluster.witnesses["w1"]
        self.campaign = Campaign(self.cluster, Result())
        self._rng = random.Random(1)
        self._texts = 0

    async def write(self) -> None:
        self._texts += 1
        await self.campaign.write(f"text-{self._texts}", ENTRY_BYTES, self._rng)

    async def write_until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        ends = time.monotonic() + WITHIN_S
        while not await condition():
            assert time.monotonic() < ends, f"not within {WITHIN_S} s: {what}"
            await self.write()

    async def is_gone(self) -> bool:
        return not self.victim.alive

    async def is_behind(self) -> bool:
        counts = {one.name: (await one.ask("look", "look"))["count"] for one in self.cluster.alive}
        assert "w1" in counts, self.victim.last_words
        return max(counts.values()) - counts["w1"] >= BEHIND

    async def judge(self, number: int) -> None:
        await self.cluster.start_dead()
        await self.campaign.judge(number, self._rng)

    def fill(self, mib: int) -> None:
        self.nursery.inside("dd", "if=/dev/zero", f"of={self.disk}/filler", "bs=1M", f"count={mib}", "status=none")


@asynccontextmanager
async def small(root: Path, size: str, space: tuple[int, int]) -> AsyncIterator[Small]:
    made = Small(root, size, space)
    try:
        await made.cluster.start_dead()
        await made.cluster.leader()
        yield made
    finally:
        await made.cluster.end()
        made.nursery.end()


async def test_a_disk_that_is_full_in_the_middle_of_a_write_ends_the_witness(tmp_path: Path) -> None:
    """No thresholds: SQLite itself meets the end of the disk."""
    async with small(tmp_path, "2m", (0, 0)) as here:
        await here.write_until(here.is_gone, "w1 meets its full disk")
        assert "DurabilityLost" in here.victim.last_words
        assert "check the disk and its free space" in here.victim.last_words
        for _ in range(5):
            await here.write()  # the two others go on
        here.nursery.inside("mount", "-o", "remount,size=64m", str(here.disk))
        await here.judge(1)


async def test_a_disk_that_fills_up_stops_acknowledging_first_and_the_process_in_order_later(tmp_path: Path) -> None:
    async with small(tmp_path, "64m", (24 * MIB, 12 * MIB)) as here:
        await here.write()
        here.fill(64 - 18)
        await here.write_until(here.is_behind, "w1 takes no more entries")
        here.nursery.inside("rm", f"{here.disk}/filler")
        await here.judge(1)
        assert here.victim.lives == 1, "it came back without a restart"
        here.fill(64 - 8)
        await here.write_until(here.is_gone, "w1 ends by its own will")
        assert "free" in here.victim.last_words
        here.nursery.inside("rm", f"{here.disk}/filler")
        await here.judge(2)
