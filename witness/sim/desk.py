"""A witness's end of the agents' streams: who is admitted, what is answered, and to whom hints go.

The rules are those of witness/http/stream.py and stream_table.py: one stream a site, the incarnation of the Hello for
its whole life, no answer to what was not decided. It ends with its process (witness.sim.life).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proto.codec import AGENT_MESSAGES
from proto.commands import Author, Command, PutEscrow, ReleaseLease
from proto.decisions import Reason
from proto.messages import (
    AgentMessage,
    EscrowPut,
    EscrowPutAnswer,
    Heartbeat,
    HeartbeatAnswer,
    Notice,
    Ping,
    Pong,
    Release,
    ReleaseAnswer,
    WitnessMessage,
)
from proto.units import GroupId, SiteId
from witness.core.batcher import Overloaded
from witness.core.effects import Outcome
from witness.core.transitions import Phase
from witness.sim.clock import Events

if TYPE_CHECKING:
    from witness.sim.life import Life
    from witness.sim.stream import Stream

STREAM_IDLE_NS = 5_000_000_000
UNDECIDED = frozenset({Reason.NO_QUORUM, Reason.OUTCOME_UNKNOWN, Reason.OVERLOADED})
"""Not answered, as witness/http/stream.py has it."""
OnOutcome = Callable[[Outcome], None]


class Desk:
    def __init__(self, life: Life, events: Events) -> None:
        self._life = life
        self._events = events
        self._streams: dict[str, Stream] = {}

    # -- streams ---------------------------------------------------------------------------------------------

    def hello(self, stream: Stream) -> None:
        site = str(stream.host.settings.site)
        old = self._streams.get(site)
        if old is not None and old.incarnation != stream.incarnation:
            if self._events.now_ns - old.witness_heard_ns <= STREAM_IDLE_NS:
                self._life.machine.watch.hit("refused-second-agent")
                stream.goodbye(refused=True)
                return
            old.goodbye(refused=False)
        elif old is not None:
            old.goodbye(refused=False)
        self._streams[site] = stream
        stream.witness_open = True
        stream.witness_heard_ns = self._events.now_ns
        stream.welcome(leading=self._life.node.consensus.leading)

    def hung_up(self, stream: Stream) -> None:
        stream.witness_open = False
        self._life.driver.withdraw(stream)
        site = str(stream.host.settings.site)
        if self._streams.get(site) is stream:
            del self._streams[site]

    def closed(self, *, told: bool) -> None:
        """The process is gone; `told`: its kernel says so."""
        for stream in self._streams.values():
            stream.witness_open = False
            if told:
                stream.goodbye(refused=False)
        self._streams.clear()

    def push(self, site: SiteId, notice: Notice) -> None:
        stream = self._streams.get(str(site))
        if stream is not None:
            stream.to_agent(notice)

    # -- what comes in ---------------------------------------------------------------------------------------

    def arrives(self, stream: Stream, message: AgentMessage) -> None:
        if not stream.witness_open:
            return
        stream.witness_heard_ns = self._events.now_ns
        seen = self._life.node.consensus
        if isinstance(message, Ping):
            self._life.driver.pinged(stream.host.settings.site, stream.incarnation, message)
            level = self._life.node.machine.state.feature_level
            stream.to_agent(Pong(message.nonce, seen.leading, seen.has_quorum, level))
        elif isinstance(message, Heartbeat | Release | EscrowPut):
            if message.incarnation != stream.incarnation:
                self.hung_up(stream)
                stream.goodbye(refused=True)
            elif isinstance(message, Heartbeat):
                self._heartbeat(stream, message)
            elif isinstance(message, EscrowPut):
                self._escrow_put(stream, message)
            else:
                self._release(stream, message)

    def _heartbeat(self, stream: Stream, beat: Heartbeat) -> None:
        asked = self._life.machine.watch.asked()

        def answer(outcome: Outcome) -> None:
            if outcome.reason not in UNDECIDED and (outcome.ok or outcome.answers):
                self._answer(stream, HeartbeatAnswer(beat.nonce, outcome.answers), asked)
                for told in outcome.after:
                    self._answer(stream, told, asked)

        if self._quarantined_asks(beat):
            self._life.machine.watch.hit("quarantined-asks")
        frame = AGENT_MESSAGES.encode(beat)
        self._unless_overloaded(lambda: self._life.driver.heartbeat(frame, answer, stream))

    def _quarantined_asks(self, beat: Heartbeat) -> bool:
        """The site would be a candidate for a vacant lease, were it not in quarantine."""
        groups = self._life.node.machine.state.groups
        for name in (part.group for part in beat.groups):
            group = groups.get(name)
            site = None if group is None else group.sites.get(beat.site)
            if group is not None and site is not None and group.phase is Phase.VACANT and site.quarantine:
                return True
        return False

    def _release(self, stream: Stream, release: Release) -> None:
        asked = self._life.machine.watch.asked()

        def answer(outcome: Outcome) -> None:
            if outcome.reason not in UNDECIDED:
                said = ReleaseAnswer(release.nonce, release.group, release.epoch, outcome.reason)
                self._answer(stream, said, asked)

        self._unless_overloaded(lambda: self._life.driver.release(ReleaseLease.asked(release), answer))

    def _escrow_put(self, stream: Stream, put: EscrowPut) -> None:
        asked = self._life.machine.watch.asked()

        def answer(outcome: Outcome) -> None:
            if outcome.reason not in UNDECIDED:
                said = (outcome.reason, outcome.stored, outcome.version_next)
                self._answer(stream, EscrowPutAnswer(put.nonce, put.group, put.license, *said), asked)

        command = PutEscrow(put.group, put.site, put.incarnation, put.claim, put.license, put.sealed)
        self._unless_overloaded(lambda: self._life.driver.put_escrow(command, answer))

    def _answer(self, stream: Stream, message: WitnessMessage, asked: int) -> None:
        if stream.witness_open:
            self._told(asked)
            stream.to_agent(message)

    def _told(self, asked: int) -> None:
        """What leaves now rests on the entry that is being told of."""
        index = self._life.driver.telling
        if index:
            self._life.machine.watch.told(self._life, index, asked)

    # -- operators -------------------------------------------------------------------------------------------

    def submit(self, command: Command, on_outcome: OnOutcome) -> None:
        asked = self._life.machine.watch.asked()

        def answer(outcome: Outcome) -> None:
            if outcome.reason not in UNDECIDED:
                self._told(asked)
            on_outcome(outcome)

        self._unless_overloaded(lambda: self._life.driver.ask(command, answer))

    def switchover(self, group: GroupId, to: SiteId, on_outcome: OnOutcome) -> None:
        planned = self._life.driver.plan_switchover(group, to, Author("operator-1", "simulated"))
        if isinstance(planned, Outcome):
            on_outcome(planned)
        else:
            self.submit(planned, on_outcome)

    def _unless_overloaded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Overloaded:
            self._life.machine.watch.hit("overloaded")
