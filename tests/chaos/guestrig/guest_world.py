"""A rig whose first site is a whole virtual machine: witnesses, license server and the other site run beside it.

The license server is the demo's: it stands outside of every guest and stamps with its own clock. The guest's agent
reaches it and the witnesses on its own loopback, which its init carries to this machine's.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guestrig.guest_image import write_image
from guestrig.guest_machine import Emulator, Machine

from witness.demo.eyes import Expected, open_eyes, wait_for
from witness.demo.layout import GROUP, SITES, Layout
from witness.demo.processes import Fleet
from witness.demo.referee import Life
from witness.demo.story import DORMANT
from witness.demo.world import START_S, World

GUEST_PORT = 21_999
BOOT_S = 300.0
"""An emulated processor is some twenty times slower."""
FROZEN_TTLS = 3
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """One freeze. In ms; from the instant at which the guest went on, as the license server's clock has it."""

    silent_ms: float
    """From the last sign before the freeze to the first one after it."""
    other_first_ms: float
    """The other site's first sign: negative, it was active before the guest went on."""
    window_ms: float
    """The frozen site's last sign: until then both were active."""
    signs_in_window: int


class GuestWorld(World):
    def __init__(self, layout: Layout, fleet: Fleet, emulator: Emulator) -> None:
        super().__init__(layout, fleet, open_eyes(layout))
        self.emulator = emulator
        self.machine: Machine | None = None

    async def start(self, kernel_modules: Path) -> None:
        """Returns with the guest's site active and the other one ready."""
        layout, home = self.layout, self.layout.sites[SITES[0]]
        self.init_witnesses()
        await self.start_license_server()
        for name in layout.witnesses:
            await self.start_witness(name)
        await self.start_agent(SITES[1])
        image = layout.root / "guest.image"
        told = {
            "to_host": [layout.license_port, *(one.api for one in layout.witnesses.values())],
            "from_host": [[GUEST_PORT, home.local]],
            "command": [sys.executable, "-m", "agents", "run", "-c", str(home.config)],
        }
        files = [layout.root / "pki", layout.root / home.name, home.config]
        await asyncio.to_thread(write_image, image, kernel_modules, files, told)
        log = layout.logs / "guest.log"
        self.machine = await Machine.start(self.fleet, self.emulator, image, log, {home.local: GUEST_PORT})
        await wait_for("the witnesses elect a leader", self.eyes.leader, START_S)
        await wait_for("the guest's agent answers", self._answers, BOOT_S)
        await self.operator("apply", "--file", str(layout.groups))
        await self.at_home()

    async def _answers(self) -> bool:
        self.require_running(self.machine.child if self.machine else None)
        return await self.eyes.agent(SITES[0]) is not None

    async def at_home(self) -> None:
        """The guest's site is active, handed over to if need be, and the other one is ready."""

        async def look() -> bool:
            group = await self.eyes.group()
            sites = {} if group is None else {one["site"]: one for one in group["sites"]}
            if len(sites) < len(SITES):
                return False
            home, other = (sites[name] for name in SITES)
            if other["state"] == "active" and home["state"] in DORMANT and home["ready"] and not home["quarantine"]:
                words = ("switchover", GROUP, "--to", SITES[0], "--reason", "a trial", "--no-wait")
                await self.operator(*words)
                await asyncio.sleep(1)  # the handover is under way; asked for again, if it is not, after that
                return False
            return (
                home["state"] == "active" and other["state"] in DORMANT and other["ready"] and not other["quarantine"]
            )

        await wait_for(f"{SITES[0]} is active", look, BOOT_S)

    async def freeze(self) -> Window:
        """Of the active guest, for three leases; what was seen from outside."""
        if self.machine is None:
            raise Expected("there is no guest")
        before = await self._newest()
        if before.site != SITES[0]:
            raise Expected(f"{before.site} is active, and not the guest's site")
        await self.machine.freeze()
        frozen = await self._newest()
        ends = time.monotonic() + FROZEN_TTLS * self.layout.ttl_ms / 1_000
        other = await self._next(before)
        await asyncio.sleep(max(0.0, ends - time.monotonic()))  # the span of the freeze
        went_on_ns = time.monotonic_ns()
        await self.machine.go_on()
        await self._silent(before.instance)
        after = await self._life(before.instance)
        return Window(
            silent_ms=(went_on_ns - frozen.last_ns) / 1e6,
            other_first_ms=(other.first_ns - went_on_ns) / 1e6,
            window_ms=max(0.0, (after.last_ns - went_on_ns) / 1e6),
            signs_in_window=after.signs - frozen.signs,
        )

    async def _newest(self) -> Life:
        lives = await self.eyes.lives()
        if not lives:
            raise Expected("the license server has seen no activation")
        return Life(**lives[-1])

    async def _next(self, before: Life) -> Life:
        async def born() -> Life | None:
            newest = await self._newest()
            return newest if newest.instance != before.instance else None

        return await wait_for("the other site takes over", born, FROZEN_TTLS * self.layout.ttl_ms / 1_000)

    async def _life(self, instance: str) -> Life:
        return next(Life(**one) for one in await self.eyes.lives() if one["instance"] == instance)

    async def _silent(self, instance: str) -> None:
        """It has given no sign for half a lease: a site that goes on gives some thirty in that time."""

        async def look() -> bool:
            return time.monotonic_ns() - (await self._life(instance)).last_ns > self.layout.ttl_ms * 500_000

        await asyncio.sleep(self.layout.ttl_ms / 2_000)  # a guest that has just gone on has been silent already
        await wait_for("the frozen site ends", look, BOOT_S)
