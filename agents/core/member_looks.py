"""Required members are looked at as probes are: without them the site is not ready, or not fit while it is active.

Rule: a required member is heard, able, verified down while the site is dormant, and knows every step that a plan places
on it, or the site is not ready. While the site is active it holds the site's epoch, or the site reports itself unfit: a
part of its platform is dead. What was seen, and for how long, is judged by the lead alone; it releases nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from agents.core.members import Seat
from agents.core.settings import ProbeRole, ProbeSettings
from proto.member_messages import MemberPhase
from proto.units import NS_PER_MS, Epoch, InstantNs, MemberName

HEARD_WITHIN_NS = 2_000 * NS_PER_MS
"""Members ask every half second."""
READY, HOLDS = "member:", ":holds"
FALL = 2


def ready_probe(name: MemberName) -> str:
    return READY + name


def holds_probe(name: MemberName) -> str:
    return READY + name + HOLDS


def member_probe_settings(required: Iterable[MemberName]) -> tuple[ProbeSettings, ...]:
    names = tuple(required)
    ready = [ProbeSettings(ready_probe(name), ProbeRole.READY, 1, FALL) for name in names]
    holds = [ProbeSettings(holds_probe(name), ProbeRole.SERVICE, 1, FALL) for name in names]
    return (*ready, *holds)


def not_ready(seat: Seat, steps: frozenset[str], known: frozenset[str], now: InstantNs, *, dormant: bool) -> str:
    """'' or why a required member keeps its site from being ready; `steps` are placed on it, `known` are its own."""
    said = seat.said
    if said is None or now - seat.heard_at > HEARD_WITHIN_NS:
        return "it is not heard: is its member agent running, and does it reach members_listen?"
    if missing := sorted(steps - known):
        return f"its configuration has no step {', '.join(missing)}"
    if said.lacks:
        return "; ".join(said.lacks)
    if dormant and said.phase is not MemberPhase.DOWN:
        return f"it is {said.phase.value}, not verified down"
    return ""


def not_holding(seat: Seat, epoch: Epoch, now: InstantNs) -> str:
    """'' or why a part of an active site is dead, or not known to live."""
    if now - seat.heard_at > HEARD_WITHIN_NS:
        return "it is not heard, so what runs there ends with its authority"
    if seat.holds(epoch):
        return ""
    return f"it does not hold the site's epoch: it is {'silent' if seat.said is None else seat.said.phase.value}"
