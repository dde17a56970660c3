"""The story that the demo tells, phase by phase; each phase waits for what must happen and measures it.

Rule: a phase ends only when what it promises was seen, by the referee wherever the referee can see it; the first
expectation that does not hold ends the story. Times of phases begin at the fault and are read on one clock.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from proto.lease import LeaseConstants, witness_wait
from proto.limits import DRIFT_MAX_PPM_DEFAULT
from witness.demo.eyes import Expected, wait_for
from witness.demo.findings import Findings
from witness.demo.layout import SITES
from witness.demo.measures import rest_of_lease_s, takeover_parts
from witness.demo.referee import Life
from witness.demo.show import Show
from witness.demo.world import World

SETTLE_S = 20.0
"""For what has no bound of its own: processes start, a site is heard."""
DORMANT = frozenset({"standby", "fenced"})
WEAK = "process-group"


@dataclasses.dataclass(slots=True)
class Fault:
    """The instant of a fault on the clocks that it is measured with, and what was left of the lease then."""

    letter: str
    mono_s: float
    wall_s: float
    events: int
    rest_s: float | None


class Story:
    def __init__(self, world: World, show: Show, findings: Findings) -> None:
        self.world = world
        self.eyes = world.eyes
        self.show = show
        self.findings = findings
        self.constants = LeaseConstants(world.layout.ttl_ms, DRIFT_MAX_PPM_DEFAULT, 0)
        self.marks: list[tuple[int, str]] = []
        self.activations = 0
        self.began_ns = time.monotonic_ns()

    @property
    def expiry_s(self) -> float:
        return witness_wait(self.constants) / 1e9

    # -- beginning ------------------------------------------------------------------------------------------

    async def set_up(self) -> None:
        world, findings = self.world, self.findings
        with self.show.phase("set_up", "-", "a license server, three witnesses and two sites start on loopback"):
            world.init_witnesses()
            await world.start_license_server()
            findings.platform_start_s, findings.platform_stop_s = await world.calibrate()
            for name in world.layout.witnesses:
                await world.start_witness(name)
            for site in SITES:
                await world.start_agent(site)
            leader = await wait_for("the witnesses elect a leader", self._leader, SETTLE_S)
        own = f"{_ms(findings.platform_start_s)} to start, {_ms(findings.platform_stop_s)} to stop"
        self.show.say(f"leader {leader}; the platform alone takes {own}")

    async def _leader(self) -> str | None:
        self.world.require_all_running()
        return await self.eyes.leader()

    async def join(self) -> None:
        text = f"both sites join; after one full lease ({self.expiry_s:.2f} s, nobody knows what ran before) one starts"
        with self.show.phase("join", "a", text):
            began = time.monotonic()
            self._mark("a")
            await self._apply()
            life = await self.next_life(SITES[0], self.expiry_s + SETTLE_S)
            await self.settled(SITES[0], "active")
            await self.settled(SITES[1], "standby")
            await self._note_containment()
        took = life.first_ns / 1e9 - began
        self.show.say(f"{SITES[0]} is active in epoch {life.epoch}, {took:.2f} s after the group was configured")
        self.show.say(f"its page: {await self.eyes.page(SITES[0])}")
        if self.weak:
            self.show.warn(f"held weaker here: {self.findings.containment}")
        else:
            self.show.say(f"held by: {self.findings.containment}")

    async def _apply(self) -> None:
        await self.world.operator("apply", "--file", str(self.world.layout.groups))
        group = await wait_for("the group is there", self.eyes.group, SETTLE_S)
        self.findings.takeover_max_s = group["takeover_max_ms"] / 1_000

    async def _note_containment(self) -> None:
        seen = await self.eyes.site(SITES[0])
        self.findings.containment = None if seen is None else seen["containment"]

    @property
    def weak(self) -> bool:
        return (self.findings.containment or WEAK).startswith(WEAK)

    # -- what every phase needs -----------------------------------------------------------------------------

    def _mark(self, letter: str) -> None:
        self.marks.append((time.monotonic_ns(), letter))

    async def fault(self, letter: str, site: str) -> Fault:
        """To be called just before the fault at that site: what is left of its lease, and the clocks."""
        events = await self.eyes.events_head()
        remaining_s = await self.between_renewals(site)
        rest_s = None if remaining_s is None else rest_of_lease_s(remaining_s, self.constants)
        self._mark(letter)
        return Fault(letter, time.monotonic(), time.time(), events, rest_s)

    async def between_renewals(self, site: str) -> float | None:
        """What is left of the lease, at a moment when no renewal is just on its way."""
        period_s = self.constants.ttl_ms / 3_000
        newest_s = self.constants.ttl_ms / 1_000

        async def quiet() -> float | None:
            seen = await self.eyes.agent(site)
            left_s = 0.0 if seen is None else seen["remaining_ms"] / 1_000
            since_s = newest_s - left_s
            return left_s if 0.1 * period_s < since_s < 0.8 * period_s else None

        try:
            return await wait_for(f"a quiet moment at {site}", quiet, 3 * newest_s)
        except Expected:
            return None

    async def next_life(self, site: str, seconds: float) -> Life:
        """The next activation that the referee sees must be at this site."""
        count = self.activations

        async def born() -> dict[str, Any] | None:
            self.world.require_running(self.world.license_server, *self.world.witnesses.values())
            lives = await self.eyes.lives()
            return lives[count] if len(lives) > count else None

        life = Life(**await wait_for(f"{site} becomes active", born, seconds))
        self.activations += 1
        if life.site != site:
            raise Expected(f"{site} should have become active, the referee sees {life.site}")
        return life

    async def life(self, instance: str) -> Life:
        for raw in await self.eyes.lives():
            if raw["instance"] == instance:
                return Life(**raw)
        raise Expected(f"the referee forgot instance {instance}")

    async def newest_life(self) -> Life:
        return Life(**(await self.eyes.lives())[-1])

    async def no_other_life(self) -> None:
        lives = await self.eyes.lives()
        if len(lives) != self.activations:
            raise Expected(f"{self.activations} activations were due, the referee saw {len(lives)}")

    async def settled(self, site: str, *states: str, seconds: float = SETTLE_S) -> dict[str, Any]:
        """As the witnesses see that site."""

        async def look() -> dict[str, Any] | None:
            seen = await self.eyes.site(site)
            heard = seen is not None and seen["heard_ms_ago"] is not None
            return seen if heard and seen is not None and seen["state"] in states else None

        return await wait_for(f"the witnesses see {site} {' or '.join(states)}", look, seconds)

    @property
    def takeover_bound_s(self) -> float:
        """The cluster's own word, and the platform's start with room for a busy machine."""
        return (self.findings.takeover_max_s or 4 * self.expiry_s) + 20 * self.findings.platform_start_s

    async def takeover(self, fault: Fault, to: str) -> tuple[Life, float, dict[str, Any]]:
        """Waits for the other site; its first sign ends the takeover."""
        life = await self.next_life(to, self.takeover_bound_s)
        total_s = life.first_ns / 1e9 - fault.mono_s
        await self.settled(to, "active")
        parts = takeover_parts(
            await self.eyes.events(fault.events),
            to,
            fault_wall_s=fault.wall_s,
            total_s=total_s,
            rest_s=fault.rest_s,
            platform_s=self.findings.platform_start_s,
        )
        return life, total_s, parts

    def say_takeover(self, to: str, life: Life, total_s: float, parts: dict[str, Any]) -> None:
        self.show.say(f"{to} is active in epoch {life.epoch}, {total_s:.3f} s after the fault, of which")
        names = {
            "rest_of_lease": "rest of the lease with its drift allowance",
            "votes_and_grant": "votes and grant",
            "claim": "claim",
            "activation": "activation (guard, platform, first sign)",
        }
        for name, words in names.items():
            if name in parts:
                self.show.say(f"  {parts[name]:6.3f} s  {words}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms"
