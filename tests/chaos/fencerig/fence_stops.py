"""SIGSTOP of the agent, of the guard, of both, of the whole site with its platform, for three leases, then SIGCONT."""

from __future__ import annotations

import random
import signal

from fencerig.fence_trial import Blow, Outcome, Scenario
from fencerig.fence_world import FenceWorld

from witness.demo.eyes import Expected
from witness.demo.processes import Process

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


def _scenario(whom: str) -> Scenario:
    async def run(world: FenceWorld, rng: random.Random) -> Outcome:
        return await stopped(world, rng, whom)

    return Scenario(f"stop-{whom}", "stop", SAYS[whom], run)


STOPS = tuple(_scenario(whom) for whom in SAYS)
