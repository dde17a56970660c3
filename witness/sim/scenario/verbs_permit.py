"""Verbs of an operator who breaks the glass: break-glass, reconcile.

What an operator has to see to before, that every other site is stopped, is the scenario's own commands.
"""

from __future__ import annotations

from proto.commands import Reconcile
from witness.sim import break_glass
from witness.sim.scenario.command import Command, Wrong, span_ms
from witness.sim.scenario.stage import GROUP, Stage
from witness.sim.scenario.verb import Verb


def use(stage: Stage, command: Command) -> None:
    """A permit for this site, made now and offered to its agent at once; or the last one again; or its end."""
    world = stage.world
    ends, again = command.flag("end"), command.flag("again")
    site = stage.sites(command.word("the site"))[0]
    lifetime_ms = command.last(span_ms, break_glass.LIFETIME_MS)
    command.done()
    if not world.setup.groups[0].permits.enabled:
        raise Wrong("the group takes no permits: say break-glass=SPAN in 'cluster'")
    if ends:
        site.end_break_glass(GROUP)
        return
    keys = world.keys
    text = keys.last if again else keys.permit(GROUP, site.settings.site, lifetime_ms=lifetime_ms)
    words = site.break_glass(GROUP, text)
    if words is None:
        raise Wrong(f"no agent answers at {site.name}")
    stage.say("operator", f"{command.text}: {f'refused, {words}' if words else 'taken'}")


def reconcile(stage: Stage, command: Command) -> None:
    desk = stage.witnesses(command.option("via", str, "leader"))[0]
    command.done()
    desk.submit(Reconcile(GROUP, break_glass.AUTHOR), stage.asked(command.text))


VERBS = {
    "break-glass": Verb(
        "break-glass SITE [SPAN | again | end]",
        "An operator signs a permit for the site, good for the span (1h), and offers it; or the last one again; or "
        "ends what the site does under one.",
        use,
    ),
    "reconcile": Verb(
        "reconcile [via=WITNESS]", "An operator vouches for the sites that are not heard: no permit there.", reconcile
    ),
}
