"""SIGSTOP of the agent, of the guard, of both, of the whole site with its platform, for three leases, then SIGCONT."""

from __future__ import annotations

import random
import signal

from fencerig.activity import MS
from fencerig.fence_trial import Blow, Outcome, Scenario
from fencerig.fence_world import FenceWorld, now_ns

from witness.demo.eyes import Expected
from witness.demo.processes import Process

WAKE_AROUND_MS = 150
SAYS = {
    "agent": "the agent is stopped",
    "guard": "the guard is stopped",
    "both": "agent and guard are stopped",
    "site": "every process of the site is stopped, the platform too",
}


def strike(world: FenceWorld, site: str, whom: str) -> set[Process]:
    if whom == "site":
        return world.stop_all(site)
    hit = {"agent": [world.agent(site)], "guard": [world.guard(site)]}
    hit["both"] = hit["agent"] + hit["guard"]
    for one in hit[whom]:
        one.signal(signal.SIGSTOP)
    return set(hit[whom])


async def stopped(world: FenceWorld, rng: random.Random, whom: str) -> Outcome:
    """The site may wake only when another epoch has long begun, and nothing of the old one wakes with it."""
    blow = await Blow.aimed(world, rng)
    blow.strikes()
    hit = strike(world, blow.site, whom)
    if whom != "guard":  # whose agent goes on renewing; a stopped guard takes none of it
        await blow.confirm()
    await world.until(blow.wakes_ns)
    before = (await world.report()).epoch(blow.number)
    if before is None or before.gone_ns is None:
        raise Expected(f"{blow.site} was stopped for three leases and its platform of epoch {blow.number} still exists")
    world.cont(hit)
    found = await blow.outcome()
    after = (await world.report()).epoch(blow.number)
    if after is None or after.last_sign_ns != before.last_sign_ns:
        raise Expected(f"SIGCONT woke the platform of epoch {blow.number} at {blow.site}")
    return found


async def woken_near_deadline(world: FenceWorld, rng: random.Random) -> Outcome:
    """The whole site is stopped and goes on around its deadline: every rung is due at once, or the floor has struck."""
    blow = await Blow.aimed(world, rng)
    blow.strikes()
    hit = world.stop_all(blow.site)
    await blow.confirm()
    wakes_ns = blow.deadline.at_ns + round(rng.uniform(-WAKE_AROUND_MS, WAKE_AROUND_MS)) * MS
    await world.until(wakes_ns)
    went_on_ns = now_ns()
    world.cont(hit)
    found = await blow.outcome()
    found.more = {"woken_ms": blow.deadline.ms_after(went_on_ns)}
    return found


def _scenario(whom: str) -> Scenario:
    async def run(world: FenceWorld, rng: random.Random) -> Outcome:
        return await stopped(world, rng, whom)

    return Scenario(f"stop-{whom}", "stop", SAYS[whom], run)


STOPS = tuple(_scenario(whom) for whom in SAYS)
WAKES = (
    Scenario(
        "woken-near-deadline",
        "end",
        "every process of the site is stopped and goes on between 150 ms before its deadline and 150 ms after it",
        woken_near_deadline,
    ),
)
