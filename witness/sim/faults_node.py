"""What happens to machines and processes: kills, stops, freezes, power, clocks, disks, platforms (FAULTS: P, C, G)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from proto.lease import takeover_wait_max
from proto.units import NS_PER_MS, NS_PER_S, PPM
from witness.sim import faults_net
from witness.sim.site import SiteHost
from witness.sim.witness import WitnessHost

if TYPE_CHECKING:
    from witness.sim.world import World

Strike = Callable[["World", random.Random], None]


# -- witnesses --------------------------------------------------------------------------------------------


def _liar(world: World) -> WitnessHost:
    """Whose clock cannot be trusted: one witness for the whole schedule, so that a majority's can."""
    hosts = list(world.witnesses.values())
    return hosts[world.setup.seed % len(hosts)]


def mad_clock(world: World, rng: random.Random) -> None:
    """One witness's clock is far outside of the bound; a majority's is not."""
    host = _liar(world)
    host.clock.run_at(rng.choice((-PPM // 2, PPM, 3 * PPM)))
    host.rearm()
    world.hit("witness-mad-clock")


def leap(world: World, rng: random.Random) -> None:
    """That witness's clock jumps ahead."""
    world.leap([_liar(world)], rng.randint(100, 60_000) * NS_PER_MS)
    world.hit("witness-leap")


# -- sites ------------------------------------------------------------------------------------------------


def _some_site(world: World, rng: random.Random) -> SiteHost | None:
    """A site whose agent runs; active ones twice as often."""
    running = [site for site in world.sites if site.runs]
    running += [site for site in running if any(shell.runs() for shell in site.shells.values())]
    return rng.choice(running) if running else None


def agent_crash(world: World, rng: random.Random) -> None:
    site = _some_site(world, rng)
    if site is not None:
        _crash(world, site)
        world.events.after(rng.randint(20, 5_000) * NS_PER_MS, site.start)


def agent_crash_loop(world: World, rng: random.Random) -> None:
    """As a supervisor sees it that starts a broken agent again and again; it stands still with its machine."""
    site = _some_site(world, rng)
    if site is None:
        return
    world.hit("agent-crash-loop")
    lives_ns, pause_ns = rng.choice((5, 100, 700)) * NS_PER_MS, rng.choice((20, 100, 1_000)) * NS_PER_MS

    def crash(left: int) -> None:
        if not world.healed:
            _crash(world, site)
            site.guest.after(pause_ns, lambda: start(left - 1))

    def start(left: int) -> None:
        site.start()
        if left > 0:
            site.guest.after(lives_ns, lambda: crash(left))

    crash(rng.randint(3, 8))


def _crash(world: World, site: SiteHost) -> None:
    if site.agent is not None:
        world.hit("agent-crash")
        site.crash()


def agent_crash_activating(world: World, rng: random.Random) -> None:
    """While a step of its next activation runs, or just after it; the guard and what it started go on."""
    site = rng.choice(world.sites)
    delay_ns = rng.randint(0, 60) * NS_PER_MS

    def crash() -> None:
        if site.agent is not None and not world.healed:
            world.hit("agent-crash-activating")
            site.crash()
            site.guest.after(rng.randint(20, 3_000) * NS_PER_MS, site.start)

    site.at_next_step = lambda: site.guest.after(delay_ns, crash)


def agent_upgrade(world: World, rng: random.Random) -> None:
    """The process is replaced while its guards hold (FAULTS G2): the next one is there within moments."""
    site = _some_site(world, rng)
    if site is not None:
        world.hit("agent-upgrade")
        site.crash_and_restart(rng.randint(5, 300) * NS_PER_MS)


def agent_stop(world: World, rng: random.Random) -> None:
    site = _some_site(world, rng)
    if site is not None:
        world.hit("agent-stop")
        world.note(site.name, "agent is stopped")
        site.stop()
        world.events.after(world.some_ttls(rng), site.go_on)


def site_freeze(world: World, rng: random.Random) -> None:
    site = _some_site(world, rng)
    if site is not None:
        world.hit("site-freeze")
        world.note(site.name, "every process is stopped")
        site.freeze(frozen=True)
        world.events.after(world.some_ttls(rng), lambda: site.freeze(frozen=False))


def site_suspend(world: World, rng: random.Random) -> None:
    """Not of a site where a watchdog alone ends what no kill ends: it counts no suspension (docs/lease-safety.md)."""
    site = _some_site(world, rng)
    if site is not None and not _a_watchdog_alone_ends_it(site):
        world.hit("site-suspend")
        site.suspend()
        world.events.after(world.some_ttls(rng), site.resume)


def _a_watchdog_alone_ends_it(site: SiteHost) -> bool:
    return not site.fitting.reset and any(shell.platform.moods.undead > 0 for shell in site.shells.values())


def guest_freeze(world: World, rng: random.Random) -> None:
    """The hypervisor stops a site with all its clocks, mostly until another one has its group; often it is cut off."""
    site = _some_site(world, rng)
    if site is not None:
        world.hit("guest-freeze")
        site.guest.freeze()
        takeover_ns = takeover_wait_max(rng.choice(world.setup.groups).constants)
        span_ns = world.some_ttls(rng) if rng.random() < 0.3 else round(takeover_ns * rng.uniform(0.8, 3))
        world.events.after(span_ns, site.resume)
        if rng.random() < 0.5:
            faults_net.cut_off(world, rng, site.name, "guest-cut-off", span_ns)


def site_power(world: World, rng: random.Random) -> None:
    site = _some_site(world, rng)
    if site is not None:
        world.hit("site-power")
        site.power_off()
        world.events.after(rng.randint(500, 6_000) * NS_PER_MS, lambda: None if site.agent else site.power_on())


def guard_kill(world: World, rng: random.Random) -> None:
    site = _some_site(world, rng)
    if site is None:
        return
    too = rng.random() < 0.3
    for shell in site.shells.values():
        if shell.post.kill():
            world.hit("guard-and-agent-kill" if too else "guard-kill")
    if too:
        site.crash()
        world.events.after(rng.randint(20, 3_000) * NS_PER_MS, site.start)


def wall_step(world: World, rng: random.Random) -> None:
    """Not of a witness while an operator goes by permits: docs/adr/0018 says what that would hide."""
    witnesses = [] if world.in_outage else list(world.witnesses.values())
    clocks = [host.clock for host in world.sites] + [host.clock for host in witnesses]
    ahead_ns = rng.choice((1, -1)) * rng.choice((NS_PER_S // 2, 3 * NS_PER_S, 3_600 * NS_PER_S))
    rng.choice(clocks).step_wall(ahead_ns)
    world.hit("wall-step")


def slow_disk(world: World, rng: random.Random) -> None:
    site = rng.choice(world.sites)
    site.disk.write_ns_max = rng.randint(50, 2_000) * NS_PER_MS
    world.hit("slow-disk")


def second_agent(world: World, rng: random.Random) -> None:
    """A copy of a site's whole machine, disk included, runs elsewhere for a while (FAULTS: O2, O3)."""
    if world.in_outage:
        return  # nobody starts a copy of what an operator stopped, or runs by a permit
    world.hit("second-agent")
    twin = world.clone(rng.choice(world.sites[: len(world.setup.sites)]))
    world.events.after(world.some_ttls(rng) + 3 * NS_PER_S, twin.retire)


# -- platforms --------------------------------------------------------------------------------------------


def _mood(name: str) -> Strike:
    def strike(world: World, rng: random.Random) -> None:
        for site in world.sites:
            for shell in site.shells.values():
                if rng.random() < 0.7:
                    setattr(shell.platform.moods, name, rng.uniform(0.1, 0.8))

    return strike


def unready(world: World, rng: random.Random) -> None:
    _look(world, rng, "ready")


def unhealthy(world: World, rng: random.Random) -> None:
    _look(world, rng, "healthy")


def _look(world: World, rng: random.Random, what: str) -> None:
    site = rng.choice(world.sites)
    group = rng.choice(list(site.shells))
    platform = site.shells[group].platform
    world.hit(f"not-{what}")

    def look(value: bool) -> None:
        setattr(platform, what, value)
        site.probe(group)

    look(False)
    world.events.after(world.some_ttls(rng), lambda: look(True))


def lagging(world: World, rng: random.Random) -> None:
    site = rng.choice(world.sites)
    group = rng.choice(list(site.shells))
    site.shells[group].platform.lag_ms = rng.choice((-1, 5, 900, 5_000))
    site.probe(group)
    world.hit("lag")


PLATFORM_MOODS = (
    "start_fails",
    "start_hangs",
    "start_slow",
    "stop_deaf",
    "stop_fails",
    "stop_hangs",
    "stop_unproven",
    "verify_unproven",
    "fence_unproven",
    "step_crash",
)
MOODS: dict[str, Strike] = {
    "mad-clock": mad_clock,
    "slow-disk": slow_disk,
    **{name.replace("_", "-"): _mood(name) for name in PLATFORM_MOODS},
}
BLOWS: dict[str, tuple[Strike, float]] = {
    "mad-leap": (leap, 4.0),
    "agent-crash": (agent_crash, 5.0),
    "agent-crash-loop": (agent_crash_loop, 8.0),
    "agent-crash-activating": (agent_crash_activating, 3.0),
    "agent-upgrade": (agent_upgrade, 3.0),
    "agent-stop": (agent_stop, 4.0),
    "site-freeze": (site_freeze, 5.0),
    "site-suspend": (site_suspend, 6.0),
    "guest-freeze": (guest_freeze, 6.0),
    "site-power": (site_power, 8.0),
    "guard-kill": (guard_kill, 6.0),
    "wall-step": (wall_step, 6.0),
    "second-agent": (second_agent, 12.0),
    "unready": (unready, 4.0),
    "unhealthy": (unhealthy, 4.0),
    "lagging": (lagging, 4.0),
}
