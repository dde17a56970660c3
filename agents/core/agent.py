"""One site's agent without its I/O: streams, probes, guards and time come in, ordered effects go out.

Decides when a heartbeat goes out and over which stream; each group decides what it means (agents/core/group.py).
The clocks are compared on every input: when they disagree, this incarnation ends (DESIGN section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agents.core.agent_incarnation import SiteIncarnation
from agents.core.clock_watch import ClockWatch
from agents.core.effects import Effect, KeepRelays, Send, Tell
from agents.core.ended import EndedIncarnations
from agents.core.group_permit import GroupLifeStart, PermittedGroup
from agents.core.health import HealthSummary
from agents.core.lease_holder import NO_EPOCH, LeaseHolder
from agents.core.license import KeptKeys
from agents.core.permit_record import PermitRecord
from agents.core.promise import Promise
from agents.core.relay import Relays
from agents.core.settings import AgentSettings
from agents.core.site import LIVE_STATES
from agents.core.streams import Attempt, Route, StreamTable
from agents.core.takeover import Takeover
from proto import limits
from proto.clock import ClockReading
from proto.decisions import Reason
from proto.health import DataChecks
from proto.messages import (
    LAG_UNKNOWN_MS,
    EscrowPutAnswer,
    EscrowValue,
    GroupSites,
    Heartbeat,
    HeartbeatAnswer,
    Notice,
    Pong,
    ReleaseAnswer,
    WitnessMessage,
)
from proto.timing import URGENT_SPACING_NS, renew_interval_ms
from proto.units import (
    NS_PER_MS,
    NS_PER_S,
    DurationNs,
    Epoch,
    GroupId,
    Incarnation,
    InstantNs,
    LicenseName,
    Nonce,
    SiteId,
    WitnessId,
)

_NOT_PROBED = HealthSummary(False, False, DataChecks.NONE, LAG_UNKNOWN_MS, ("not probed yet",))
_INTERVAL_UNKNOWN_NS = DurationNs(1 * NS_PER_S)
_DRIFT_UNKNOWN_PPM = limits.DRIFT_MAX_PPM_DEFAULT
_NOT_HEARD = frozenset({Reason.STALE_HEARTBEAT, Reason.INCARNATION_SUPERSEDED})
"""Another one speaks for this site, and its word counts."""
_HEAD_BYTES = 512
_ENTRY_BYTES = 110
"""One group's part of a heartbeat beside its report: name, epoch, claim, lag."""


class SiteAgent(SiteIncarnation):
    def __init__(
        self,
        settings: AgentSettings,
        *,
        tokens: Callable[[], bytes],
        bounds: Mapping[GroupId, tuple[Epoch, Epoch]],
        started: ClockReading,
        takeover: Takeover | None = None,
        promises: Mapping[GroupId, Promise] | None = None,
        sites: Mapping[GroupId, GroupSites] | None = None,
        permits: Mapping[GroupId, PermitRecord] | None = None,
        sealed: Mapping[GroupId, Mapping[LicenseName, KeptKeys]] | None = None,
        begun: Sequence[Incarnation] = (),
    ) -> None:
        """`takeover`: guards still hold for a former process's incarnation, which goes on (agents/core/takeover.py).

        `promises`, `sites`, `permits` and `sealed` are what is on disk, and so are the incarnations that have `begun`
        on it, the newest last (agents/core/ended.py).
        """
        self.settings = settings
        self.incarnation = Incarnation(tokens()) if takeover is None else takeover.kept.incarnation
        self._ended = EndedIncarnations(self.incarnation, begun, spoke=takeover is not None)
        self.streams = StreamTable()
        self.relays = Relays(settings.peers)
        self.answered_via: SiteId | None = None
        """Through which site the last answer of a witness came; None: directly."""
        self.groups: dict[GroupId, PermittedGroup] = {}
        self._tokens = tokens
        self._effects: list[Effect] = []
        self._seq = 0 if takeover is None else takeover.seq_first
        self._heard_seq = -1
        """The newest heartbeat that was answered, and counted."""
        self._clocks = ClockWatch(started)
        self._start_linked(started.boottime_ns)
        self._heartbeat_at = started.boottime_ns
        self._heartbeat_last = InstantNs(0)
        self._answer_by: tuple[InstantNs, Nonce, Route] | None = None
        self._ping_at = started.boottime_ns
        self._closing = False
        for group in settings.groups:
            holder, told = LeaseHolder(*bounds.get(group.group, (NO_EPOCH, NO_EPOCH))), self._effects.append
            life = GroupLifeStart(
                started=started,
                incarnation=lambda: self.incarnation,
                promise=(promises or {}).get(group.group),
                sites=(sites or {}).get(group.group),
                number_first=self._seq,
                permit=(permits or {}).get(group.group, PermitRecord()),
                sealed=(sealed or {}).get(group.group, {}),
            )
            self.groups[group.group] = PermittedGroup(group, settings, holder, _NOT_PROBED, told, self._tokens, life)
        adopted = {} if takeover is None else takeover.groups
        for name, one in self.groups.items():
            one.start(adopted.get(name))

    # -- inputs -------------------------------------------------------------------------------------------

    def stream_opened(self, witness: WitnessId, leading: bool, now: ClockReading, via: SiteId | None = None) -> None:
        self._begin(now)
        route = Route(witness, via)
        alone = not self.streams.open or (via is not None and not self.streams.trusted())
        self.streams.opened(route, leading=leading)
        self._note(now)
        self._ping(route, now)
        if alone:
            self._heartbeat_at = now.boottime_ns
        self._work(now)

    def stream_closed(self, witness: WitnessId, now: ClockReading, via: SiteId | None = None) -> None:
        self._begin(now)
        self.streams.closed(Route(witness, via))
        if self._answer_by is not None and self._answer_by[2] == Route(witness, via):
            self._answer_by = None
            self._heartbeat_at = now.boottime_ns
        self._work(now)

    def received(
        self, witness: WitnessId, message: WitnessMessage, now: ClockReading, via: SiteId | None = None
    ) -> None:
        self._begin(now)
        if isinstance(message, HeartbeatAnswer):
            self._answer(message, now)
        elif isinstance(message, ReleaseAnswer):
            group = self.groups.get(message.group)
            if group is not None:
                group.released(message.epoch)
        elif isinstance(message, Notice):
            self.streams.noticed(Route(witness, via))
            if message.group in self.groups:
                self.groups[message.group].noticed(message)
        elif isinstance(message, GroupSites):
            if message.group in self.groups:
                self.groups[message.group].told_sites(message)
        elif isinstance(message, EscrowPutAnswer | EscrowValue):
            self._escrow_heard(message)
        elif isinstance(message, Pong):
            self._pong(Route(witness, via), message, now)
        self._work(now)

    def observe(self, group: GroupId, health: HealthSummary, now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].observe(health)
        self._work(now)

    def plan_finished(
        self, group: GroupId, plan: int, ok: bool, text: str, now: ClockReading, *, orderly: bool = True
    ) -> None:
        self._begin(now)
        self.groups[group].plan_finished(plan, ok, text, now, orderly=orderly)
        self._work(now)

    def fenced(self, group: GroupId, ok: bool, text: str, now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].fenced(ok, text, now)
        self._work(now)

    def guard_lost(self, group: GroupId, text: str, now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].guard_lost(text)
        self._work(now)

    def bounds_stored(self, group: GroupId, now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].bounds_stored(now)
        self._work(now)

    def guard_containment(self, group: GroupId, words: str) -> None:
        self.groups[group].containment = words

    def guard_lacks(self, group: GroupId, lacks: tuple[str, ...], now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].lacks = lacks
        self.groups[group].urgent = True
        self._work(now)

    def shutdown(self, now: ClockReading) -> None:
        """Deactivate and release everything in order; `finished` tells when that is done."""
        self._begin(now)
        self._closing = True
        for group in self.groups.values():
            group.close(now)
        self._work(now)

    def finished(self) -> bool:
        return self._closing and all(group.closed() for group in self.groups.values())

    def unsettled(self) -> str:
        """'' or what would be lost if this process ended now for a successor of its incarnation."""
        return "; ".join(filter(None, (group.unsettled() for group in self.groups.values())))

    def tick(self, now: ClockReading) -> None:
        self._begin(now)
        self._work(now)

    # -- outputs ------------------------------------------------------------------------------------------

    def next_deadline(self) -> InstantNs:
        wake = [self._heartbeat_at, self._ping_at]
        if self._answer_by is not None:
            wake.append(self._answer_by[0])
        relay_at = self.relays.next_deadline(self.interval_ns())
        if relay_at is not None:
            wake.append(relay_at)
        if self.settings.peers and not self._silent(self._clocks.last):
            wake.append(self._silent_from())
        for group in self.groups.values():
            at = group.next_deadline()
            if at is not None:
                wake.append(at)
        return min(wake)

    def take_effects(self) -> list[Effect]:
        effects = list(self._effects)
        self._effects.clear()
        return effects

    # -- clocks -------------------------------------------------------------------------------------------

    def _begin(self, now: ClockReading) -> None:
        """Every input starts here: do the clocks still agree?"""
        if trouble := self._clocks.look(now, self._drift_ppm()):
            self._new_incarnation(trouble, now)

    def _drift_ppm(self) -> int:
        known = [g.known_constants.drift_max_ppm for g in self.groups.values() if g.known_constants is not None]
        return max(known, default=_DRIFT_UNKNOWN_PPM)

    # -- answers ------------------------------------------------------------------------------------------

    def _answer(self, message: HeartbeatAnswer, now: ClockReading) -> None:
        attempt = self.streams.answered(message.nonce, now)
        if attempt is None:
            return
        if self._answer_by is not None and self._answer_by[1] == message.nonce:
            self._answer_by = None
        self._heard_at = now.boottime_ns
        self._note_route(attempt.route.via, now)
        if why := self._not_ours(message, attempt):
            self._new_incarnation(why, now)
            return
        if all(one.reason not in _NOT_HEARD for one in message.groups):
            self._ended.counted()
            self._heard_seq = max(self._heard_seq, attempt.seq)
        for answer in message.groups:
            group = self.groups.get(answer.group)
            if group is not None:
                group.end.heard(self._heard_seq)
                carried = attempt.carried.get(answer.group, NO_EPOCH)
                group.answered(answer, attempt.sent, carried, now)

    def _pong(self, route: Route, message: Pong, now: ClockReading) -> None:
        stream = self.streams.open.get(route)
        if stream is not None:
            stream.ponged(message, now.boottime_ns)

    def _note_route(self, via: SiteId | None, now: ClockReading) -> None:
        self.relays.answered(now.boottime_ns, via)
        if via != self.answered_via:
            self.answered_via = via
            how = "witnesses answer directly again" if via is None else f"renewals are carried by the agent of {via}"
            self._effects.append(Tell(None, how))

    # -- the work between ---------------------------------------------------------------------------------

    def _work(self, now: ClockReading) -> None:
        for group in self.groups.values():
            group.tick(now)
            group.end.down(self._seq, self._heard_seq)
        if self.settings.peers:
            self._look_aside(now)
        self._watch_answer(now)
        self._watch_routes(now)
        if any(group.urgent or group.licenses.urgent for group in self.groups.values()):
            soonest = InstantNs(self._heartbeat_last + URGENT_SPACING_NS)
            self._heartbeat_at = min(self._heartbeat_at, max(soonest, now.boottime_ns))
        if now.boottime_ns >= self._heartbeat_at:
            self._send_heartbeat(now)
        self._send_puts(now)
        self._send_releases(now)
        if now.boottime_ns >= self._ping_at:
            self._ping_at = InstantNs(now.boottime_ns + limits.PING_INTERVAL_NS)
            for route in self.streams.open:
                self._ping(route, now)

    def _watch_answer(self, now: ClockReading) -> None:
        """An attempt without an answer in time: its stream is suspect, and another one is tried at once."""
        if self._answer_by is None or now.boottime_ns < self._answer_by[0]:
            return
        self.streams.overdue(self._answer_by[2])
        self._answer_by = None
        self._heartbeat_at = now.boottime_ns

    def _watch_routes(self, now: ClockReading) -> None:
        was = self.relays.relaying
        if self.relays.look(now.boottime_ns, self.streams, self.settings.witnesses, self.interval_ns()):
            self._effects.append(KeepRelays(tuple(sorted(self.relays.wanted))))
        if self.relays.relaying and not was:
            self._effects.append(Tell(None, "no witness answers directly: other sites are asked to carry the renewals"))

    def carries(self, now: ClockReading) -> bool:
        """This site hears the witnesses itself, so it may carry another site's streams (agents/core/relay.py)."""
        return self.relays.carries(now.boottime_ns, self.interval_ns())

    def hears(self, now: ClockReading) -> bool:
        """This site hears the witnesses itself, so it gives no holds."""
        return self.relays.hears(now.boottime_ns, self.streams, self.interval_ns())

    def interval_ns(self) -> DurationNs:
        ttls = [g.known_constants.ttl_ms for g in self.groups.values() if g.known_constants is not None]
        return DurationNs(renew_interval_ms(min(ttls)) * NS_PER_MS) if ttls else _INTERVAL_UNKNOWN_NS

    def _send_heartbeat(self, now: ClockReading) -> None:
        self._heartbeat_at = InstantNs(now.boottime_ns + self.interval_ns())
        route = self.streams.best()
        if route is None or not self.groups or not self._may_speak(now):
            return
        self._heartbeat_last = now.boottime_ns
        self._seq += 1
        entries = tuple(group.heartbeat() for group in self.groups.values())
        if sum(len(entry.report) + _ENTRY_BYTES for entry in entries) > limits.FRAME_BYTES_MAX - _HEAD_BYTES:
            entries = tuple(group.heartbeat(terse=True) for group in self.groups.values())
        for group in self.groups.values():
            group.urgent = False
            group.licenses.reported()
        nonce = Nonce(self._tokens())
        self.streams.sent(nonce, Attempt(self._seq, now, route, {entry.group: entry.epoch for entry in entries}))
        wait_ns = min(self.streams.answer_wait_ns(route), self.interval_ns())
        self._answer_by = (InstantNs(now.boottime_ns + wait_ns), nonce, route)
        known = self.newest_answered()
        ended = self._ended.named(self.streams.open[route].features)
        beat = Heartbeat(self.settings.site, self.incarnation, self._seq, nonce, now.wall_ms, entries, known, ended)
        self._effects.append(Send(route.witness, beat, route.via))

    def _ping(self, route: Route, now: ClockReading) -> None:
        ping = self.streams.open[route].ping(Nonce(self._tokens()), now.boottime_ns)
        self._effects.append(Send(route.witness, ping, route.via))

    def live(self) -> bool:
        """Some group may run here: reconnect fast."""
        return any(group.state in LIVE_STATES for group in self.groups.values())
