"""From a wish and delays to the ttl, and with it to every timer; or a refusal that names both numbers.

Rule: a takeover bounds the ttl from above, everything else from below, and every side is monotone in it; so the ttl is
found by bisection. Of those that fit the longest is taken: what the wish does not ask for in speed is tolerance.
Without a wish for the takeover it is the shortest. A refusal says which ttl each side needs, and the nearest wishes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from proto import limits
from proto.lease import LeaseConstants
from proto.takeover import ASSUMED, Delays, Phase, takeover_max_ns, takeover_phases
from proto.units import NS_PER_MS
from witness.timing.timers import Inequality, Timers, derive, inequalities
from witness.timing.wish import Wish

TTL_STEP_MS = 50


@dataclass(frozen=True, slots=True)
class Compiled:
    wish: Wish
    timers: Timers
    inequalities: tuple[Inequality, ...]
    phases: tuple[Phase, ...]
    delays: Delays

    @property
    def sound(self) -> bool:
        return all(one.holds for one in self.inequalities)

    @property
    def takeover_max_ms(self) -> float:
        return round(sum(phase.ns for phase in self.phases) / NS_PER_MS, 3)


@dataclass(frozen=True, slots=True)
class Refusal:
    """No ttl fits. `least` and `most` are the two numbers; None: no ttl at all is enough."""

    wish: Wish
    least_ttl_ms: int | None
    """What everything but the takeover needs."""
    most_ttl_ms: int | None
    """What the takeover allows."""
    broken: tuple[Inequality, ...]
    """Of the least ttl (or the longest there is)."""
    nearest: tuple[Wish, ...]
    """Wishes that can be met, each with one number changed."""

    def words(self) -> str:
        wish, least, most = self.wish, self.least_ttl_ms, self.most_ttl_ms
        asks = "the sites" if wish.silence_ms is None else f"tolerating {wish.silence_ms} ms of silence"
        text = f"{asks}: no ttl is long enough" if least is None else f"{asks} needs ttl >= {least} ms"
        if wish.takeover_ms is not None:
            allows = "no ttl is short enough" if most is None else f"allows ttl <= {most} ms"
            text += f"; a takeover within {wish.takeover_ms} ms {allows}"
        said = [f"can be met: {wish.words()}" for wish in self.nearest]
        return "; ".join([text, *said])


def judge(wish: Wish, ttl_ms: int, delays: Delays = ASSUMED) -> Compiled:
    """A given ttl, whether it fits or not: look at `sound`."""
    timers = derive(wish, ttl_ms, delays)
    phases = takeover_phases(timers.constants, delays, wish.activation_ms)
    return Compiled(wish, timers, inequalities(wish, timers, delays), phases, delays)


def compile_wish(wish: Wish, delays: Delays = ASSUMED) -> Compiled | Refusal:
    found = _search(wish, delays)
    return found if isinstance(found, Compiled) else _refused(wish, delays, *found)


def _search(wish: Wish, delays: Delays) -> Compiled | tuple[int | None, int | None]:
    """The timers, or the least and the most ttl that do not meet."""
    least = _least_ttl(wish, delays)
    most = limits.TTL_MS_MAX if wish.takeover_ms is None else _most_ttl(wish, delays)
    if least is None or most is None or least > most:
        return least, most
    ttls = [least] if wish.takeover_ms is None else range(most, least - 1, -TTL_STEP_MS)
    for ttl_ms in ttls:
        chosen = judge(wish, ttl_ms, delays)
        if chosen.sound:
            return chosen
    return least, most


def _least_ttl(wish: Wish, delays: Delays) -> int | None:
    """From here on every inequality but the takeover's holds."""
    rest = replace(wish, takeover_ms=None)
    found = _first(lambda ttl_ms: judge(rest, ttl_ms, delays).sound)
    # An address lives for whole seconds: what fits once may not fit again a little further on.
    while found is not None and found < limits.TTL_MS_MAX and not judge(rest, found, delays).sound:
        found += TTL_STEP_MS
    return found


def _most_ttl(wish: Wish, delays: Delays) -> int | None:
    limit_ns = (wish.takeover_ms or 0) * NS_PER_MS

    def too_long(ttl_ms: int) -> bool:
        constants = LeaseConstants(ttl_ms, wish.drift_max_ppm, wish.lock_delay_ms)
        return takeover_max_ns(constants, wish.activation_ms, delays) > limit_ns

    first = _first(too_long)
    if first is None:
        return limits.TTL_MS_MAX
    return None if first == limits.TTL_MS_MIN else first - TTL_STEP_MS


def _first(condition: Callable[[int], bool]) -> int | None:
    """The shortest ttl, in steps, from which on a monotone condition holds."""
    low, high = limits.TTL_MS_MIN // TTL_STEP_MS, limits.TTL_MS_MAX // TTL_STEP_MS
    if not condition(high * TTL_STEP_MS):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if condition(middle * TTL_STEP_MS) else (middle + 1, high)
    return low * TTL_STEP_MS


def _refused(wish: Wish, delays: Delays, least: int | None, most: int | None) -> Refusal:
    shown = judge(wish, limits.TTL_MS_MAX if least is None else least, delays)
    broken = tuple(one for one in shown.inequalities if not one.holds)
    return Refusal(wish, least, most, broken, tuple(_nearest(wish, delays, least, most)))


def _nearest(wish: Wish, delays: Delays, least: int | None, most: int | None) -> list[Wish]:
    """The same silence with the takeover that it costs; the same takeover with the silence that it leaves."""
    found = []
    if least is not None and wish.takeover_ms is not None:
        constants = LeaseConstants(least, wish.drift_max_ppm, wish.lock_delay_ms)
        needed_ns = takeover_max_ns(constants, wish.activation_ms, delays)
        found.append(replace(wish, takeover_ms=-(-needed_ns // NS_PER_MS)))
    if most is not None and wish.silence_ms:
        rest = replace(wish, silence_ms=None)
        low, high = 0, wish.silence_ms
        while low < high:
            middle = (low + high + 1) // 2
            fits = judge(replace(wish, silence_ms=middle), most, delays).sound
            low, high = (middle, high) if fits else (low, middle - 1)
        if low > 0 or judge(rest, most, delays).sound:
            found.append(replace(wish, silence_ms=low or None))
    return [one for one in found if isinstance(_search(one, delays), Compiled)]
