"""What only the kernel ends, or not even it: a process in state D; addresses and ports with every process stopped."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable

from fencerig.activity import MS
from fencerig.fence_layout import NETWORK, RESET, VIP, VIP_DEVICE
from fencerig.fence_own import in_own_namespaces
from fencerig.fence_trial import Blow, Outcome, Scenario, hand_over, moved
from fencerig.fence_world import SETTLE_S, Active, FenceWorld, now_ns

from agents.fencing.kernel_address import KernelAddress
from witness.demo.eyes import Expected, wait_for
from witness.demo.layout import SITES

STILL_NS = 30 * MS
LOOK_S = 0.002
CONNECT_S = 0.02


# -- state D --------------------------------------------------------------------------------------------------


def needs_fuse() -> str:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs /dev/fuse"
    return in_own_namespaces()


async def state_d(world: FenceWorld, rng: random.Random) -> Outcome:
    """The daemon waits for a file system that does not answer; no signal ends it, so the reset rung is climbed."""
    active = await moved(world, "stuck")
    trigger = world.rig.trigger(active.site)
    trigger.write_bytes(b"")
    word = world.rig.sites[active.site].data / "stuck-now"
    async with world.unanswered() as mount:
        word.write_text(mount, encoding="ascii")
        await _still(world, active.epoch.epoch)
        word.unlink()
        blow = await Blow.aimed(world, rng, active)
        blow.strikes()
        agent = world.agent(active.site)
        agent.signal(signal.SIGSTOP)
        await blow.confirm()
        asked_ns = await _asked(trigger.stat, blow.deadline.high_ns + world.ttl_ns)
        await blow.successor()
        await world.until(blow.wakes_ns)
        before = (await world.report()).epoch(blow.number)
        if before is None or before.gone_ns is not None:
            raise Expected("the imitation of state D does not hold: the daemon could be killed")
        world.cont({agent})
        unproven = await _not_proven(world, active.site, blow)
    found = await blow.outcome("the reset's trigger is a file here; on a host it ends what a kill does not")
    found.ended_by = f"guard: reset asked for; the site says it is not down ({unproven})"
    if blow.known:
        found.more = {"reset_asked_ms": blow.deadline.ms_after(asked_ns)}
    found.gone_ms = None  # it went when this trial let it go
    if trigger.read_bytes() != b"b":
        raise Expected(f"the reset's trigger holds {trigger.read_bytes()!r}")
    return found


async def _still(world: FenceWorld, epoch: int) -> None:
    """Its daemon executes nothing any more."""

    async def look() -> bool:
        report = await world.report()
        (daemon,) = (one for one in report.seen if one.epoch == epoch and one.role == "daemon")
        return report.now_ns - daemon.last_ns > STILL_NS + daemon.pause_max_ns

    await wait_for("the daemon hangs", look, SETTLE_S)


async def _asked(trigger: Callable[[], os.stat_result], until_ns: int) -> int:
    """When something was first seen to have been written."""
    while now_ns() < until_ns:
        if trigger().st_size:
            return now_ns()
        await asyncio.sleep(LOOK_S)
    raise Expected("the reset was not asked for")


async def _not_proven(world: FenceWorld, site: str, blow: Blow) -> str:
    """The woken agent tries to prove its site down, cannot, and neither says so nor is let off its quarantine."""

    async def look() -> str | None:
        lines = world.log_lines(site, blow.mark, "fence.not-proven")
        return str(lines[0]["event"]) if lines else None

    said = await wait_for(f"{site} finds that it is not down", look, SETTLE_S)
    seen = await world.eyes.site(site)
    if seen is None or seen["state"] in ("standby", "fenced"):
        raise Expected(f"{site} says that it is down while a process of its platform exists")
    return said


# -- addresses and ports --------------------------------------------------------------------------------------


class Watched:
    """When the address was last there, and when a service outside of any guard was last reached on it."""

    def __init__(self, port: int) -> None:
        self.address = KernelAddress(VIP, 24, VIP_DEVICE)
        self.port = port
        self.there_ns = self.answered_ns = self.open_ns = 0

    async def look_until(self, until_ns: int) -> None:
        while now_ns() < until_ns:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Noted is when each was asked for: what answered was there no earlier, and a busy machine may answer late."""
        asked_ns = now_ns()
        if self.address.interfaces():
            self.there_ns = asked_ns
        asked_ns = now_ns()
        if self._reached(VIP):
            self.answered_ns = asked_ns
        asked_ns = now_ns()
        if self._reached("127.0.0.1"):
            self.open_ns = asked_ns

    def _reached(self, host: str) -> bool:
        with socket.socket() as client:
            client.settimeout(CONNECT_S)
            try:
                client.connect((host, self.port))
            except OSError:
                return False
        return True


async def address_and_port(world: FenceWorld, rng: random.Random) -> Outcome:
    """A service that no guard holds listens all the time; all processes of the site are stopped."""
    active = await world.settled()
    if active.site != SITES[0]:
        await hand_over(world, active)
        active = await _active_at_home(world)
    with socket.socket() as service:
        service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        service.bind(("0.0.0.0", world.rig.outside_port))
        service.listen(4_096)
        watched = Watched(world.rig.outside_port)
        await wait_for("the address is there and the port open", _reachable(watched), SETTLE_S)
        blow = await Blow.aimed(world, rng, active)
        blow.strikes()
        hit = world.stop_all(blow.site)
        await blow.confirm()
        await watched.look_until(blow.wakes_ns)
        world.cont(hit)
        found = await blow.outcome()
    if not blow.known:
        return found
    found.more = {
        "address_last_ms": blow.deadline.ms_after(watched.there_ns),
        "answer_on_address_last_ms": blow.deadline.ms_after(watched.answered_ns),
        "port_open_last_ms": blow.deadline.ms_after(watched.open_ns),
    }
    late = {name: value for name, value in found.more.items() if value > found.deadline_known_ms}
    if late:
        raise Expected(f"past the deadline with every process of {blow.site} stopped: {late}")
    return found


def _reachable(watched: Watched) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        watched.look()
        return watched.answered_ns > 0 and watched.open_ns > 0

    return look


async def _active_at_home(world: FenceWorld) -> Active:
    async def look() -> Active | None:
        now = await world.settled()
        return now if now.site == SITES[0] else None

    return await wait_for(f"{SITES[0]} is active", look, SETTLE_S)


KERNEL_ENDS = (
    Scenario(
        "state-d",
        "end",
        "the daemon is in state D (a FUSE file system that does not answer), the agent is stopped",
        state_d,
        variant=RESET,
        verified_by="the trigger's byte; no stamp after it, also none when state D was lifted",
        needs=needs_fuse,
        alive_excused=True,
    ),
    Scenario(
        "address-and-port",
        "end",
        "every process of a site with an address and a port is stopped",
        address_and_port,
        variant=NETWORK,
        verified_by="asked of the kernel and by connecting every 2 ms, to a service that nobody stopped",
        needs=in_own_namespaces,
    ),
)
