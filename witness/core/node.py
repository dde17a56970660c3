"""(5) One witness without its I/O: inputs and time come in, ordered effects and the next deadline go out.

Ties the rooms together: requests go through the batcher into the log; what is committed goes through the machine;
what the machine changed restarts timers, moves observations, wakes decisions. Only a leader that has a quorum and
is caught up proposes decisions; every witness votes with its own timers. Nothing read here ever gives authority.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proto import limits
from proto.codec import COMMANDS
from proto.commands import Author, Command, FoundCluster, HeartbeatFrame, RaiseFeatureLevel, Votes
from proto.decisions import Decision, Reason
from proto.features import FEATURE_MAX
from proto.invariants import require
from proto.messages import Notice, Ping
from proto.takeover import ASSUMED, Delays
from proto.units import NS_PER_MS, ClusterId, GroupId, Incarnation, InstantNs, SiteId, WallMs, WitnessId
from witness.core import features, operator_moves, shadow, view
from witness.core.backoff import backoff_left_ns
from witness.core.batcher import Batcher, Overloaded
from witness.core.clock_rates import ClockRates
from witness.core.decide import decide
from witness.core.effects import Effect, KeepMarks, Outcome, ProposeEntry, Push, Record, Resolved
from witness.core.founding import is_ours
from witness.core.ledger import Ledger
from witness.core.machine import Applied, Machine
from witness.core.measures import Measures
from witness.core.proposals import command_for
from witness.core.sight import GroupSight, Sights
from witness.core.state import GroupState
from witness.core.timers import LeaseTimers
from witness.core.transitions import Phase

_LOOK_AGAIN_NS = limits.PING_INTERVAL_NS
"""A vacant group without a candidate is looked at again at least this often: freshness changes with time alone."""

_REFUSED_AGAIN_NS = 200 * NS_PER_MS
"""A decision that the machine refused is made again after this, if nothing changes."""


@dataclass(slots=True)
class Consensus:
    """What the node knows of its place in the cluster; set by `consensus_changed`."""

    leading: bool = False
    leader: WitnessId | None = None
    has_quorum: bool = False
    caught_up: bool = False
    features: tuple[tuple[WitnessId, int], ...] = ()
    """What each connected witness can work at."""


@dataclass(slots=True)
class _Deciding:
    """Decisions that are on their way, one per group, and when to look again."""

    by_request: dict[int, GroupId] = field(default_factory=dict)
    groups: set[GroupId] = field(default_factory=set)
    again: dict[GroupId, InstantNs] = field(default_factory=dict)


class WitnessNode:
    def __init__(
        self,
        *,
        self_id: WitnessId,
        cluster: ClusterId,
        witnesses: tuple[WitnessId, ...],
        session: bytes,
        now: InstantNs,
        feature_max: int = FEATURE_MAX,
        delays: Delays = ASSUMED,
    ) -> None:
        """`delays`: what `takeover_max` is shown with; nothing is decided on them."""
        self._delays = delays
        self.self_id = self_id
        self.cluster = cluster
        self.witnesses = tuple(sorted(witnesses))
        self.machine = Machine(session, feature_max)
        self.consensus = Consensus()
        self.measures = Measures()
        """Of this process: what timing is judged by, and nothing is decided on."""
        self.rates = ClockRates(self_id)
        self._batcher = Batcher(self_id, session, feature_max)
        self._timers = LeaseTimers(now)
        self._sights = Sights(now)
        self._deciding = _Deciding()
        self._dirty: set[GroupId] = set()
        self._founding: int | None = None
        self._raising: int | None = None
        self._founding_checked = False
        self._own: set[int] = set()
        """Requests of the node itself: nobody outside waits for them."""
        self._effects: list[Effect] = []
        self._now = now
        self._wall_ms = WallMs(0)
        self._wall_read_at = now

    # -- from consensus -----------------------------------------------------------------------------------

    def apply(self, index: int, data: bytes, age_bound_ns: int | None, now: InstantNs) -> None:
        self._pass_time(now)
        level = self.machine.state.feature_level
        applied = self.machine.apply(index, data)
        if applied.entry is not None:
            self.measures.committed(self._batcher.in_flight_for_ns(applied.entry, now))
            requests = self._batcher.committed(applied.entry)
            for request, outcome in zip(requests, applied.outcomes, strict=False):
                self._resolve(request, outcome)
        self.measures.heard(applied.changes, self.machine.state, now)
        self._take_in(applied, fresh=age_bound_ns is not None and age_bound_ns <= limits.FRESH_AGE_MAX_NS)
        if applied.events:
            self._effects.append(Record(applied.events))
        for site, group, kind, epoch in applied.changes.notices:
            self._effects.append(Push(site, Notice(group, kind, epoch)))
        if self.machine.state.feature_level != level:
            self._keep_marks()
        self._work()

    def _take_in(self, applied: Applied, *, fresh: bool) -> None:
        changes, groups = applied.changes, self.machine.state.groups
        self._check_founding()
        for name in changes.counted:
            self._timers.follow(name, groups.get(name))
        self._timers.follow_bar(self.machine.state.bar, self.machine.state.generation)
        self._sights.note(self.machine.state, changes, fresh=fresh, now=self._now)
        self._dirty |= changes.dirty
        if fresh:
            for _, heard, _ in changes.heard:
                # a group may be heard and deleted in one entry
                self._dirty.update(name for name in heard if name in groups and groups[name].phase is Phase.VACANT)

    def snapshot(self) -> bytes:
        return self.machine.snapshot()

    def restore(self, image: bytes, now: InstantNs, last_index: int | None = None) -> None:
        """Replaces the state; every timer starts in full. Raises what Machine.restore raises, and changes nothing."""
        self._pass_time(now)
        self.machine.restore(image, last_index)
        self._founding_checked = False
        self._check_founding()
        self._timers = LeaseTimers(now)
        self._sights.forget_all()
        self._timers.follow_bar(self.machine.state.bar, self.machine.state.generation)
        for name, group in self.machine.state.groups.items():
            self._timers.follow(name, group)
            self._dirty.add(name)
        kept = tuple(self.machine.state.ledger.recent)
        if kept:
            self._effects.append(Record(kept))
        self._keep_marks()

    def _keep_marks(self) -> None:
        state = self.machine.state
        self._effects.append(KeepMarks(state.feature_level, state.lineage))

    def consensus_changed(
        self,
        *,
        leading: bool,
        leader: WitnessId | None,
        has_quorum: bool,
        caught_up: bool,
        now: InstantNs,
        features: tuple[tuple[WitnessId, int], ...] = (),
    ) -> None:
        self._pass_time(now)
        before = self.consensus
        self.consensus = Consensus(leading, leader, has_quorum, caught_up, features)
        if leader != before.leader:
            self._batcher.lost()
            if leader is not None:
                self._timers.cast_again()
                self.measures.leader_changes += 1
        if leading and not before.leading:
            self._deciding = _Deciding()
            self._dirty.update(self.machine.state.groups)
        self._work()

    def proposal_refused(self, now: InstantNs) -> None:
        self._pass_time(now)
        self._batcher.lost()

    # -- from the shell -----------------------------------------------------------------------------------

    def heartbeat(self, frame: bytes, now: InstantNs) -> int:
        """Proposes a Heartbeat exactly as it was received. Raises Overloaded and then proposes nothing."""
        return self.submit(HeartbeatFrame(frame), now)

    def withdraw(self, request: int) -> bool:
        """Nobody waits for it any more; False when it was proposed, and may be applied."""
        return self._batcher.withdraw(request)

    def pinged(self, site: SiteId, incarnation: Incarnation, ping: Ping, now: InstantNs) -> None:
        """`now` is read before the pong is sent."""
        self.rates.pinged(site, incarnation, ping, now)
        self.measures.pinged(site, ping)

    def submit(self, command: Command, now: InstantNs) -> int:
        """Proposes a command; its outcome comes as `Resolved`. Raises Overloaded and then proposes nothing.

        What not every witness can read yet is answered at once: it never reaches the log.
        """
        self._pass_time(now)
        state, need = self.machine.state, COMMANDS.need(command)
        if need > state.feature_level:
            request = self._batcher.number()
            outcome = features.too_low(need, state.feature_level, state.witnesses, self.features())
            self._effects.append(Resolved(request, outcome))
            return request
        request = self._batcher.add(command, now)
        self._propose()
        return request

    def plan_switchover(self, group: GroupId, to: SiteId, author: Author, now: InstantNs) -> Command | Outcome:
        """The command that an operator's switchover needs now, or why it is refused."""
        state = self.machine.state.groups.get(group)
        if state is None:
            return Outcome(Reason.UNKNOWN_GROUP)
        return operator_moves.plan_switchover(state, self._sights.of(group, now), to, author, now)

    def tick(self, now: InstantNs, wall_ms: WallMs) -> None:
        self._wall_ms, self._wall_read_at = wall_ms, now
        self._pass_time(now)
        votes = self._timers.due_votes()
        if votes:
            self._try_submit(Votes(self.self_id, votes))
        for report in self.rates.due_reports(self.machine.state):
            self._try_submit(report)
        for request, proposed in self._batcher.overdue(now):
            # What entered a proposal may be committed once a majority is back: only the rest was certainly not done.
            reason = Reason.OUTCOME_UNKNOWN if proposed or self.consensus.has_quorum else Reason.NO_QUORUM
            self._resolve(request, Outcome(reason))
        due = [name for name, at in self._deciding.again.items() if at <= now]
        for name in due:
            del self._deciding.again[name]
            self._dirty.add(name)
        self._work()

    def next_deadline(self) -> InstantNs:
        """When to `tick` next; with armed timers at least every TIMER_WAKE_NS, so that time is counted."""
        deadlines = [InstantNs(self._now + _LOOK_AGAIN_NS)]
        if len(self._timers):
            left = self._timers.next_in_ns()
            step = limits.TIMER_WAKE_NS if left is None else min(left, limits.TIMER_WAKE_NS)
            deadlines.append(InstantNs(self._now + step))
        batcher = self._batcher.next_deadline()
        if batcher is not None:
            deadlines.append(batcher)
        deadlines.extend(self._deciding.again.values())
        return min(deadlines)

    def take_effects(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    # -- reads --------------------------------------------------------------------------------------------

    @property
    def events(self) -> Ledger:
        return self.machine.ledger

    def features(self) -> dict[WitnessId, int]:
        """The highest feature level of this witness and of each that is connected."""
        return {**dict(self.consensus.features), self.self_id: self.machine.feature_max}

    def status(self, now: InstantNs) -> dict[str, object]:
        groups = [self.group_status(name, now) for name in sorted(self.machine.state.groups)]
        place = {
            "leading": self.consensus.leading,
            "leader": self.consensus.leader,
            "has_quorum": self.consensus.has_quorum,
            "caught_up": self.consensus.caught_up,
        }
        return view.cluster_view(self.self_id, self.machine, place, groups)

    def group_status(self, group: GroupId, now: InstantNs) -> dict[str, object] | None:
        state = self.machine.state.groups.get(group)
        if state is None:
            return None
        sight = self._sights.of(group, now)
        left_ns = self._timers.left_ns(group)
        return view.group_view(state, sight, self.decision(state, now), left_ns, now, self._delays, self.rates.bounds)

    def sight(self, group: GroupId, now: InstantNs) -> GroupSight:
        """What this witness saw of the group, for metrics."""
        return self._sights.of(group, now)

    def decision(self, group: GroupState, now: InstantNs) -> Decision:
        return decide(group, self._sights.of(group.config.group, now), now)

    # -- the work between -----------------------------------------------------------------------------------

    def _pass_time(self, now: InstantNs) -> None:
        require(now >= self._now, f"time went back from {self._now} to {now}")
        self._timers.count(now)
        self._now = now

    def _resolve(self, request: int, outcome: Outcome) -> None:
        group = self._deciding.by_request.pop(request, None)
        if group is not None:
            self._deciding.groups.discard(group)
            if outcome.ok:
                self._dirty.add(group)
            else:  # what is applied meanwhile has it looked at sooner; the same again at once would fill the log
                self._deciding.again[group] = InstantNs(self._now + _REFUSED_AGAIN_NS)
        if request == self._founding:
            self._founding = None
        if request == self._raising:
            self._raising = None
        if request in self._own:
            self._own.discard(request)
        else:
            self._effects.append(Resolved(request, outcome))

    def _work(self) -> None:
        if self.consensus.leading and self.consensus.has_quorum and self.consensus.caught_up:
            self._found()
            self._raise_level()
            self._decide_dirty()
        self._propose()

    def _found(self) -> None:
        if self.machine.state.cluster is None and self._founding is None:
            self._founding = self._try_submit(FoundCluster(self.cluster, self.witnesses))

    def _raise_level(self) -> None:
        state = self.machine.state
        if self._raising is None and state.feature_level < self.machine.feature_max and state.cluster is not None:
            level = features.next_level(state.feature_level, state.witnesses, self.features())
            if level is not None:
                self._raising = self._try_submit(RaiseFeatureLevel(level))

    def _check_founding(self) -> None:
        """A node that is configured for another cluster than its log must not go on."""
        if not self._founding_checked:
            self._founding_checked = is_ours(self.machine.state, self.cluster, self.witnesses)

    def _decide_dirty(self) -> None:
        dirty, self._dirty = self._dirty, set()
        for name in sorted(dirty):
            group = self.machine.state.groups.get(name)
            if group is None or name in self._deciding.groups:
                continue
            self._decide(name, group)

    def _decide(self, name: GroupId, group: GroupState) -> None:
        decision = self.decision(group, self._now)
        command = command_for(group, decision) or self._shadow(group, decision)
        if command is not None:
            request = self._try_submit(command)
            if request is not None:
                self._deciding.by_request[request] = name
                self._deciding.groups.add(name)
                return
        self._look_again(name, group, decision)

    def _shadow(self, group: GroupState, decision: Decision) -> Command | None:
        sight = self._sights.of(group.config.group, self._now)
        return shadow.note(self.machine.state.feature_level, group, sight, decision, self._now)

    def _look_again(self, name: GroupId, group: GroupState, decision: Decision) -> None:
        wait = decision.retry_in_ns
        backoff = backoff_left_ns(group, self._sights.of(name, self._now), self._now)
        if wait is None and group.phase is Phase.VACANT:
            wait = _LOOK_AGAIN_NS
        if backoff is not None:
            wait = backoff if wait is None else min(wait, backoff)
        if wait is None:
            self._deciding.again.pop(name, None)
        else:
            self._deciding.again[name] = InstantNs(self._now + max(wait, limits.TIMER_WAKE_NS))

    def _try_submit(self, command: Command) -> int | None:
        """Own proposals are dropped under overload: votes and decisions come again."""
        try:
            request = self._batcher.add(command, self._now)
        except Overloaded:
            return None
        self._own.add(request)
        return request

    def _propose(self) -> None:
        if self.consensus.leader is None:
            return  # it would only wait elsewhere, where nobody can take it back
        # For people: what the calendar said at the last tick, and the time since then.
        wall_ms = WallMs(self._wall_ms + (self._now - self._wall_read_at) // NS_PER_MS)
        entry = self._batcher.take_entry(self._now, wall_ms)
        if entry is not None:
            self._effects.append(ProposeEntry(entry))

    def armed(self) -> int:
        """Armed timers, for metrics."""
        return len(self._timers)
