"""What happens to members' machines, to the processes on them, and to the way between them and their leads.

Each does nothing where no site of the schedule has members (witness.sim.members.draw), and counts where it bites.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from proto.lease import takeover_wait_max
from proto.units import NS_PER_MS, PPM
from witness.sim.faults_host import FLOOR_NEEDED
from witness.sim.faults_net import cut_pairs
from witness.sim.members.host import MemberHost

if TYPE_CHECKING:
    from witness.sim.world import World

Strike = Callable[["World", random.Random], None]
MOODS_OF_A_PLATFORM = (
    "start_fails",
    "start_hangs",
    "start_slow",
    "stop_deaf",
    "stop_unproven",
)
STANDS = FLOOR_NEEDED | {"member-stop", "member-outage", "member-guest-freeze"}
"""Beside these a guard may be stopped while its BOOTTIME is wrong, and nothing ends it."""


def _some(world: World, rng: random.Random) -> MemberHost | None:
    """A member whose process runs; those that hold something twice as often."""
    running = [member for member in world.members if member.runs]
    running += [member for member in running if any(shell.runs() for shell in member.shells.values())]
    return rng.choice(running) if running else None


def kill(world: World, rng: random.Random) -> None:
    """SIGKILL to the agent, to its guards, or to both."""
    member = _some(world, rng)
    if member is None:
        return
    which = rng.choice(("agent", "agent", "guard", "both"))
    world.note(member.name, f"loses its {which}")
    if which != "agent":
        for shell in member.shells.values():
            if shell.post.kill():
                world.hit(f"member-{which}-kill")
    if which != "guard":
        world.hit("member-agent-kill")
        member.crash()
        world.events.after(rng.randint(20, 4_000) * NS_PER_MS, member.start)


def stop(world: World, rng: random.Random) -> None:
    """SIGSTOP to the agent, or to every process of the machine, guards included."""
    member = _some(world, rng)
    if member is None:
        return
    if rng.random() < 0.5:
        world.hit("member-agent-stop")
        world.note(member.name, "member is stopped")
        member.stop()
        world.events.after(world.some_ttls(rng), member.go_on)
    else:
        world.hit("member-freeze")
        world.note(member.name, "every process is stopped")
        member.freeze(frozen=True)
        world.events.after(world.some_ttls(rng), lambda: member.freeze(frozen=False))


def outage(world: World, rng: random.Random) -> None:
    """No power, and a cold start; or a suspend."""
    member = _some(world, rng)
    if member is None:
        return
    if rng.random() < 0.5:
        world.hit("member-power")
        member.power_off()
        world.events.after(rng.randint(500, 6_000) * NS_PER_MS, lambda: None if member.alive else member.power_on())
    else:
        world.hit("member-suspend")
        member.suspend()
        world.events.after(world.some_ttls(rng), member.resume)


def guest_freeze(world: World, rng: random.Random) -> None:
    """The hypervisor stops a member with all its clocks; often it does not reach its lead when it goes on."""
    member = _some(world, rng)
    if member is None:
        return
    world.hit("member-guest-freeze")
    member.guest.freeze()
    takeover_ns = takeover_wait_max(rng.choice(world.setup.groups).constants)
    span_ns = world.some_ttls(rng) if rng.random() < 0.3 else round(takeover_ns * rng.uniform(0.8, 3))
    world.events.after(span_ns, member.resume)
    if rng.random() < 0.5:
        cut_pairs(world, rng, _both_ways(member), "member-guest-cut-off", span_ns)


def _both_ways(member: MemberHost) -> list[tuple[str, str]]:
    return [(member.name, member.lead.name), (member.lead.name, member.name)]


def cut(world: World, rng: random.Random) -> None:
    """A member and its lead, both ways or one; all of its lead's other ways carry on. Or a connection breaks."""
    if not world.members:
        return
    member = rng.choice(world.members)
    way = rng.random()
    if way < 0.25 and member.process is not None and member.process.lines.flap():
        world.hit("member-flap")
    elif way < 0.5:
        cut_pairs(world, rng, [rng.choice(_both_ways(member))], "member-cut-one-way")
    else:
        cut_pairs(world, rng, _both_ways(member), "member-cut")


def upgrade(world: World, rng: random.Random) -> None:
    """SIGUSR2: the process is replaced while its guards hold. Or it is told to stop, and started again."""
    member = _some(world, rng)
    if member is None:
        return
    if rng.random() < 0.7:
        world.hit("member-upgrade")
        member.crash_and_restart(rng.randint(5, 300) * NS_PER_MS)
        return
    world.hit("member-shutdown")
    world.note(member.name, "member shuts down")
    member.shut_down()

    def look(tries: int = 100) -> None:
        if member.ended() or tries == 0:
            member.crash()
            world.events.after(rng.randint(20, 2_000) * NS_PER_MS, member.start)
        else:
            world.events.after(50 * NS_PER_MS, lambda: look(tries - 1))

    world.events.after(50 * NS_PER_MS, look)


def platform(world: World, rng: random.Random) -> None:
    """Programs and steps on members fail, hang, are slow, ignore TERM; disks are slow."""
    for member in world.members:
        for shell in member.shells.values():
            for mood in MOODS_OF_A_PLATFORM:
                if rng.random() < 0.5:
                    setattr(shell.platform.moods, mood, rng.uniform(0.1, 0.6))
        if rng.random() < 0.3:
            member.disk.write_ns_max = rng.randint(20, 500) * NS_PER_MS
            world.hit("member-slow-disk")


def clocks(world: World, rng: random.Random) -> None:
    """BOOTTIME of a member goes much too slow, or too fast, beside the oscillator; often its agent is stopped, too."""
    member = _some(world, rng)
    if member is None or STANDS & set(world.setup.kinds) or member.clock.parted:
        return
    world.hit("member-clocks")
    world.note(member.name, "its clocks part")
    member.clock.part(rng.choice((-PPM // 2, -PPM // 4, PPM // 2)))
    member.rearm()
    if rng.random() < 0.5:
        member.stop()

    def agree() -> None:
        member.clock.agree()
        member.rearm()
        member.go_on()

    world.events.after(world.some_ttls(rng), agree)


MOODS: dict[str, Strike] = {"member-platform": platform}
BLOWS: dict[str, tuple[Strike, float]] = {
    "member-kill": (kill, 3.0),
    "member-stop": (stop, 3.0),
    "member-outage": (outage, 5.0),
    "member-guest-freeze": (guest_freeze, 5.0),
    "member-cut": (cut, 2.5),
    "member-upgrade": (upgrade, 3.0),
    "member-clocks": (clocks, 4.0),
}
