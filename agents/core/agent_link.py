"""The agent's side towards the other sites: holds while no witness answers, and what they ask of it.

A part of agents/core/agent.py, which owns the clocks, the groups and the effects. Streams that other sites carry are
agents/core/relay.py.
"""

from __future__ import annotations

from typing import Protocol

from agents.core.effects import AnswerSite, Effect
from agents.core.group_permit import PermittedGroup
from agents.core.streams import Route
from proto.clock import ClockReading
from proto.site_messages import (
    HoldAnswer,
    HoldEnd,
    HoldEndAnswer,
    HoldRefusal,
    HoldRequest,
    HoldVerdict,
)
from proto.timing import ANSWER_WAIT_MS_MIN
from proto.units import NS_PER_MS, DurationNs, GroupId, InstantNs, Nonce, SiteId


class Agent(Protocol):
    """What this part of the agent uses of the whole (agents/core/agent.py)."""

    groups: dict[GroupId, PermittedGroup]
    _heard_seq: int
    linked: set[SiteId]
    _effects: list[Effect]
    _heard_at: InstantNs
    _answer_by: tuple[InstantNs, Nonce, Route] | None

    def _begin(self, now: ClockReading) -> None: ...
    def _work(self, now: ClockReading) -> None: ...
    def _new_incarnation(self, text: str, now: ClockReading) -> None: ...
    def _silent_from(self) -> InstantNs: ...
    def _silent(self, now: ClockReading) -> bool: ...
    def interval_ns(self) -> DurationNs: ...
    def hears(self, now: ClockReading) -> bool: ...


class SiteLinked:
    def _start_linked(self, now: InstantNs) -> None:
        self.linked: set[SiteId] = set()
        """The sites to which the connection stands, for people."""
        self._heard_at = now
        """When a witness answered last, over any stream."""

    # -- the site link --------------------------------------------------------------------------------------

    def site_link_opened(self: Agent, site: SiteId, now: ClockReading) -> None:
        self._begin(now)
        self.linked.add(site)
        self._work(now)

    def site_link_closed(self: Agent, site: SiteId, now: ClockReading) -> None:
        self._begin(now)
        self.linked.discard(site)
        self._work(now)

    def site_received(self: Agent, site: SiteId, message: HoldAnswer | HoldEndAnswer, now: ClockReading) -> None:
        """An answer, on the connection that was dialled to this site."""
        self._begin(now)
        group = self.groups.get(message.group)
        if group is not None and group.site_answered(site, message, now):
            self._new_incarnation("another copy of this agent takes holds with our incarnation: a cloned machine?", now)
        self._work(now)

    def site_asked(
        self: Agent, site: SiteId, message: HoldRequest | HoldEnd, received: ClockReading, now: ClockReading
    ) -> None:
        """A request, on the connection that this site dialled. `received`: the clocks before it was looked at."""
        self._begin(now)
        group = self.groups.get(message.group)
        if group is not None:
            hears = self.hears(now)
            group.site_asked(site, message, received, hears_witnesses=hears)
            if hears and self._answer_by is None:
                group.urgent = True  # does it still hear them? The asker has not much time, and asks again
        elif isinstance(message, HoldRequest):
            refusal = HoldVerdict.REFUSED, HoldRefusal.UNKNOWN_GROUP
            answer = HoldAnswer(message.nonce, message.group, message.epoch, message.number, *refusal)
            self._effects.append(AnswerSite(site, answer))
        self._work(now)

    def promise_stored(self: Agent, group: GroupId, now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].promise_stored()
        self._work(now)

    def sites_stored(self: Agent, group: GroupId, now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].sites_stored()
        self._work(now)

    # -- the work between ---------------------------------------------------------------------------------

    def _silent_from(self: Agent) -> InstantNs:
        return InstantNs(self._heard_at + self.interval_ns() + ANSWER_WAIT_MS_MIN * NS_PER_MS)

    def _silent(self: Agent, now: ClockReading) -> bool:
        """No witness has answered any attempt for longer than a renewal period and an answer's wait."""
        return now.boottime_ns >= self._silent_from()

    def _look_aside(self: Agent, now: ClockReading) -> None:
        """To the other sites, for holds, while no witness answers."""
        silent, interval_ns = self._silent(now), self.interval_ns()
        for group in self.groups.values():
            group.hold(now, silent=silent, interval_ns=interval_ns)
