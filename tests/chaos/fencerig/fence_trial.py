"""What every trial does around its blow: who is active, until when, what the agent and the referee said afterwards."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from fencerig.activity import MS, Epoch, dual
from fencerig.fence_layout import PLAIN, Variant
from fencerig.fence_world import RENEWALS_PER_TTL, SETTLE_S, Active, Deadline, FenceWorld, now_ns

from witness.demo.eyes import Expected, wait_for
from witness.demo.layout import GROUP

STOPPED_TTLS = 3
BEFORE_RENEWAL_NS = 60 * MS
UNDER_WAY_NS = 150 * MS
AIMS_MAX = 50
KERNEL = "kernel timer"


@dataclass(slots=True)
class Outcome:
    """One trial. Instants in ms against the deadline of the lease that was struck, negative before it."""

    last_sign_ms: float | None = None
    """The last stamp that the platform wrote by itself: what was executed."""
    gone_ms: float | None = None
    """When the referee saw that no process of it is left, also no stopped one."""
    takeover_ms: float | None = None
    """From the blow to the first stamp of the next epoch."""
    ended_by: str = ""
    next_site: str = ""
    dual_alive_ms: float = 0.0
    dual_signs_ms: float = 0.0
    dual_looks: int = 0
    deadline_known: bool = False
    """False: no figure against the deadline (another trial is made for it), everything else counts."""
    deadline_known_ms: float = 0.0
    """How far apart the earliest and the latest instant are that the deadline can have been."""
    more: dict[str, float] = field(default_factory=dict)
    """What only this kind of trial measures; keys end in their unit."""
    notes: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row. `run` performs one trial on a rig of that variant and raises Expected when a promise does not hold."""

    name: str
    part: str
    """Which of the two tables it belongs to: stop or end."""
    says: str
    run: Callable[[FenceWorld, random.Random], Awaitable[Outcome]]
    variant: Variant = PLAIN
    verified_by: str = "the kernel closed the connections of all its processes"
    needs: Callable[[], str] = str
    """'' or why it cannot be tried here."""
    has_deadline: bool = True
    """False: the lease goes on, or is given back."""
    alive_excused: bool = False
    """A process that can execute nothing may exist beside the next platform; its stamps may not."""


class Blow:
    """One lease from before it is struck until the dust has settled."""

    def __init__(self, world: FenceWorld, active: Active, looks_dual: int) -> None:
        self.world = world
        self.active = active
        self.site = active.site
        self.number = active.epoch.epoch
        self.mark = world.log_mark(active.site)
        self.struck_ns = 0
        self.deadline = Deadline(0, 0)
        self.known = False
        """Whether `deadline` is that of the lease when it was struck, and not of the renewal before."""
        self._renewal = 0
        self._looks_dual = looks_dual

    @classmethod
    async def prepared(cls, world: FenceWorld, active: Active | None = None) -> Blow:
        found = await world.settled() if active is None else active
        return cls(world, found, (await world.report()).looks["dual"])

    @classmethod
    async def aimed(cls, world: FenceWorld, rng: random.Random, active: Active | None = None) -> Blow:
        """At a random instant between two renewals of the active site. News make a site renew early: several tries."""
        blow = await cls.prepared(world, active)
        for _ in range(AIMS_MAX):
            if await blow._aim(rng):
                return blow
        raise Expected(f"{blow.site}: a renewal came in between {AIMS_MAX} times")

    async def _aim(self, rng: random.Random) -> bool:
        world = self.world
        self._renewal = await world.renewal()
        self.deadline = await world.deadline(self.site)
        due_ns = self.deadline.low_ns - world.ttl_ns + world.ttl_ns // RENEWALS_PER_TTL
        room_ns = due_ns - BEFORE_RENEWAL_NS - now_ns()
        await world.until(now_ns() + round(rng.random() * max(0, room_ns)))
        self.known = await world.renewal() == self._renewal and await world.still(self.site, self.deadline)
        return self.known

    def strikes(self) -> None:
        """To be called with the blow itself."""
        self.struck_ns = now_ns()

    async def confirm(self) -> None:
        """After the agent was struck: a renewal may have been under way. What it had is then not known."""
        await self.world.until(self.struck_ns + UNDER_WAY_NS)
        self.known = await self.world.renewal() == self._renewal

    @property
    def wakes_ns(self) -> int:
        return self.struck_ns + STOPPED_TTLS * self.world.ttl_ns

    async def successor(self) -> Epoch:
        """The next epoch that the referee sees begin."""

        async def look() -> Epoch | None:
            later = [one for one in (await self.world.report()).epochs() if one.epoch > self.number]
            return later[0] if later else None

        return await wait_for(f"an epoch follows {self.number}", look, SETTLE_S)

    async def outcome(self, *notes: str) -> Outcome:
        """Everything has settled; what came of it."""
        await self.world.settled()
        report = await self.world.report()
        mine = report.epoch(self.number)
        following = await self.successor()
        if mine is None or mine.gone_ns is None:
            raise Expected(f"the platform of epoch {self.number} at {self.site} still exists")
        both = dual(report, self.number)
        return Outcome(
            last_sign_ms=self.deadline.ms_after(mine.last_sign_ns) if self.known else None,
            gone_ms=self.deadline.ms_after(mine.gone_ns) if self.known else None,
            takeover_ms=round((following.first_ns - self.struck_ns) / MS, 1),
            ended_by=self.ended_by(),
            next_site=following.site,
            dual_alive_ms=both.alive_ns / MS,
            dual_signs_ms=both.signs_ns / MS,
            dual_looks=report.looks["dual"] - self._looks_dual,
            deadline_known_ms=round((self.deadline.high_ns - self.deadline.low_ns) / MS, 1),
            deadline_known=self.known,
            notes=list(notes),
        )

    def ended_by(self) -> str:
        """The last rung of the first end that the agent's log tells of."""
        ends = self.world.log_lines(self.site, self.mark, "guard.down")
        if not ends:
            return "nothing was told"
        first = ends[0]
        if first["by"] == "kernel":
            return KERNEL if "timer" in first["cause"] else f"kernel: {first['cause']}"
        return f"guard: {_rung(first['rungs'])}"


def _rung(rungs: list[str]) -> str:
    """A rung that found nothing left was not needed: the one before it ended the platform."""
    names = [words.split()[0] for words in rungs]
    spans = [int(words.split()[1].removeprefix("+")) for words in rungs]
    needed = [name for name, span in zip(names, spans, strict=True) if span > spans[0] + QUICK_MS or name == names[0]]
    return " -> ".join(needed)


QUICK_MS = 100
"""A platform that obeys TERM is gone within it, and the rungs that follow only prove it."""


async def moved(world: FenceWorld, *words: str) -> Active:
    """The group is handed over to the other site, whose platform resists in this manner."""
    before = await world.settled()
    world.manner(before.other, words)
    await hand_over(world, before)

    async def there() -> Active | None:
        now = await world.settled()
        return now if now.site == before.other else None

    found = await wait_for(f"{before.other} is active", there, SETTLE_S)
    world.manner(before.other)
    return found


async def hand_over(world: FenceWorld, active: Active) -> None:
    await world.operator("switchover", GROUP, "--to", active.other, "--reason", "a trial", "--no-wait")
