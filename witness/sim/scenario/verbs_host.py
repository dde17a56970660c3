"""Verbs of what a site's machine has beside processes (witness.sim.host), as `cluster ... fitted=` gave it."""

from __future__ import annotations

from typing import NoReturn

from agents.components.spec import ComponentRole
from witness.sim.scenario.command import Command, Wrong, forward_ns
from witness.sim.scenario.stage import GROUP, Stage
from witness.sim.scenario.verb import Verb
from witness.sim.setup import Fitting

PARTS = {
    "address": Fitting(address=True),
    "ports": Fitting(ports=True),
    "watchdog": Fitting(watchdog=True),
    "required-watchdog": Fitting(watchdog=True, required=True),
    "reset": Fitting(reset=True),
    **{role.value: Fitting(component=role) for role in ComponentRole},
}


def fitting_of(text: str) -> Fitting:
    """Several, with commas between them."""
    made = Fitting()
    for word in text.split(","):
        if word not in PARTS:
            raise Wrong(f"no such part: {word!r}; there are {', '.join(PARTS)}")
        one = PARTS[word]
        made = Fitting(
            made.address or one.address,
            made.ports or one.ports,
            made.watchdog or one.watchdog,
            made.required or one.required,
            made.reset or one.reset,
            made.component or one.component,
        )
    return made


def watchdog(stage: Stage, command: Command) -> None:
    sites = stage.sites(command.word("the site"))
    there = command.choice("what becomes of it", ["missing", "back"]) == "back"
    command.done()
    for site in sites:
        device = site.shells[GROUP].post.hardware.watchdog
        if device is None:
            _none(site.name, "watchdog")
        device.there = there


def component(stage: Stage, command: Command) -> None:
    sites = stage.sites(command.word("the site"))
    what = command.choice("what it does", ["wakes", "clings", "obeys"])
    command.done()
    for site in sites:
        shell = site.shells[GROUP]
        one = shell.post.hardware.component
        if one is None:
            _none(site.name, "component")
        elif what != "wakes":
            one.cling("it does not stop" if what == "clings" else "")
        elif not shell.components.wakes():
            raise Wrong(f"{site.name} is not dormant, or its component is active already")


def upgrade(stage: Stage, command: Command) -> None:
    command.choice("what is upgraded", ["agent"])
    sites = stage.hosts(command.word("the site"))
    after_ns = command.last(forward_ns, 0)
    command.done()
    for site in sites:
        stage.world.note(site.name, "its agent becomes another version")
        site.crash_and_restart(after_ns)


def _none(name: str, what: str) -> NoReturn:
    raise Wrong(f"{name} has no {what}: say so with fitted= of the cluster")


VERBS = {
    "watchdog": Verb(
        "watchdog SITE missing | back", "Its driver is not loaded, or is again; one that counts goes on.", watchdog
    ),
    "component": Verb(
        "component SITE wakes | clings | obeys",
        "What runs outside of the guard: it comes up in the active role while dormant; nothing ends it; it ends again.",
        component,
    ),
    "upgrade": Verb("upgrade agent SITE [SPAN]", "The agent's process is replaced; the next one begins then.", upgrade),
}
