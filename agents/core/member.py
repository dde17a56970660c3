"""A member without its I/O: its lead's answers, guards and time come in, ordered effects go out.

Decides when the lead is asked and which ask an answer belongs to; each group decides what it means
(agents/core/member_group.py). Asks are numbered by nothing but their nonces: an answer counts once, for the ask that
carried its nonce, and never for one of a former connection or of clocks that have disagreed since. When this may be a
copy of a machine (its generation changed, its clocks disagree) it goes on as another instance, over a new connection:
what it says of itself then ends nothing that the lead handed to the other one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agents.core.clock_watch import ClockWatch
from agents.core.effects import Effect
from agents.core.lease_holder import NO_EPOCH
from agents.core.member_group import LIVE_PHASES, Held, MemberGroup, MemberGroupSettings
from proto import limits
from proto.clock import ClockReading
from proto.member_messages import LeadAnswer, MemberAsk, MemberPhase
from proto.timing import URGENT_SPACING_NS
from proto.units import NS_PER_MS, Epoch, GroupId, Incarnation, InstantNs, MemberName, Nonce, SiteId

IDLE_ASK_NS = 500 * NS_PER_MS
ASKS_PER_TTL = 8
"""While it holds: two asks may be lost between two renewals of the lead."""
ASK_NS_MIN = 50 * NS_PER_MS
NUMBER_BITS = 32


@dataclass(frozen=True, slots=True)
class Ask:
    """Say this to the lead; answered by `answered`, or never."""

    message: MemberAsk


@dataclass(frozen=True, slots=True)
class Reconnect:
    """This connection speaks for an instance that has ended: close it, and open one that shows the present one."""


@dataclass(frozen=True, slots=True)
class MemberSettings:
    site: SiteId
    member: MemberName
    groups: tuple[MemberGroupSettings, ...]


MemberEffect = Effect | Ask | Reconnect


def connection_number(life: int, connections: int) -> int:
    """Of the so-manieth connection of the so-manieth process of an instance (proto/member_messages.py)."""
    return life << NUMBER_BITS | min(connections, (1 << NUMBER_BITS) - 1)


class SiteMember:
    def __init__(
        self,
        settings: MemberSettings,
        *,
        tokens: Callable[[], bytes],
        bounds: Mapping[GroupId, tuple[Epoch, Epoch]],
        started: ClockReading,
        adopted: Mapping[GroupId, Held] | None = None,
        instance: Incarnation | None = None,
    ) -> None:
        """`adopted`: what guards still hold for a former process of `instance` (agents/member/take_over.py)."""
        self.settings = settings
        self.instance = Incarnation(tokens()) if instance is None else instance
        self.connected = False
        self._tokens = tokens
        self._effects: list[MemberEffect] = []
        self._asks: OrderedDict[Nonce, ClockReading] = OrderedDict()
        self._ask_at = started.boottime_ns
        self._ask_last = InstantNs(0)
        self._clocks = ClockWatch(started)
        self._closing = False
        self.groups = {
            one.group: MemberGroup(one, bounds.get(one.group, (NO_EPOCH, NO_EPOCH)), self._effects.append)
            for one in settings.groups
        }
        for name, group in self.groups.items():
            group.start(None if adopted is None else adopted.get(name))

    # -- inputs ---------------------------------------------------------------------------------------------

    def stream_opened(self, now: ClockReading) -> None:
        self._begin(now)
        self.connected = True
        self._ask_at = now.boottime_ns
        self._work(now)

    def stream_closed(self, now: ClockReading) -> None:
        self._begin(now)
        self.connected = False
        self._asks.clear()
        self._work(now)

    def answered(self, message: LeadAnswer, now: ClockReading) -> None:
        self._begin(now)
        asked = self._asks.pop(message.nonce, None)
        if asked is not None:
            for order in message.groups:
                group = self.groups.get(order.group)
                if group is not None:
                    group.ordered(order, asked, now)
        self._work(now)

    def told_to_ask(self, now: ClockReading) -> None:
        self._begin(now)
        self._hasten(now)
        self._work(now)

    def plan_finished(
        self, group: GroupId, plan: int, ok: bool, text: str, now: ClockReading, *, orderly: bool = True
    ) -> None:
        """`orderly`: of a deactivation, the guard was asked and ended what was left; its deadline or death did not."""
        self._begin(now)
        self.groups[group].plan_finished(plan, ok, text, now, orderly=orderly)
        self._work(now)

    def fenced(self, group: GroupId, ok: bool, text: str, now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].fenced(ok, text)
        self._work(now)

    def guard_lost(self, group: GroupId, text: str, now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].guard_lost(text)
        self._work(now)

    def unsettled(self) -> str:
        return "; ".join(filter(None, (group.unsettled() for group in self.groups.values())))

    def guard_lacks(self, group: GroupId, lacks: tuple[str, ...], now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].lacks = lacks
        self.groups[group].urgent = True
        self._work(now)

    def bounds_stored(self, group: GroupId, now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].bounds_stored(now)
        self._work(now)

    def machine_changed(self, text: str, now: ClockReading) -> None:
        """This machine is a copy, or was put back: nothing that it held counts any more."""
        self._begin(now)
        self._distrust(text, now)
        self._work(now)

    def shutdown(self, now: ClockReading) -> None:
        self._begin(now)
        self._closing = True
        for group in self.groups.values():
            group.close()
        self._work(now)

    def finished(self) -> bool:
        return self._closing and all(group.closed() for group in self.groups.values())

    def tick(self, now: ClockReading) -> None:
        self._begin(now)
        self._work(now)

    # -- outputs --------------------------------------------------------------------------------------------

    def next_deadline(self) -> InstantNs:
        wake = [at for at in (group.next_deadline() for group in self.groups.values()) if at is not None]
        return min([self._ask_at, *wake])

    def take_effects(self) -> list[MemberEffect]:
        effects = list(self._effects)
        self._effects.clear()
        return effects

    # -- the work between -----------------------------------------------------------------------------------

    def _begin(self, now: ClockReading) -> None:
        if trouble := self._clocks.look(now, self._drift_ppm()):
            self._distrust(trouble, now)

    def _drift_ppm(self) -> int:
        known = [one.held.constants.drift_max_ppm for one in self.groups.values() if one.held is not None]
        return max(known, default=limits.DRIFT_MAX_PPM_DEFAULT)

    def _distrust(self, text: str, now: ClockReading) -> None:
        """What was asked by these clocks is void, and what they count is over."""
        self._clocks.begin_anew(now)
        self._asks.clear()
        self.instance = Incarnation(self._tokens())
        self.connected = False
        self._effects.append(Reconnect())
        for group in self.groups.values():
            group.abandon(text)

    def _work(self, now: ClockReading) -> None:
        for group in self.groups.values():
            group.tick(now)
        if any(group.urgent for group in self.groups.values()):
            self._hasten(now)
        if now.boottime_ns >= self._ask_at:
            self._ask(now)

    def _hasten(self, now: ClockReading) -> None:
        soonest = InstantNs(self._ask_last + URGENT_SPACING_NS)
        self._ask_at = min(self._ask_at, max(soonest, now.boottime_ns))

    def _ask(self, now: ClockReading) -> None:
        """The clock was read before the message is made, let alone sent."""
        self._ask_at = InstantNs(now.boottime_ns + self.interval_ns())
        for group in self.groups.values():
            group.urgent = False
        if not self.connected:
            return
        self._ask_last = now.boottime_ns
        nonce = Nonce(self._tokens())
        self._asks[nonce] = now
        while len(self._asks) > limits.NONCES_PENDING_MAX:
            self._asks.popitem(last=False)
        self._effects.append(Ask(MemberAsk(nonce, tuple(group.ask() for group in self.groups.values()))))

    def interval_ns(self) -> int:
        live = [one for one in self.groups.values() if one.phase in LIVE_PHASES and one.held is not None]
        ttls = [one.held.constants.ttl_ms * NS_PER_MS for one in live if one.held is not None]
        return max(ASK_NS_MIN, min([IDLE_ASK_NS, *(ttl // ASKS_PER_TTL for ttl in ttls)]))

    def live(self) -> bool:
        return any(group.phase is not MemberPhase.DOWN for group in self.groups.values())
