"""The agent's side towards the operator who breaks the glass. A part of agents/core/agent.py, as agent_link.py is."""

from __future__ import annotations

from agents.core.agent_link import Agent, SiteLinked
from proto.clock import ClockReading
from proto.permit import Permit
from proto.units import GroupId


class SitePermits(SiteLinked):
    def break_glass(self: Agent, group: GroupId, permit: Permit, now: ClockReading) -> str:
        """'' when the permit is taken, else why not. Its signature was verified with the group's key."""
        self._begin(now)
        found = self.groups.get(group)
        words = f"this agent serves no group {group}" if found is None else found.break_glass(permit, now)
        self._work(now)
        return words

    def end_break_glass(self: Agent, group: GroupId, now: ClockReading) -> str:
        """'' when the site stops now, in order; else why there is nothing to end."""
        self._begin(now)
        found = self.groups.get(group)
        words = f"this agent serves no group {group}" if found is None else found.end_permit()
        self._work(now)
        return words

    def permit_stored(self: Agent, group: GroupId, now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].permit_stored(now)
        self._work(now)

    def newest_answered(self: Agent) -> int:
        """For the witnesses, where somebody may break the glass: what this agent knows (Heartbeat.answered)."""
        return self._heard_seq if any(group.tells_answered for group in self.groups.values()) else -1
