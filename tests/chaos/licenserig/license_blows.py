"""What is done to the active site in a round, and how it is undone. Each function is a kind of `license_plan.KINDS`.

Rule: `prepare` changes nothing that ends the site, then the key changes if it is to, then `strike` is the instant from
which a takeover is counted, and `heal` comes when the other site has taken over: for a stop or a cut that is after the
lease has run out.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaosrig.chaos_ground import Missing, now_ns, pass_time
from licenserig.license_layout import GROUP, SITES, WITNESSES, other_site
from licenserig.license_plan import BEHIND, FOLLOWED, LAST, NONE, UNSEALED, Round
from licenserig.license_world import World

LEASES_ALONE = 1.5
"""So many leases a site goes on without a direct word of a witness before its key changes."""
Heal = Callable[[], None]


def _nothing() -> None:
    return


# -- the key ----------------------------------------------------------------------------------------------------


def renew(world: World, site: str, renewal: str) -> None:
    other = other_site(site)
    if renewal == NONE:
        return
    if renewal == UNSEALED and world.escrow:
        world.until(lambda: world.noted_in_place(other), f"{other} has seen the newest key in its replica")
    if renewal in (BEHIND, LAST):
        world.servers[other].sql("STOP REPLICA IO_THREAD")
    if renewal == LAST:
        (world.layout.platform(site) / "last-exchange").touch()
        return
    before = world.held(site)
    world.exchange(site)
    if renewal in (FOLLOWED, UNSEALED):
        key = world.record().key
        world.until(lambda: world.servers[other].key() == key, "the replica has the new key")
    if renewal in (FOLLOWED, BEHIND) and world.escrow:
        world.until(lambda: world.held(site) not in ("", before), f"{site} sealed the new key")
        world.until(lambda: world.held(other) == world.held(site), f"{other} holds the new key")


# -- what comes before it ---------------------------------------------------------------------------------------


def cut_ways(world: World, sites: list[str], others: list[str]) -> Heal:
    hosts = [SITES[site] for site in sites]
    pairs = [(one, other) for one in hosts for other in others]
    name = world.net.cut([*pairs, *((other, one) for one, other in pairs)])
    return lambda: world.net.heal(name)


def _alone(world: World, site: str, sites: list[str]) -> Heal:
    """Long enough that without relay or holds the site would be dead; it must not be."""
    heal = cut_ways(world, sites, list(WITNESSES))
    pass_time(world, LEASES_ALONE * world.ttl_ms / 1_000)  # type: ignore[arg-type]  # it tends
    if world.agent(site).get("state") != "active":
        heal()
        raise Missing(f"{site} did not stay active without a direct way to the witnesses")
    return heal


def _by_relay(world: World, site: str) -> Heal:
    return _alone(world, site, [site])


def _by_holds(world: World, site: str) -> Heal:
    return _alone(world, site, list(SITES))


def _bad_stop(manner: str) -> Callable[[World, str], Heal]:
    def prepare(world: World, site: str) -> Heal:
        path = world.layout.platform(site) / "stop"
        path.write_text(manner, encoding="ascii")
        return path.unlink

    return prepare


def _no_preparation(_world: World, _site: str) -> Heal:
    return _nothing


# -- the blow ---------------------------------------------------------------------------------------------------


def _hand_over(world: World, site: str) -> Heal:
    code, _, wrong = world.operator("switchover", GROUP, "--to", other_site(site), "--reason", "a round of the run")
    if code != 0:
        raise Missing(f"the handover was refused: {wrong}")
    return _nothing


def _kill(world: World, site: str) -> Heal:
    """As a power cut would: agent, guard, platform, database."""
    host = world.hosts[SITES[site]]
    world.units.all[host.name].held = True
    host.group.kill()
    world.units.kill(world.units.all[host.name])
    return _nothing


def _kill_with_leader(world: World, site: str) -> Heal:
    leader = world.looks.leader()
    if leader is None:
        raise Missing("no witness leads")
    unit = world.units.all[leader]
    unit.held = True
    unit.signal(signal.SIGKILL)
    _kill(world, site)
    return lambda: world.units.start(unit)


def _freeze(world: World, site: str) -> Heal:
    group = world.hosts[SITES[site]].group
    group.signal(signal.SIGSTOP)

    def thaw() -> None:
        group.signal(signal.SIGCONT)

    return thaw


def _cut(world: World, site: str) -> Heal:
    return cut_ways(world, [site], [*WITNESSES, SITES[other_site(site)]])


def _service_dies(world: World, site: str) -> Heal:
    found = [pid for pid in world.hosts[SITES[site]].group.pids() if _is_service(pid, "tcp-server")]
    if len(found) != 1:
        raise Missing(f"{site} has {len(found)} processes of tcp-server")
    os.kill(found[0], signal.SIGKILL)
    return _nothing


def _is_service(pid: int, name: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"serve" in words and name.encode() in words


@dataclass(frozen=True, slots=True)
class Blow:
    strike: Callable[[World, str], Heal]
    prepare: Callable[[World, str], Heal] = _no_preparation
    heal_at_once: bool = False
    """What `prepare` made is undone right after the blow: the takeover is to happen with the witnesses' help."""


BLOWS = {
    "switchover": Blow(_hand_over),
    "stop-fails": Blow(_hand_over, _bad_stop("fails")),
    "stop-hangs": Blow(_hand_over, _bad_stop("hangs")),
    "unfit": Blow(_service_dies),
    "kill": Blow(_kill),
    "kill-leader": Blow(_kill_with_leader),
    "freeze": Blow(_freeze),
    "cut": Blow(_cut),
    "relay-kill": Blow(_kill, _by_relay, heal_at_once=True),
    "holds-kill": Blow(_kill, _by_holds, heal_at_once=True),
}


@dataclass(slots=True)
class Struck:
    at_ns: int
    heals: list[Heal]

    def heal(self) -> None:
        while self.heals:
            self.heals.pop()()


def strike(world: World, what: Round, site: str) -> Struck:
    blow = BLOWS[what.kind]
    pass_time(world, what.wait_ms / 1_000)  # type: ignore[arg-type]  # it tends
    struck = Struck(0, [blow.prepare(world, site)])
    try:
        renew(world, site, what.renewal)
        struck.at_ns = now_ns()
        heal = blow.strike(world, site)
        if blow.heal_at_once:
            struck.heal()
        struck.heals.append(heal)
    except BaseException:
        struck.heal()
        raise
    return struck
