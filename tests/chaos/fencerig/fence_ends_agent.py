"""What happens to the site's own processes: a guard that is killed, an agent that is killed or upgraded."""

from __future__ import annotations

import random
import signal
import sys

from fencerig.activity import MS, Seen
from fencerig.fence_layout import LONG
from fencerig.fence_trial import Blow, Outcome, Scenario
from fencerig.fence_world import SETTLE_S, Active, FenceWorld

from witness.demo.eyes import Expected, wait_for

UNBROKEN = "one daemon, its stamps, the epoch, the ledger"


async def guard_killed(world: FenceWorld, rng: random.Random) -> Outcome:
    """The platform goes with it at once; the agent proves it down and releases."""
    blow = await Blow.aimed(world, rng)
    guard = world.guard(blow.site)
    blow.strikes()
    guard.signal(signal.SIGKILL)
    found = await blow.outcome()
    mine = (await world.report()).epoch(blow.number)
    if mine is not None and mine.gone_ns is not None:
        found.more = {"down_after_ms": round((mine.gone_ns - blow.struck_ns) / MS, 1)}
    return found


async def agent_upgraded(world: FenceWorld, _rng: random.Random) -> Outcome:
    active, head = await world.settled(), await world.eyes.events_head()
    config = str(world.rig.sites[active.site].config)
    code, said = await world.run([sys.executable, "-m", "agents", "upgrade", "-c", config])
    if code != 0 or "still holding" not in said:
        raise Expected(f"site-agent upgrade: exit code {code}: {said}")
    return await _unbroken(world, active, head)


async def agent_killed(world: FenceWorld, _rng: random.Random) -> Outcome:
    """kill -9, and the next process is started as an init system would."""
    active, head = await world.settled(), await world.eyes.events_head()
    world.agent(active.site).signal(signal.SIGKILL)
    await world.agents[active.site].wait(5)
    await world.start_agent(active.site)
    return await _unbroken(world, active, head)


async def _unbroken(world: FenceWorld, active: Active, head: int) -> Outcome:
    """The new process renews, and nothing else has happened."""
    renewed = await _renewal(world)

    async def goes_on() -> bool:
        seen = await world.eyes.agent(active.site)
        return seen is not None and bool(seen["active"]) and await _renewal(world) > renewed + 1

    await wait_for("the new process renews", goes_on, SETTLE_S)
    now = await world.settled()
    daemons = _daemons((await world.report()).seen, active.epoch.epoch)
    moves = [one["kind"] for one in await world.eyes.events(head) if one["kind"] in ("granted", "released", "expired")]
    if now.epoch.epoch != active.epoch.epoch or moves or len(daemons) != 1 or daemons[0].gone_ns is not None:
        raise Expected(f"the platform of {active.site} did not go on: {moves or daemons}")
    pause_ms = round(daemons[0].pause_max_ns / MS, 1)
    return Outcome(
        ended_by="nothing ended: the guard goes on",
        next_site=active.site,
        more={"pause_max_ms": pause_ms},
    )


async def _renewal(world: FenceWorld) -> int:
    group = await world.eyes.group()
    return -1 if group is None else int(group["renewal"])


def _daemons(seen: tuple[Seen, ...], epoch: int) -> list[Seen]:
    return [one for one in seen if one.epoch == epoch and one.role == "daemon"]


AGENT_ENDS = (
    Scenario("guard-killed", "end", "kill -9 of the guard", guard_killed),
    Scenario(
        "agent-upgraded",
        "end",
        "`site-agent upgrade` while active",
        agent_upgraded,
        variant=LONG,
        has_deadline=False,
        verified_by=UNBROKEN,
    ),
    Scenario(
        "agent-killed",
        "end",
        "kill -9 of the agent while active, and the next one is started",
        agent_killed,
        variant=LONG,
        has_deadline=False,
        verified_by=UNBROKEN,
    ),
)
