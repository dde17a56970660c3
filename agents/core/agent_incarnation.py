"""How an agent's incarnation ends and the next one begins. A part of agents/core/agent.py, as agent_holder.py is.

A new incarnation counts as a cold start. It begins when the clocks disagree, the machine is another one, a copy of this
agent is ahead of it, or an incarnation that had ended was heard after it (docs/adr/0025).
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
from agents.core.streams import Attempt, Route, StreamTable
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
    _tokens: Callable[[], bytes]


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
            waited = not self._ended.may_speak
            self._ended.noted()
            self._heartbeat_at = now.boottime_ns if waited else self._heartbeat_at
        self._work(now)

    def _may_speak(self: SpeakingAgent, now: ClockReading) -> bool:
        if self._ended.hangs(now.boottime_ns):
            text = "the disk of state_dir does not answer: mend it; this incarnation cannot be noted, and speaks now"
            self._effects.append(Tell(None, text, alarm=True))
        return self._ended.may_speak

    def _note(self: SpeakingAgent, now: ClockReading) -> None:
        if self._ended.to_note(now.boottime_ns):
            self._effects.append(NoteIncarnation(self.incarnation))

    def _new_incarnation(self: SpeakingAgent, text: str, now: ClockReading) -> None:
        """Counts as a cold start: nothing that was promised to the old incarnation is used again."""
        self._effects.append(Tell(None, f"{text}; this incarnation ends", alarm=True))
        self._clocks.begin_anew(now)
        self._ended.begun_anew(self.incarnation)
        self.incarnation = Incarnation(self._tokens())
        self._seq, self._heard_seq = 0, -1
        self.streams.forget_all()
        self.relays.forget()
        self._answer_by = None
        self._effects.append(ReopenStreams())
        for group in self.groups.values():
            group.begins_anew(text)
            group.abandon(text, now)
            group.urgent = True

    def _not_ours(self: SpeakingAgent, message: HeartbeatAnswer, attempt: Attempt) -> str:
        """'' or why this incarnation is over, by an answer."""
        reasons = {one.reason for one in message.groups}
        if attempt.seq == self._seq and Reason.STALE_HEARTBEAT in reasons:
            # Our newest attempt cannot be stale: a twin with our incarnation and claims is ahead of us. Whatever
            # we released now would be released under its feet (DESIGN sections 1 and 3; FAULTS O3).
            return "another copy of this agent speaks with our incarnation: a cloned machine?"
        if Reason.SUPERSEDED_BY_ENDED in reasons:
            return "a late word of an incarnation that had ended was heard after it"
        return ""
