"""What the network side may ask of the witness: requests through the driver, reads of the replicated state.

Reads are for people and metrics and give no authority. They are cheap by design: nothing that is served often walks
through every group's view, since one thread also carries the renewals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from proto.codec import EVENTS
from proto.commands import Author, Command, PutEscrow, ReleaseLease
from proto.decisions import Reason
from proto.events import Event
from proto.groups import GroupConfig
from proto.messages import Notice, Ping
from proto.units import NS_PER_S, GroupId, Incarnation, InstantNs, SiteId
from witness.core.effects import Outcome
from witness.core.notify.state import OpenAlarm
from witness.raft.lineage import keep_marks
from witness.raft.store import Store
from witness.runtime.driver import Driver
from witness.runtime.telemetry import SiteLook, Telemetry


class Facade:
    """Implements witness.http.keys.Cluster."""

    def __init__(self, driver: Driver, store: Store) -> None:
        self._driver = driver
        self._store = store
        self.peering: Callable[[], dict[str, Any]] = dict
        """What the engine says of this witness's own standing and of its peers; set once the engine exists."""
        self.engine_timing: Callable[[], dict[str, Any]] = dict
        """What the engine measured of its timing; set once the engine exists."""

    def pinged(self, site: SiteId, incarnation: Incarnation, ping: Ping) -> None:
        self._driver.pinged(site, incarnation, ping)

    def heartbeat(self, frame: bytes, on_outcome: Callable[[Outcome], None], speaker: object) -> None:
        self._driver.heartbeat(frame, on_outcome, speaker)

    def withdraw(self, speaker: object) -> None:
        self._driver.withdraw(speaker)

    def release(self, command: ReleaseLease, on_outcome: Callable[[Outcome], None]) -> None:
        self._driver.release(command, on_outcome)

    def put_escrow(self, command: PutEscrow, on_outcome: Callable[[Outcome], None]) -> None:
        self._driver.put_escrow(command, on_outcome)

    async def submit(self, command: Command) -> Outcome:
        return await self._driver.submit(command)

    def plan_switchover(self, group: GroupId, to: SiteId, author: Author) -> Command | Outcome:
        return self._driver.plan_switchover(group, to, author)

    def place(self) -> tuple[bool, bool, bool]:
        seen = self._driver.node.consensus
        return seen.leading, seen.has_quorum, seen.caught_up

    def feature_level(self) -> int:
        return self._driver.node.machine.state.feature_level

    def summary(self) -> dict[str, Any]:
        """The cluster in a few numbers; groups by the phase of their lease and by mode."""
        node = self._driver.node
        state, seen = node.machine.state, node.consensus
        groups = state.groups.values()
        return {
            "witness": node.self_id,
            "cluster": state.cluster or node.cluster,
            "founded": state.cluster is not None,
            "witnesses": list(state.witnesses or node.witnesses),
            "leading": seen.leading,
            "leader": seen.leader,
            "has_quorum": seen.has_quorum,
            "caught_up": seen.caught_up,
            "lineage": state.lineage.hex(),
            "generation": state.generation,
            "feature_level": state.feature_level,
            "features": {name: node.features().get(name) for name in state.witnesses or node.witnesses},
            "applied_index": state.applied_index,
            "events": node.events.head_seq,
            "groups": len(state.groups),
            "groups_by_phase": dict(Counter(group.phase.value for group in groups)),
            "groups_by_mode": dict(Counter(group.mode.value for group in groups)),
            **self.peering(),
        }

    def timing(self) -> dict[str, Any]:
        """What this process measured of timing (witness/timing/measurements.py reads it)."""
        measures = self._driver.node.measures
        return {"witness": self._driver.node.self_id, **measures.to_json(), **self.engine_timing()}

    def sites(self, now: InstantNs) -> dict[SiteId, SiteLook]:
        """For metrics: one pass over the groups, without their views."""
        node = self._driver.node
        looks: dict[SiteId, SiteLook] = {}
        for name, group in node.machine.state.groups.items():
            sight = node.sight(name, now)
            for site, record in group.sites.items():
                look = looks.setdefault(site, SiteLook())
                look.quarantined += 1 if record.quarantine else 0
                look.clock_unfit += record.clock is not None
                look.clock = node.rates.bounds(site)
                age_ns = sight.heard_age_ns(site, now)
                if age_ns is not None:
                    heard_s = age_ns / NS_PER_S
                    look.heard_s = heard_s if look.heard_s is None else min(look.heard_s, heard_s)
        return looks

    def group_names(self) -> list[GroupId]:
        return sorted(self._driver.node.machine.state.groups)

    def group_status(self, group: GroupId) -> dict[str, Any] | None:
        return self._driver.group_status(group)

    def group_config(self, group: GroupId) -> tuple[GroupConfig, int] | None:
        state = self._driver.node.machine.state.groups.get(group)
        return None if state is None else (state.config, state.version)

    def alarms(self) -> dict[int, OpenAlarm]:
        return self._driver.node.machine.state.notify.alarms

    def events_head(self) -> int:
        return self._driver.node.events.head_seq

    def events(self, after_seq: int, limit: int) -> list[Event]:
        """From memory as far as it reaches back, else from the disk (which has what was synced)."""
        recent = self._driver.node.machine.state.ledger.recent
        if not recent or after_seq + 1 >= recent[0].seq:
            return self._driver.node.events.recent(after_seq, limit)
        return [EVENTS.decode(data) for _, data in self._store.read_events(after_seq + 1, limit)]


class DriverShell:
    """Implements witness.runtime.driver.Shell: the store, the streams, the metrics."""

    def __init__(self, store: Store, telemetry: Telemetry, push: Callable[[SiteId, Notice], None]) -> None:
        self._store = store
        self._telemetry = telemetry
        self._push = push
        self.recorded: Callable[[], None] = lambda: None
        """Asks the engine for a turn, for what no turn is about to write anyway; set once the engine exists."""

    def record(self, events: tuple[Event, ...]) -> None:
        self._store.append_events([(event.seq, EVENTS.encode(event)) for event in events])
        for event in events:
            self._telemetry.events.labels(event.kind.value).inc()
        self.recorded()

    def keep_marks(self, level: int, lineage: bytes) -> None:
        keep_marks(self._store, level, lineage)
        self.recorded()

    def push(self, site: SiteId, notice: Notice) -> None:
        self._push(site, notice)

    def answered(self, kind: str, reason: Reason, seconds: float) -> None:
        self._telemetry.answered(kind, reason, seconds)
