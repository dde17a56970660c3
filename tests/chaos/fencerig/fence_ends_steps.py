"""What resists by itself: steps that hang or fail, daemons that are deaf to TERM."""

from __future__ import annotations

import random
import signal

from fencerig.activity import MS
from fencerig.fence_trial import Blow, Outcome, Scenario, hand_over, moved
from fencerig.fence_world import SETTLE_S, Active, FenceWorld

from witness.demo.eyes import Expected, wait_for


async def _hanging(world: FenceWorld) -> Active:
    """The other site has been granted the lease and its activation step hangs, deaf to TERM."""
    before = await world.settled()
    world.manner(before.other, ["hang"])
    await hand_over(world, before)

    async def hangs() -> Active | None:
        newest = (await world.report()).newest()
        begun = newest is not None and newest.site == before.other and newest.epoch > before.epoch.epoch
        return Active(before.other, before.site, newest) if newest is not None and begun else None

    return await wait_for(f"the activation of {before.other} hangs", hangs, SETTLE_S)


async def activation_hangs(world: FenceWorld, _rng: random.Random) -> Outcome:
    """Its own time-out ends it while the lease goes on; the activation is taken back and the lease released."""
    active = await _hanging(world)
    blow = await Blow.prepared(world, active)
    blow.struck_ns = active.epoch.first_ns
    await blow.successor()
    world.manner(active.site)
    found = await blow.outcome()
    mine = (await world.report()).epoch(active.epoch.epoch)
    if mine is None or mine.gone_ns is None:
        raise Expected(f"the hanging step of {active.site} still exists")
    found.more = {
        "step_timeout_ms": world.rig.step_timeout_ms,
        "step_lived_ms": round((mine.gone_ns - mine.first_ns) / MS, 1),
    }
    ends = [line["text"] for line in world.log_lines(active.site, blow.mark, "plan.end") if not line["ok"]]
    if not ends:
        raise Expected(f"{active.site} told of no activation that failed")
    found.ended_by = f"step time-out: {ends[0].partition(';')[0]}"
    return found


async def activation_outlives_lease(world: FenceWorld, rng: random.Random) -> Outcome:
    """The agent is stopped while the step hangs: nobody renews, and the step's time-out is later than the deadline."""
    return await _lease_runs_out(world, rng, whole_site=False)


async def activation_stopped(world: FenceWorld, rng: random.Random) -> Outcome:
    """Everything of the site is stopped in the middle of an activation."""
    return await _lease_runs_out(world, rng, whole_site=True)


async def _lease_runs_out(world: FenceWorld, rng: random.Random, *, whole_site: bool) -> Outcome:
    active = await _hanging(world)
    blow = await Blow.aimed(world, rng, active)
    blow.strikes()
    agent = world.agent(active.site)
    hit = world.stop_all(active.site) if whole_site else {agent}
    agent.signal(signal.SIGSTOP)
    await blow.confirm()
    await world.until(blow.wakes_ns)
    world.manner(active.site)
    world.cont(hit)
    return await blow.outcome()


async def deactivation_fails(world: FenceWorld, _rng: random.Random) -> Outcome:
    """A planned handover whose deactivation step fails, of a daemon that is deaf to TERM."""
    active = await moved(world, "stubborn")
    world.manner(active.site, ["stop-fails"])
    blow = await Blow.prepared(world, active)
    blow.strikes()
    await hand_over(world, active)
    await blow.successor()
    world.manner(active.site)
    found = await blow.outcome()
    mine = (await world.report()).epoch(active.epoch.epoch)
    if mine is not None and mine.gone_ns is not None:
        found.more = {"down_after_ms": round((mine.gone_ns - blow.struck_ns) / MS, 1)}
    return found


async def term_ignored(world: FenceWorld, rng: random.Random) -> Outcome:
    """A daemon of two forks in a session of its own, deaf to TERM, INT and HUP; the agent is stopped."""
    blow = await Blow.aimed(world, rng, await moved(world, "stubborn"))
    blow.strikes()
    agent = world.agent(blow.site)
    agent.signal(signal.SIGSTOP)
    await blow.confirm()
    await world.until(blow.wakes_ns)
    world.cont({agent})
    return await blow.outcome()


STEP_ENDS = (
    Scenario(
        "activation-hangs",
        "end",
        "an activation step hangs and is deaf to TERM",
        activation_hangs,
        has_deadline=False,
    ),
    Scenario(
        "activation-outlives-lease",
        "end",
        "the same, and its agent is stopped, so the lease runs out first",
        activation_outlives_lease,
    ),
    Scenario(
        "activation-stopped",
        "end",
        "every process of the site is stopped in the middle of an activation",
        activation_stopped,
    ),
    Scenario(
        "deactivation-fails",
        "end",
        "a handover whose deactivation step fails; the daemon is deaf to TERM",
        deactivation_fails,
        has_deadline=False,
    ),
    Scenario(
        "term-ignored",
        "end",
        "no renewals for a daemon of two forks, in its own session, deaf to TERM, INT and HUP",
        term_ignored,
    ),
)
