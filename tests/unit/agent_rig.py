"""A SiteAgent on a manual clock, with a shell that only remembers what it was asked to do."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TypeVar

from agents.core.agent import SiteAgent
from agents.core.effects import Effect, Fence, NoteIncarnation, PlanKind, ReopenStreams, Send, StartPlan, Tell
from agents.core.health import HealthSummary
from agents.core.settings import AgentSettings, GroupSettings
from proto.clock import ManualClock
from proto.codec import REPORTS
from proto.decisions import Reason
from proto.health import DataChecks, HealthReport, SiteState
from proto.messages import (
    GroupAnswer,
    GroupHeartbeat,
    Heartbeat,
    HeartbeatAnswer,
    Notice,
    NoticeKind,
    Release,
    ReleaseAnswer,
    RevokePhase,
    Verdict,
)
from proto.units import NS_PER_MS, ClusterId, Epoch, GroupId, Incarnation, RenewalNo, SiteId, WitnessId

G = GroupId("erp")
W1, W2, W3 = WitnessId("w1"), WitnessId("w2"), WitnessId("w3")
TTL_MS = 1_000
HEALTHY = HealthSummary(True, True, DataChecks.PASSED, 5)
SETTINGS = AgentSettings(
    site=SiteId("dc-a"),
    cluster=ClusterId("c" * 32),
    agent_version="1",
    store_id=b"s" * 16,
    witnesses=(W1, W2, W3),
    groups=(GroupSettings(G, True, None, 5_000, 3_000, ()),),
)
ANSWER = GroupAnswer(G, Verdict.DORMANT, Epoch(0), RenewalNo(0), TTL_MS, 10_000, 0, RevokePhase.NONE, 1, Reason.OK)
E = TypeVar("E", bound=Effect)


class AgentRig:
    def __init__(
        self,
        *,
        bounds: tuple[int, int] = (0, 0),
        streams: int = 3,
        peers: tuple[SiteId, ...] = (),
        begun: tuple[Incarnation, ...] = (),
        notes: bool = True,
        **group,
    ) -> None:
        """`notes`: incarnations are noted at once."""
        self.notes = notes
        self.clock = ManualClock()
        self.settings = replace(SETTINGS, groups=(replace(SETTINGS.groups[0], **group),), peers=peers)
        numbers = itertools.count(1)
        self.agent = SiteAgent(
            self.settings,
            tokens=lambda: next(numbers).to_bytes(16, "big"),
            bounds={G: (Epoch(bounds[0]), Epoch(bounds[1]))},
            started=self.clock.read(),
            begun=begun,
        )
        self.effects: list[Effect] = []
        self.told: list[str] = []
        self.sent: list[tuple[WitnessId, Heartbeat]] = []
        self.take()
        self._streams = streams
        self._open_streams()

    def _open_streams(self) -> None:
        for witness in (W1, W2, W3)[: self._streams]:
            self.agent.stream_opened(witness, witness == W1, self.clock.read())
            self.take()

    # -- looking ------------------------------------------------------------------------------------------

    @property
    def group(self):
        return self.agent.groups[G]

    @property
    def state(self) -> SiteState:
        return self.group.state

    def take(self) -> list[Effect]:
        new = self.agent.take_effects()
        if any(isinstance(effect, ReopenStreams) for effect in new):
            self._open_streams()
            new += self.agent.take_effects()
        for effect in [effect for effect in new if isinstance(effect, NoteIncarnation) and self.notes]:
            self.agent.incarnation_noted(effect.incarnation, self.clock.read())
            new += self.agent.take_effects()
        self.effects += new
        self.told += [effect.text for effect in new if isinstance(effect, Tell)]
        self.sent += [
            (effect.witness, effect.message)
            for effect in new
            if isinstance(effect, Send) and isinstance(effect.message, Heartbeat)
        ]
        return new

    def all_of(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def last(self, kind: type[E]) -> E:
        return self.all_of(kind)[-1]

    def releases(self) -> list[Release]:
        return [effect.message for effect in self.all_of(Send) if isinstance(effect.message, Release)]

    def fences(self) -> int:
        return len(self.all_of(Fence))

    @property
    def beat(self) -> Heartbeat:
        return self.sent[-1][1]

    @property
    def entry(self) -> GroupHeartbeat:
        return self.beat.groups[0]

    @property
    def report(self) -> HealthReport:
        return REPORTS.decode(self.entry.report)

    # -- time and inputs ----------------------------------------------------------------------------------

    def passes(self, ms: int) -> None:
        """Time passes; the shell ticks exactly when the core asked for it."""
        end = self.clock.boottime_ns + ms * NS_PER_MS
        for _ in range(10_000):
            due = max(self.agent.next_deadline(), self.clock.boottime_ns)
            if due > end:
                break
            self.clock.advance(due - self.clock.boottime_ns)
            before = self.agent.next_deadline()
            self.agent.tick(self.clock.read())
            self.take()
            assert self.agent.next_deadline() > before or due < end, "the core asks to be woken without end"
        else:
            raise AssertionError("the core spins")
        self.clock.advance(end - self.clock.boottime_ns)

    def fresh_beat(self) -> Heartbeat:
        """The next heartbeat, as soon as it goes out."""
        count = len(self.sent)
        for _ in range(1_200):
            if len(self.sent) > count:
                return self.beat
            self.passes(1)
        raise AssertionError("no heartbeat within a second")

    def answer(
        self, beat: Heartbeat | None = None, witness: WitnessId = W1, via: SiteId | None = None, **fields
    ) -> None:
        chosen = self.beat if beat is None else beat
        message = HeartbeatAnswer(chosen.nonce, (ANSWER._replace(**fields),))
        self.agent.received(witness, message, self.clock.read(), via)
        self.take()

    def renewed(self, beat: Heartbeat | None = None, renewal: int = 1, **fields) -> None:
        chosen = self.beat if beat is None else beat
        epoch = chosen.groups[0].epoch
        self.answer(chosen, verdict=Verdict.RENEWED, epoch=epoch, renewal=RenewalNo(renewal), **fields)

    def stored(self) -> None:
        self.agent.bounds_stored(G, self.clock.read())
        self.take()

    def alone(self) -> None:
        """The next heartbeat is answered, so that no twin is ahead."""
        self.fresh_beat()
        self.answer()

    def finished(self, ok: bool = True, text: str = "") -> None:
        plan = self.last(StartPlan)
        self.agent.plan_finished(G, plan.plan, ok, text, self.clock.read())
        self.take()

    def fenced(self, ok: bool = True) -> None:
        self.agent.fenced(G, ok, "", self.clock.read())
        self.take()

    def notice(self, kind: NoticeKind, epoch: int) -> None:
        self.agent.received(W1, Notice(G, kind, Epoch(epoch)), self.clock.read())
        self.take()

    def release_answered(self, epoch: int, reason: Reason = Reason.OK) -> None:
        self.agent.received(W1, ReleaseAnswer(b"n" * 16, G, Epoch(epoch), reason), self.clock.read())
        self.take()

    # -- the way there ------------------------------------------------------------------------------------

    def standby(self) -> AgentRig:
        self.agent.observe(G, HEALTHY, self.clock.read())
        self.finished()
        if self.group.holder.bound > 0:
            self.stored()
        self.fresh_beat()
        self.answer()
        assert self.state is SiteState.STANDBY
        return self

    def claiming(self, epoch: int = 2) -> AgentRig:
        """Granted, the bound stored, the claim on its way."""
        self.standby()
        self.fresh_beat()
        self.answer(self.beat, verdict=Verdict.GRANTED, epoch=Epoch(epoch))
        self.stored()
        self.fresh_beat()
        assert self.entry.epoch == epoch
        return self

    def activating(self, epoch: int = 2) -> AgentRig:
        self.claiming(epoch)
        self.renewed()
        assert self.last(StartPlan).kind is PlanKind.ACTIVATE
        return self

    def active(self, epoch: int = 2) -> AgentRig:
        self.activating(epoch)
        self.finished()
        assert self.state is SiteState.ACTIVE
        self.passes(15)
        self.renewed(renewal=2)
        return self
