"""How an agent's incarnation ends and the next one begins. A part of agents/core/agent.py, as agent_holder.py is.

A new incarnation counts as a cold start. Who is told that another one speaks for its site goes on saying which
incarnations of its own have ended, and is heard again when one of them was the other (docs/adr/0025).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from agents.core.agent_holder import SiteHolder
from agents.core.agent_link import Agent
from agents.core.clock_watch import ClockWatch
from agents.core.effects import NoteIncarnation, ReopenStreams, Tell
from agents.core.ended import EndedIncarnations
from agents.core.relay import Relays
from agents.core.streams import Route, StreamTable
from proto.clock import ClockReading
from proto.decisions import Reason
from proto.messages import HeartbeatAnswer
from proto.units import Incarnation, InstantNs, Nonce


class SpeakingAgent(Agent, Protocol):
    """What this part of the agent uses of the whole."""

    incarnation: Incarnation
    streams: StreamTable
    relays: Relays
    _clocks: ClockWatch
    _ended: EndedIncarnations
    _heartbeat_at: InstantNs
    _seq: int
    _refused_seq: int
    _tokens: Callable[[], bytes]

    def superseded(self) -> bool: ...


class SiteIncarnation(SiteHolder):
    _answer_by: tuple[InstantNs, Nonce, Route] | None

    def machine_changed(self: SpeakingAgent, text: str, now: ClockReading) -> None:
        """This machine is not the one it was: a copy, or one that was put back (VMGENID). A cold start."""
        self._begin(now)
        self._new_incarnation(text, now)
        self._work(now)

    def incarnation_noted(self: SpeakingAgent, incarnation: Incarnation, now: ClockReading) -> None:
        self._begin(now)
        if incarnation == self.incarnation:
            self._ended.noted = True
            self._heartbeat_at = now.boottime_ns
        self._work(now)

    def superseded(self: Agent) -> bool:
        return any(group.superseded for group in self.groups.values())

    def _new_incarnation(self: SpeakingAgent, text: str, now: ClockReading) -> None:
        """Counts as a cold start: nothing that was promised to the old incarnation is used again."""
        self._effects.append(Tell(None, f"{text}; this incarnation ends", alarm=True))
        self._clocks.begin_anew(now)
        self._ended.begun_anew(self.incarnation)
        self.incarnation = Incarnation(self._tokens())
        self._effects.append(NoteIncarnation(self.incarnation))
        self._seq, self._heard_seq, self._refused_seq = 0, -1, -1
        self.streams.forget_all()
        self.relays.forget()
        self._answer_by = None
        self._effects.append(ReopenStreams())
        for group in self.groups.values():
            group.abandon(text, now)
            group.urgent = True

    def _heard_again(self: SpeakingAgent, message: HeartbeatAnswer, seq: int, now: ClockReading) -> bool:
        """After it was superseded: only by an attempt that was sent when it knew so, others may be of before."""
        if any(one.reason is Reason.INCARNATION_SUPERSEDED for one in message.groups):
            self._refused_seq = self._seq
            return False
        stale = any(one.reason is Reason.STALE_HEARTBEAT for one in message.groups)
        if stale or not message.groups or seq <= self._refused_seq or not self.superseded():
            return False
        for group in self.groups.values():
            group.speaks_again()
        self._new_incarnation("the late word of one that had ended superseded it, and it is heard again", now)
        return True
