"""What happens to the parts of a site's machine beside processes: keepers, resources, watchdogs, components, clocks.

Each does nothing where the sites of a schedule are not fitted out for it (witness.sim.host.fitting), and counts where
it bites.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from proto.units import NS_PER_MS, NS_PER_S, PPM
from witness.sim.faults_net import cut_off
from witness.sim.host.hardware import Hardware
from witness.sim.plans import GroupShell
from witness.sim.site import SiteHost

if TYPE_CHECKING:
    from witness.sim.world import World

Strike = Callable[["World", random.Random], None]
STALL_NS_MAX = 1_200 * NS_PER_MS
"""Around what a keeper may take, which is half a second at most."""
FLOOR_NEEDED = frozenset({"site-freeze", "site-starved", "guest-freeze", "site-suspend"})
"""The kernel's floor follows BOOTTIME alone, so nothing ends a stopped guard whose BOOTTIME is wrong."""


def _shells(world: World) -> list[tuple[SiteHost, GroupShell]]:
    """Running ones twice."""
    every = [(site, shell) for site in world.sites for shell in site.shells.values()]
    return every + [(site, shell) for site, shell in every if shell.runs()]


def _some(world: World, rng: random.Random) -> tuple[SiteHost, GroupShell, Hardware]:
    site, shell = rng.choice(_shells(world))
    return site, shell, shell.post.hardware


def keeper_kill(world: World, rng: random.Random) -> None:
    """SIGKILL to the keeper; now and then no new one can be forked for a while."""
    site, _, hardware = _some(world, rng)
    if not hardware.kill_keeper():
        return
    world.hit("keeper-kill")
    world.note(site.name, "a keeper is killed")
    if rng.random() < 0.3:
        world.hit("keeper-not-forked")
        hardware.may_fork = False

        def may_fork() -> None:
            hardware.may_fork = True

        world.events.after(world.some_ttls(rng), may_fork)


def keeper_late(world: World, rng: random.Random) -> None:
    """Keepers stand still between their look at the clock and their call; mostly not, now and then for too long."""

    def draw() -> int:
        return 0 if rng.random() < 0.6 else rng.randint(0, STALL_NS_MAX)

    for _, shell in _shells(world):
        shell.post.hardware.stall.draw = draw


def resource_stuck(world: World, rng: random.Random) -> None:
    """The kernel takes no message about an address or a port for a while: none is prolonged, none is closed."""
    site, _, hardware = _some(world, rng)
    if not hardware.resources:
        return
    one = rng.choice(hardware.resources)
    one.refuses = "device or resource busy"
    world.note(site.name, f"nothing changes its {one.name} any more")

    def free() -> None:
        one.refuses = ""

    world.events.after(world.some_ttls(rng), free)


def watchdog_missing(world: World, rng: random.Random) -> None:
    """Its driver is not loaded, or another program holds it; one that counts already goes on."""
    site, _, hardware = _some(world, rng)
    device = hardware.watchdog
    if device is None:
        return
    world.note(site.name, "its watchdog is missing")
    device.there = False

    def back() -> None:
        device.there = True

    world.events.after(2 * world.some_ttls(rng), back)


def component_wakes(world: World, rng: random.Random) -> None:
    """Somebody, or a restart policy, starts it at a dormant site, or it comes back in the wrong role."""
    site, shell, _ = _some(world, rng)
    if shell.components.wakes():
        world.hit("component-wakes")
        world.note(site.name, "a component comes up in the active role")


def component_clings(world: World, rng: random.Random) -> None:
    """Nothing ends it for a while."""
    _, _, hardware = _some(world, rng)
    component = hardware.component
    if component is None:
        return
    component.cling("it does not stop")
    world.events.after(world.some_ttls(rng), lambda: component.cling(""))


def clocks_part(world: World, rng: random.Random) -> None:
    """BOOTTIME of a site goes much too slow, or too fast, beside the oscillator; often its agent is stopped, too."""
    site = rng.choice(world.sites)
    if FLOOR_NEEDED & set(world.setup.kinds) or site.clock.parted or site.agent is None:
        return
    world.hit("clocks-part")
    world.note(site.name, "its clocks part")
    site.clock.part(rng.choice((-PPM // 2, -PPM // 4, PPM // 2)))
    site.rearm()
    if rng.random() < 0.5:
        site.stop()

    def agree() -> None:
        site.clock.agree()
        site.rearm()
        site.go_on()

    world.events.after(world.some_ttls(rng), agree)


def upgrade_late(world: World, rng: random.Random) -> None:
    """The active site is cut off, and its agent is replaced around the moment at which its graceful stop begins."""
    able = [(site, shell) for site in world.sites for shell in site.shells.values() if site.runs and shell.runs()]
    if not able:
        return
    site, shell = rng.choice(able)
    latest = shell.post.latest
    if latest is None:
        return
    cut_off(world, rng, site.name, "cut-before-upgrade", at_least_ns=NS_PER_S)
    at_ns = site.clock.true_at(latest[1].stop_at) + rng.randint(-300, 100) * NS_PER_MS

    def replaced() -> None:
        if site.runs and not world.healed:
            world.hit("upgrade-late")
            site.crash_and_restart(rng.randint(5, 150) * NS_PER_MS)

    world.events.at(at_ns, replaced)


def undead(world: World, rng: random.Random) -> None:
    """What a start leaves stands in a call of the kernel that no signal ends: only a reset helps."""
    for site in world.sites:
        if site.fitting.required or site.fitting.reset:
            for shell in site.shells.values():
                shell.platform.moods.undead = rng.uniform(0.4, 1.0)


def data_unfit(world: World, rng: random.Random) -> None:
    """A replica that does not follow: data checks of some sites fail, until it is healed."""
    for site in world.sites:
        for group, shell in site.shells.items():
            if rng.random() < 0.6:
                world.hit("data-checks-fail")
                shell.platform.data_fails = True
                world.judges.quarantine.fails(group, site.name)


MOODS: dict[str, Strike] = {"keeper-late": keeper_late, "undead": undead, "data-unfit": data_unfit}
BLOWS: dict[str, tuple[Strike, float]] = {
    "keeper-kill": (keeper_kill, 3.0),
    "resource-stuck": (resource_stuck, 3.0),
    "watchdog-missing": (watchdog_missing, 4.0),
    "component-wakes": (component_wakes, 3.0),
    "component-clings": (component_clings, 3.0),
    "clocks-part": (clocks_part, 5.0),
    "upgrade-late": (upgrade_late, 5.0),
}
