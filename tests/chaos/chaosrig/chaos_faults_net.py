"""What happens to the network (FAULTS: N, H): all of it where the cables meet, so that both ends notice silence."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from functools import partial

from chaosrig.chaos_fault import Blow, Kind, draw_of, span_of
from chaosrig.chaos_layout import SITES, WITNESSES
from chaosrig.chaos_world import World

from witness.sim.scenario.command import Command, forward_ns, share

HOLD_TTLS = 1.5
"""How long weather lasts, in leases."""
LONG_FRAME = 500
NARROW = "8kbit"
RESETS_S_MAX = 1.2
RESETS_S_MIN = 0.05
Pair = tuple[str, str]


def _pairs(world: World, command: Command) -> tuple[list[Pair], str]:
    one, other = command.word("one end"), command.word("the other end")
    ones, others = world.names(one), world.names(other)
    pairs = [(a, b) for a in ones for b in others if a != b]
    return pairs, f"{'+'.join(ones)} from {'+'.join(others)}"


def _both(pairs: Iterable[Pair]) -> list[Pair]:
    return [pair for one, other in pairs for pair in ((one, other), (other, one))]


def cut(world: World, command: Command) -> Blow:
    """`cut ONE OTHER [SPAN] [one-way]`: nothing passes."""
    pairs, note = _pairs(world, command)
    ways = pairs if command.flag("one-way") else _both(pairs)
    span_s = span_of(command, HOLD_TTLS * world.ttl_s)
    return Blow(span_s, partial(world.net.heal, world.net.cut(ways)), note)


def isolate(world: World, command: Command) -> Blow:
    """The site reaches nobody, as when its cables are pulled; its own hosts reach each other."""
    own = [host.name for host in world.site_hosts(command.word("the site"))]
    command.word("from whom")
    span_s = span_of(command, HOLD_TTLS * world.ttl_s)
    table = world.net.cut(_both([(one, other) for one in own for other in world.net.names if other not in own]))
    return Blow(span_s, partial(world.net.heal, table), "+".join(own))


def flap(world: World, command: Command) -> Blow:
    """`cut ONE OTHER SPAN every=SPAN`: it goes and comes in that rhythm, by the kernel's own clock."""
    pairs, note = _pairs(world, command)
    every_ms = command.option("every", forward_ns, 300_000_000) // 1_000_000
    span_s = span_of(command, HOLD_TTLS * world.ttl_s)
    return Blow(span_s, _flapping(world, _both(pairs), every_ms), f"{note} every {every_ms} ms")


def _flapping(world: World, ways: list[Pair], every_ms: int) -> Callable[[], None]:
    flapper = Flapper(world, ways, every_ms / 1_000)
    world.pulses.append(flapper.pulse)

    def heal() -> None:
        world.pulses.remove(flapper.pulse)
        flapper.mend()

    return heal


class Flapper:
    """A link that is cut and mended in turn, at every pulse that finds it due."""

    def __init__(self, world: World, ways: list[Pair], every_s: float) -> None:
        self.world, self.ways, self.every_s = world, ways, every_s
        self._table = ""
        self._due_s = 0.0

    def pulse(self, now_s: float) -> None:
        if now_s < self._due_s:
            return
        self._due_s = now_s + self.every_s
        if self._table:
            self.mend()
        else:
            self._table = self.world.net.cut(self.ways)

    def mend(self) -> None:
        if self._table:
            self.world.net.heal(self._table)
        self._table = ""


def weather(world: World, command: Command) -> Blow:
    """`network sites loss=SHARE`: of every frame between any site and any witness."""
    command.word("where")
    percent = round(command.option("loss", share, 0.1) * 100)
    when = f"numgen random mod 100 < {percent}"
    sites = world.names("sites")
    tables = [world.net.weather(lead, WITNESSES, when) for lead in sites]
    return Blow(HOLD_TTLS * world.ttl_s, partial(_all, world, tables), f"{percent} % lost")


def delay(world: World, command: Command) -> Blow:
    """`network sites slow=100% slow-by=SPAN`: each frame of the active site comes up to that much later."""
    command.word("where")
    command.option("slow", share, 1.0)
    high_ms = command.option("slow-by", forward_ns, 100_000_000) // 1_000_000
    (lead,) = world.names("active")
    cable = world.net.slow_cable(lead, high_ms // 10, high_ms, seed=high_ms)
    return Blow(HOLD_TTLS * world.ttl_s, partial(world.net.heal, cable), f"{lead}: {high_ms // 10} to {high_ms} ms")


def narrow(world: World, command: Command) -> Blow:
    """All that goes to a follower goes at 8 kbit/s, as the catalogue has it."""
    (host,) = world.names(command.word("whose"))
    command.word("from whom")
    span_s = span_of(command, 2 * world.ttl_s)
    return Blow(span_s, partial(world.net.heal, world.net.narrow_cable(host, NARROW)), host)


def reset(world: World, command: Command) -> Blow:
    """`strike flap`: every segment from a witness is answered with a reset."""
    (lead,) = world.names("active")
    span_s = RESETS_S_MIN + draw_of(command) * RESETS_S_MAX
    return Blow(span_s, partial(world.net.heal, world.net.reset(lead, WITNESSES)), f"{lead} for {span_s:.2f} s")


def long_frames(world: World, command: Command) -> Blow:
    """A black hole for what is long: handshakes begin and never end, short frames pass."""
    pairs, note = _pairs(world, command)
    span_s = span_of(command, HOLD_TTLS * world.ttl_s)
    return Blow(span_s, partial(world.net.heal, world.net.cut(_both(pairs), f"meta length > {LONG_FRAME}")), note)


def readdress(world: World, command: Command) -> Blow:
    """The lead's address changes under its connections, and changes back."""
    (lead,) = world.names(command.word("whose"))
    command.word("from whom")
    world.net.readdress(lead, moved=True)
    return Blow(span_of(command, world.ttl_s), partial(world.net.readdress, lead, moved=False), lead)


def needs_tc(_world: World) -> str:
    return "" if shutil.which("tc") else "needs the program tc (Debian package iproute2)"


def third_location(world: World, command: Command) -> Blow:
    """H1: no site reaches a witness; the sites reach each other."""
    return cut(world, command)


def third_location_and_link(world: World, command: Command) -> Blow:
    """H2: and the sites do not reach each other either."""
    first = cut(world, command)
    (one, *_), (other, *_) = SITES.values()
    table = world.net.cut(_both([(a, b) for a in SITES["site-a"] for b in SITES["site-b"]]))

    def heal() -> None:
        first.heal()
        world.net.heal(table)

    return Blow(first.span_s, heal, f"{first.note}, {one} from {other}")


def members(world: World, command: Command) -> Blow:
    """Lead and member of a site do not reach each other; both reach everybody else."""
    command.word("the witnesses of the line")
    lead, member = SITES[world.site(command.word("the site"))]
    command.flag("one-way")
    table = world.net.cut(_both([(lead, member)]))
    return Blow(span_of(command, world.ttl_s), partial(world.net.heal, table), f"{lead} from {member}")


def _all(world: World, tables: list[str]) -> None:
    for table in tables:
        world.net.heal(table)


NET = (
    Kind("N1", "N1", "a site reaches no witness", cut),
    Kind("N1-all", "N1", "a site reaches nobody", isolate),
    Kind("N1-witness", "N1", "a witness reaches no other witness", cut),
    Kind("N2-out", "N2", "a site is not heard", cut),
    Kind("N2-in", "N2", "a site does not hear", cut),
    Kind("N3", "N3", "leader and one follower do not reach each other, the third sees both", cut),
    Kind("N4", "N4", "a site does not reach the leader", cut),
    Kind("N5", "N5", "1 to 30 % of the frames between sites and witnesses are lost", weather),
    Kind("N8", "N8 N7", "each frame of the active lead is late and may be overtaken, up to 1.5 leases", delay),
    Kind("N9-reset", "N9", "every segment from a witness is answered with a reset", reset),
    Kind("N10", "N10", "all that goes to a witness goes at 8 kbit/s", narrow, needs=needs_tc),
    Kind("N11", "N11", "a site's way to the witnesses goes and comes", flap),
    Kind("N13-mtu", "N13", f"frames above {LONG_FRAME} bytes vanish without a word", long_frames),
    Kind("N13-address", "N13", "a lead's address changes and changes back", readdress, alone=True),
    Kind("H1", "H1", "no site reaches a witness, the sites reach each other", third_location, alone=True),
    Kind("H2", "H2", "no site reaches a witness, nor the other site", third_location_and_link, alone=True),
    Kind("H3-site", "H1", "the active site alone reaches no witness, for longer than its lease", cut, alone=True),
    Kind("M1", "members", "lead and member of a site do not reach each other", members),
)
