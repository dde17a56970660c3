"""Several desks over one replicated machine; what they send arrives in a list, or does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core_rig import CLUSTER, Rig, W

from proto.commands import BeginTelling, EndTelling, RaiseFeatureLevel
from proto.decisions import Reason
from proto.events import Event, EventKind
from proto.units import NS_PER_S, Epoch, GroupId, InstantNs, SiteId, WallMs, WitnessId
from witness.core.notify.desk import Desk, Tell
from witness.core.notify.settings import NotifySettings, Target, Way
from witness.core.notify.state import Telling

WAY = Way("webhook", url="http://127.0.0.1:1/x", timeout_ms=10_000)
MINUTE_NS = 60 * NS_PER_S


def target(name: str = "ops", **changes: object) -> Target:
    return replace(Target(name, WAY), **changes)


class MachineSource:
    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    @property
    def head(self) -> int:
        return self._rig.machine.ledger.head_seq

    @property
    def lanes(self) -> Mapping[str, Telling]:
        return self._rig.machine.state.notify.lanes

    def after(self, seq: int, limit: int) -> Sequence[Event]:
        return self._rig.machine.ledger.recent(seq, limit)

    def before(self, seq: int) -> Iterable[Event]:
        return (event for event in reversed(self._rig.machine.state.ledger.recent) if event.seq < seq)


@dataclass
class Sent:
    witness: WitnessId
    tell: Tell
    arrived: bool


@dataclass
class World:
    """`now` is every witness's clock: only spans matter to a desk."""

    settings: NotifySettings
    rig: Rig = field(default_factory=Rig)
    now: int = NS_PER_S
    wall_ms: int = 1_800_000_000_000
    offsets: dict[str, int] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    reachable: bool = True
    again: bool = True
    leader: WitnessId = W[0]

    def __post_init__(self) -> None:
        assert self.rig.one(RaiseFeatureLevel(2)).ok
        self.source = MachineSource(self.rig)
        self.desks = {one: self.desk(one) for one in W}
        self.desks[self.leader].lead(leading=True)

    def desk(self, witness: WitnessId) -> Desk:
        return Desk(self.settings, CLUSTER, witness)

    def happens(
        self, kind: EventKind, site: str | None = "dc-a", group: str | None = "erp", text: str = "it happened"
    ) -> int:
        """An event of the ledger; how the machine comes to it is tested elsewhere."""
        ledger = self.rig.machine.ledger
        where, at = None if group is None else GroupId(group), None if site is None else SiteId(site)
        ledger.append(kind, text, group=where, site=at, epoch=Epoch(1))
        ledger.take_new()
        return ledger.head_seq

    def step(self) -> None:
        """One look of every desk; orders are carried out at once."""
        for witness, desk in list(self.desks.items()):
            for order in desk.step(self.source, InstantNs(self.now), WallMs(self.wall_ms), self.offsets):
                self.carry_out(witness, order)

    def carry_out(self, witness: WitnessId, order: object) -> None:
        if isinstance(order, Tell):
            self.deliver(witness, order)
        elif isinstance(order, BeginTelling):
            self.begin(witness, order)
        else:
            assert isinstance(order, EndTelling)
            self.end(witness, order)

    def begin(self, witness: WitnessId, order: BeginTelling) -> None:
        ok = self.rig.one(order).ok
        for later in self.desks[witness].begun(order.lane, self.source, InstantNs(self.now), ok=ok):
            self.carry_out(witness, later)

    def end(self, witness: WitnessId, order: EndTelling) -> None:
        outcome = self.rig.one(order)
        self.desks[witness].over(order.lane, ok=outcome.ok or outcome.reason is Reason.ALREADY_SO)

    def deliver(self, witness: WitnessId, tell: Tell) -> None:
        self.sent.append(Sent(witness, tell, self.reachable))
        found = self.desks[witness].answered(
            tell.lane,
            InstantNs(self.now),
            ok=self.reachable,
            again=self.again,
            text="" if self.reachable else "refused",
        )
        for later in found:
            self.carry_out(witness, later)

    def passes(self, seconds: float, step_s: float = 1.0) -> None:
        end = self.now + round(seconds * NS_PER_S)
        while self.now < end:
            self.now += round(step_s * NS_PER_S)
            self.wall_ms += round(step_s * 1_000)
            self.step()

    def lead(self, witness: WitnessId) -> None:
        for one, desk in self.desks.items():
            desk.lead(leading=one == witness)
        self.leader = witness

    def crash(self, witness: WitnessId) -> None:
        """Its process is started anew: it knows nothing of what it was about."""
        self.desks[witness] = self.desk(witness)

    def told(self, lane: str = "") -> list[int]:
        """The events that arrived, in their order."""
        return [
            one.event.seq for sent in self.sent if sent.arrived and lane in sent.tell.lane for one in sent.tell.found
        ]


def settings(*targets: Target, **changes: object) -> NotifySettings:
    return replace(NotifySettings(targets or (target(),)), **changes)
