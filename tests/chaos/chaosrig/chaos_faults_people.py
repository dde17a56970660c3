"""What people do (FAULTS: O): copies of sites and witnesses' disks, old backups, empty disks, hasty orders, dates."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from chaosrig.chaos_fault import Blow, Kind, draw_of, span_of
from chaosrig.chaos_ground import pass_time
from chaosrig.chaos_layout import GROUP, OPERATOR, SITES, other_site
from chaosrig.chaos_units import Unit
from chaosrig.chaos_world import COMMAND_S, VOTER, World

from witness.sim.scenario.command import Command

TWIN_TTLS = 2.0
CLONE_S = 5.0
REFUSED_S = 4.0
"""In which the others must have met a disk that they may not trust."""
FILES = ("ca.pem", "cert.pem", "key.pem")


# -- sites ---------------------------------------------------------------------------------------------------


def same_site_twice(world: World, command: Command) -> Blow:
    """O2: the standby's lead is configured as the other site, with that site's certificate."""
    draw_of(command)
    site = world.site("active")
    lead = SITES[other_site(site)][0]
    unit = world.unit(lead)
    world.units.kill(unit)
    twin = _twin(world, site, lead)

    def heal() -> None:
        world.units.forget(twin.name)
        world.units.start(unit)

    return Blow(TWIN_TTLS * world.ttl_s, heal, f"{lead} as {site}")


def same_certificate(world: World, command: Command) -> Blow:
    """O3: a third machine has the certificate and configuration of a site's lead."""
    site = world.site("active" if draw_of(command) < 0.7 else "standby")
    twin = _twin(world, site, OPERATOR)
    return Blow(TWIN_TTLS * world.ttl_s, partial(world.units.forget, twin.name), f"{twin.name} as {site}")


def _twin(world: World, site: str, host: str) -> Unit:
    """The agent of a site, without members, where it does not belong."""
    name = f"twin-{host}"
    config = world.layout.write(name, world.layout.lead_config(site, host, home=name))
    words = (str(world.programs / "site-agent"), "run", "-c", str(config))
    unit = world.units.add(name, world.hosts[host], words, world.log(name))
    world.units.start(unit)
    return unit


def expired(world: World, command: Command) -> Blow:
    """O11: the lead's certificate ran out, and its agent starts anew."""
    command.word("agent")
    site = world.site(command.word("the site"))
    unit = world.unit(SITES[site][0])
    span_s = span_of(command, world.ttl_s)
    home = world.layout.certificate(unit.name)
    good = Path(f"{home}.good")
    shutil.copytree(home, good)
    past = datetime.now(UTC) - timedelta(days=40)
    world.layout.issue_agent(site, days=1, force=True, now=past)
    world.units.crash(unit)

    def heal() -> None:
        for name in FILES:
            shutil.copy2(good / name, home / name)
        shutil.rmtree(good)

    return Blow(span_s, heal, unit.name)


# -- witnesses' disks ----------------------------------------------------------------------------------------


def cloned(world: World, command: Command) -> Blow:
    """O4: the witness's disk is copied at one instant, and both run."""
    unit = world.unit(world.witness(command.word("who")))
    span_of(command, 0.0)
    copy = world.layout.data(OPERATOR) / "disk"
    _copy_of(world, unit, copy)
    content = {**world.layout.witness_config(unit.name, OPERATOR), "data_dir": str(copy)}
    config = world.layout.write("clone", content)
    words = (str(world.programs / "witness"), "run", "-c", str(config))
    clone = world.units.add("clone", world.hosts[OPERATOR], words, world.log("clone"))
    world.units.start(clone)

    def heal() -> None:
        world.units.forget("clone")
        shutil.rmtree(copy)
        pass_time(world, REFUSED_S)
        if not _votes(world, unit.name):  # both may have worked: what the page for operators says
            world.replace_witness(unit.name)

    def check() -> str:
        return f"{unit.name} and its copy vote" if _votes(world, unit.name) and _votes(world, OPERATOR) else ""

    return Blow(CLONE_S, heal, unit.name, check=check)


def restored(world: World, command: Command) -> Blow:
    """O5: the disk of some seconds ago is put back, as from a snapshot of its machine."""
    unit = world.unit(world.witness(command.word("whose")))
    command.word("blank")
    copy = world.layout.root / "old-disk"
    _copy_of(world, unit, copy)
    pass_time(world, world.ttl_s)
    world.units.kill(unit)
    _empty(world.layout.data(unit.name))
    shutil.copytree(copy, world.layout.data(unit.name), dirs_exist_ok=True)
    shutil.rmtree(copy)
    world.units.start(unit)
    return _untrusted(world, unit)


def blank(world: World, command: Command) -> Blow:
    """O6: an empty disk under the same identity; half of the time somebody initialised it."""
    word = command.word("whose")
    unit = world.unit(world.witness(word))
    command.word("blank")
    world.units.kill(unit)
    _empty(world.layout.data(unit.name))
    if word == "follower":
        world.run(unit.name, "witness", "init", "-c", str(world.layout.config(unit.name)))
    world.units.start(unit)
    return _untrusted(world, unit)


def _untrusted(world: World, unit: Unit) -> Blow:
    """It may not vote while it is so; afterwards it is readmitted."""

    def check() -> str:
        return f"{unit.name} votes with a disk that forgot something" if _votes(world, unit.name) else ""

    return Blow(REFUSED_S, partial(world.replace_witness, unit.name), unit.name, check=check)


def _votes(world: World, name: str) -> bool:
    seen = world.looks.witness(name)
    return seen is not None and seen["has_quorum"] and seen["standing"] == VOTER


def _copy_of(world: World, unit: Unit, to: Path) -> None:
    """As a snapshot of a disk is: of one instant."""
    shutil.rmtree(to, ignore_errors=True)
    unit.signal(signal.SIGSTOP)
    try:
        shutil.copytree(world.layout.data(unit.name), to, ignore=shutil.ignore_patterns("*.sock"))
    finally:
        unit.signal(signal.SIGCONT)


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


# -- orders --------------------------------------------------------------------------------------------------


def order_for_a_cut_site(world: World, command: Command) -> Blow:
    """O9: the active site is not heard, and an operator will not wait for its lease."""
    command.word("active")
    command.word("witnesses")
    span_s = span_of(command, 2 * world.ttl_s)
    site = world.site("active")
    lead = SITES[site][0]
    table = world.net.cut([pair for name in world.names("witnesses") for pair in ((lead, name), (name, lead))])
    order = _order(world, other_site(site))

    def heal() -> None:
        world.net.heal(table)
        _end(order)

    return Blow(span_s, heal, f"{lead}; to {other_site(site)}")


def two_orders(world: World, command: Command) -> Blow:
    """O10: two operators move the group at the same moment, to two places."""
    draw_of(command)
    site = world.site("active")
    orders = [_order(world, target) for target in (other_site(site), site)]

    def heal() -> None:
        for order in orders:
            _end(order)

    return Blow(2.0, heal, f"from {site}")


def _order(world: World, target: str) -> subprocess.Popen[bytes]:
    config = str(world.layout.config(OPERATOR))
    words = ("switchover", GROUP, "--to", target, "--reason", "in a hurry", "--no-wait", "--config", config)
    return world.start_command(OPERATOR, "witnessctl", *words)


def _end(order: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        order.communicate(timeout=COMMAND_S)
    order.kill()
    order.wait()


PEOPLE = (
    Kind("O2", "O2", "the standby is configured as the active site", same_site_twice, alone=True),
    Kind("O3", "O3", "a third machine has a site's certificate and configuration", same_certificate, alone=True),
    Kind("O4", "O4", "a witness's disk is copied, and both run", cloned, alone=True),
    Kind("O5", "O5", "a witness's disk of some seconds ago is put back", restored, alone=True),
    Kind("O6", "O6", "a witness has an empty disk, or one that was initialised again", blank, alone=True),
    Kind("O9", "O9", "an operator moves the group while its active site is cut off", order_for_a_cut_site, alone=True),
    Kind("O10", "O10", "two operators move the group at once, to two places", two_orders, alone=True),
    Kind("O11", "O11", "a lead's certificate ran out and its agent starts anew", expired, alone=True),
)
