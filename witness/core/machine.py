"""(7) The replicated machine: one entry point, total and deterministic (STYLE rule 8; RAFT-REVIEW D-15, D-16).

`apply` takes the bytes of one committed entry, applies its commands in order and returns one outcome for each. It
never raises for what the bytes say: what cannot be read is refused, on every replica alike. One exception: what a
newer version wrote (proto.features). To refuse it here while it is applied elsewhere would part the replicas, so the
process stops with the remedy before it has changed anything. Any other exception out of here is a bug of ours and
ends the process before anything more is applied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proto import commands
from proto.codec import COMMANDS, decode_entry, level_of
from proto.commands import Command, LogEntry
from proto.decisions import Reason
from proto.errors import FrameRefused
from proto.events import Event
from proto.features import FEATURE_MAX
from proto.invariants import InvariantViolation, require
from proto.units import LogIndex
from witness.core import (
    calendar,
    clock_rules,
    escrow_rules,
    features,
    group_rules,
    heartbeats,
    lease_rules,
    permits,
    shadow,
)
from witness.core.changes import Changes, Scope
from witness.core.effects import Outcome
from witness.core.ledger import Ledger
from witness.core.notify import rules as notify_rules
from witness.core.notify import standby
from witness.core.snapshot import ImageRefused, decode_image, encode_image, state_hash
from witness.core.state import ClusterState

_RULES: dict[type, Callable[[Scope, Any], Outcome]] = {
    commands.FoundCluster: group_rules.found,
    commands.ConfigureGroup: group_rules.configure,
    commands.DeleteGroup: group_rules.delete,
    commands.HeartbeatFrame: heartbeats.heartbeat,
    commands.Votes: lease_rules.cast_votes,
    commands.Grant: lease_rules.grant,
    commands.ReleaseLease: lease_rules.release,
    commands.Revoke: lease_rules.revoke,
    commands.SetMode: group_rules.set_mode,
    commands.SetMaintenance: group_rules.set_maintenance,
    commands.SetQuarantine: group_rules.set_quarantine,
    commands.RaiseFeatureLevel: features.raise_level,
    commands.Reconcile: permits.reconcile,
    commands.PutEscrow: escrow_rules.put,
    commands.WaiveEscrow: escrow_rules.waive,
    commands.BeginTelling: notify_rules.begin,
    commands.EndTelling: notify_rules.end,
    commands.Acknowledge: notify_rules.acknowledge,
    commands.NoteWould: shadow.note_would,
    commands.ClockReport: clock_rules.report,
    commands.NoteUnusual: notify_rules.note_unusual,
    commands.NoteStandby: standby.note_standby,
}


@dataclass(frozen=True, slots=True)
class Applied:
    """One entry as it was applied; `entry` is None when its bytes could not be read."""

    entry: LogEntry | None
    outcomes: tuple[Outcome, ...]
    changes: Changes
    events: tuple[Event, ...]


class Machine:
    """Owns the replicated state; everybody else only reads it."""

    def __init__(self, session: bytes | None = None, feature_max: int = FEATURE_MAX) -> None:
        """`session`: answers to heartbeats are made only for entries of this session (None: for all)."""
        self._session = session
        self.feature_max = feature_max
        self.state = ClusterState()
        self.ledger = Ledger(self.state.ledger)

    def apply(self, index: int, data: bytes) -> Applied:
        """Raises UpgradeRequired, and has changed nothing, when the entry is of a newer version."""
        state = self.state
        require(index > state.applied_index, f"index {index} after {state.applied_index}: applied twice")
        changes = Changes()
        try:
            entry = decode_entry(data, self.feature_max)
            state.applied_index = index
        except FrameRefused as error:
            state.applied_index = index
            return Applied(None, (Outcome(Reason.MALFORMED, str(error)),), changes, ())
        self.ledger.index, self.ledger.wall_ms = LogIndex(index), entry.wall_ms
        if state.feature_level >= calendar.SINCE_LEVEL:
            calendar.pass_time(state.calendar, entry.proposer, entry.wall_ms)
        scope = Scope(state, self.ledger, changes, self._session in (None, entry.session))
        early = (level_of(data) or 0) > state.feature_level
        outcomes = tuple([self._one(scope, command, early=early) for command in entry.commands])
        events = self.ledger.take_new()
        if state.feature_level >= notify_rules.SINCE_LEVEL:
            notify_rules.took_place(state.notify, events)
        return Applied(entry, outcomes, changes, events)

    def _one(self, scope: Scope, command: Command, *, early: bool) -> Outcome:
        """`early`: something in the entry needs more than the cluster had agreed on before it."""
        need = COMMANDS.need(command) if early else 0
        if need > scope.state.feature_level and not isinstance(command, commands.RaiseFeatureLevel):
            return features.too_low(need, scope.state.feature_level, (), {})
        try:
            return _RULES[type(command)](scope, command)
        except Exception as error:
            raise InvariantViolation(f"{type(command).__name__} broke the machine: {error!r}") from error

    def snapshot(self) -> bytes:
        return encode_image(self.state)

    def restore(self, image: bytes, last_index: int | None = None) -> None:
        """Raises ImageRefused (damaged) or UpgradeRequired (newer) and changes nothing then.

        `last_index`: where the log goes on after the image; it may lag behind that by entries without commands, but an
        image beyond it would have the next ones applied twice, at every start again. None: no log follows.
        """
        state = decode_image(image, self.feature_max)
        if last_index is not None and state.applied_index > last_index:
            raise ImageRefused(f"snapshot: its state is of entry {state.applied_index}, but it ends at {last_index}")
        self.state = state
        self.ledger = Ledger(state.ledger)

    def state_hash(self) -> str:
        return state_hash(self.state)
