"""The driver: effects in order and never before the sync, every request answered once, every surprise fatal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from proto.clock import ManualClock
from proto.commands import Author, SetMode
from proto.decisions import Reason
from proto.errors import DurabilityLost
from proto.events import Event, EventKind
from proto.features import UpgradeRequired
from proto.groups import Mode
from proto.invariants import InvariantViolation
from proto.messages import Notice, NoticeKind
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs, LogIndex, SiteId, Term, WallMs, WitnessId
from witness.core.batcher import Overloaded
from witness.core.effects import Effect, KeepMarks, Outcome, ProposeEntry, Push, Record, Resolved
from witness.core.snapshot import ImageRefused
from witness.raft.port import CommittedEntry, ConsensusStatus, ProposalRefused, Role, SnapshotRefused
from witness.runtime.driver import ROUNDS_MAX, Driver

MODE = SetMode(GroupId("shop"), Mode.MANUAL, Author("ann", "r"))
ENTRY = CommittedEntry(LogIndex(1), Term(1), b"e", None)
NOTICE = Notice(GroupId("shop"), NoticeKind.CHANGED, Epoch(1))
EVENT = Event(1, LogIndex(1), EventKind.MODE, None, None, Epoch(0), "ann", "", WallMs(0), b"")
STATUS = ConsensusStatus(Role.LEADER, WitnessId("w1"), Term(1), LogIndex(1), LogIndex(1), True, frozenset(), True)


SPEAKER = object()


class Died(BaseException):
    """What the injected fatal raises instead of ending the test."""


def fatal(error: BaseException) -> NoReturn:
    raise Died from error


class FakeNode:
    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.calls: list[str] = []
        self.raises: BaseException | None = None
        self.on_refused: list[Effect] = []
        self.on_applied: list[Effect] = []
        self.deadline = InstantNs(1 << 62)
        self.number = 0
        self.not_proposed: set[int] = set()

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.raises is not None:
            raise self.raises

    def apply(self, *_: Any) -> None:
        self._called("apply")
        self.effects += self.on_applied

    def restore(self, *_: Any) -> None:
        self._called("restore")

    def snapshot(self) -> bytes:
        self._called("snapshot")
        return b"image"

    def consensus_changed(self, **_: Any) -> None:
        self._called("consensus_changed")

    def proposal_refused(self, _now: InstantNs) -> None:
        self.calls.append("proposal_refused")
        self.effects += self.on_refused

    def heartbeat(self, *_: Any) -> int:
        return self.submit()

    def withdraw(self, number: int) -> bool:
        self._called("withdraw")
        return number in self.not_proposed

    def submit(self, *_: Any) -> int:
        self._called("submit")
        self.number += 1
        return self.number

    def tick(self, *_: Any) -> None:
        self._called("tick")

    def next_deadline(self) -> InstantNs:
        return self.deadline

    def take_effects(self) -> list[Effect]:
        taken, self.effects = self.effects, []
        return taken


class FakeConsensus:
    def __init__(self) -> None:
        self.proposed: list[bytes] = []
        self.refuses = False

    def propose(self, data: bytes) -> None:
        if self.refuses:
            raise ProposalRefused("full")
        self.proposed.append(data)


class FakeShell:
    def __init__(self) -> None:
        self.done: list[Any] = []

    def record(self, events: tuple[Event, ...]) -> None:
        self.done.append(events)

    def push(self, site: SiteId, notice: Notice) -> None:
        self.done.append((site, notice))

    def keep_marks(self, level: int, lineage: bytes) -> None:
        self.done.append((level, lineage))

    def answered(self, kind: str, reason: Reason, seconds: float) -> None:
        self.done.append((kind, reason, seconds))


class World:
    def __init__(self) -> None:
        self.node, self.consensus, self.shell, self.clock = FakeNode(), FakeConsensus(), FakeShell(), ManualClock()
        self.driver = Driver(node=self.node, clock=self.clock, fatal=fatal, shell=self.shell)  # type: ignore[arg-type] - fakes
        self.driver.attach(self.consensus)  # type: ignore[arg-type] - a fake


@pytest.fixture
def world() -> World:
    return World()


def test_effects_of_apply_wait_for_the_sync_and_keep_their_order(world: World) -> None:
    world.node.on_applied = [Push(SiteId("dc-a"), NOTICE), ProposeEntry(b"first")]
    world.driver.apply(ENTRY)
    world.node.effects = [ProposeEntry(b"next")]
    world.driver.heartbeat(b"frame", lambda _: None, SPEAKER)
    assert world.shell.done == []
    assert world.consensus.proposed == []
    world.driver.turn_synced()
    assert world.shell.done == [(SiteId("dc-a"), NOTICE)]
    assert world.consensus.proposed == [b"first", b"next"]
    world.driver.turn_synced()
    assert len(world.consensus.proposed) == 2


def test_what_apply_wants_stored_is_handed_over_before_the_turn_is_synced(world: World) -> None:
    """Else it would be in the transaction of the next turn, and whoever asked for it is answered before that."""
    world.node.on_applied = [Record((EVENT,)), KeepMarks(2, b"l"), Push(SiteId("dc-a"), NOTICE)]
    world.driver.apply(ENTRY)
    assert world.shell.done == [(EVENT,), (2, b"l")]
    world.driver.turn_synced()
    assert world.shell.done[2:] == [(SiteId("dc-a"), NOTICE)]


def test_a_restored_images_records_are_kept_with_the_other_effects(world: World) -> None:
    world.driver.restore(b"image", LogIndex(1))
    world.node.effects = [Record((EVENT,)), KeepMarks(2, b"l")]
    world.driver.turn_synced()
    assert world.shell.done == [(EVENT,), (2, b"l")]


def test_effects_of_a_changed_status_wait_for_the_sync_too(world: World) -> None:
    world.driver.status_changed(STATUS)
    world.node.effects = [ProposeEntry(b"x")]
    world.driver.heartbeat(b"frame", lambda _: None, SPEAKER)
    assert world.consensus.proposed == []
    world.driver.turn_synced()
    assert world.consensus.proposed == [b"x"]


def test_inputs_are_performed_at_once(world: World) -> None:
    world.node.effects = [ProposeEntry(b"x")]
    world.driver.heartbeat(b"frame", lambda _: None, SPEAKER)
    assert world.consensus.proposed == [b"x"]


def test_whoever_left_has_nothing_proposed_any_more_and_hears_nothing(world: World) -> None:
    """What was proposed already is answered; other speakers, and releases, are not touched."""
    heard: list[str] = []
    world.driver.heartbeat(b"frame", lambda _: heard.append("proposed"), SPEAKER)
    world.driver.heartbeat(b"frame", lambda _: heard.append("taken back"), SPEAKER)
    world.driver.heartbeat(b"frame", lambda _: heard.append("another"), object())
    world.node.not_proposed = {2, 3}
    world.driver.withdraw(SPEAKER)
    assert world.driver.waiting == 2
    world.driver.withdraw(SPEAKER)
    world.node.effects = [Resolved(number, Outcome(Reason.OK)) for number in (1, 2, 3)]
    world.driver.turn_synced()
    assert heard == ["proposed", "another"]
    assert world.driver.waiting == 0


def test_a_request_is_answered_once_with_its_time(world: World) -> None:
    outcomes: list[Outcome] = []
    world.driver.heartbeat(b"frame", outcomes.append, SPEAKER)
    world.clock.advance(5 * NS_PER_MS)
    done = Outcome(Reason.OK)
    world.node.effects = [Resolved(1, done), Resolved(1, Outcome(Reason.NO_QUORUM)), Resolved(99, done)]
    world.driver.turn_synced()
    assert outcomes == [done]
    assert world.shell.done == [("heartbeat", Reason.OK, 0.005)]
    assert world.driver.waiting == 0


async def test_operators_await_their_outcome(world: World) -> None:
    asked = asyncio.create_task(world.driver.submit(MODE))
    await asyncio.sleep(0)
    assert world.driver.waiting == 1
    world.node.effects = [Resolved(1, Outcome(Reason.ALREADY_SO))]
    world.driver.turn_synced()
    assert (await asked).reason is Reason.ALREADY_SO


async def test_a_caller_that_went_away_harms_nobody(world: World) -> None:
    asked = asyncio.create_task(world.driver.submit(MODE))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.sleep(0)
    world.node.effects = [Resolved(1, Outcome(Reason.OK))]
    world.driver.turn_synced()
    assert world.driver.waiting == 0


def test_a_stop_answers_what_waits(world: World) -> None:
    outcomes: list[Outcome] = []
    world.driver.heartbeat(b"frame", outcomes.append, SPEAKER)
    world.driver.stop()
    assert [outcome.reason for outcome in outcomes] == [Reason.OUTCOME_UNKNOWN]


def test_a_refused_proposal_goes_back_to_the_node_a_bounded_number_of_times(world: World) -> None:
    world.consensus.refuses = True
    world.node.effects = [ProposeEntry(b"x")]
    world.node.on_refused = [ProposeEntry(b"again")]
    world.driver.turn_synced()
    assert world.node.calls.count("proposal_refused") == ROUNDS_MAX


def test_an_announced_refusal_reaches_the_caller(world: World) -> None:
    world.node.raises = Overloaded("4096 commands wait already")
    with pytest.raises(Overloaded, match="wait already"):
        world.driver.heartbeat(b"frame", lambda _: None, SPEAKER)
    assert world.driver.waiting == 0
    world.node.raises = ImageRefused("another version")
    with pytest.raises(SnapshotRefused, match="another version"):
        world.driver.restore(b"image", LogIndex(1))


@pytest.mark.parametrize(
    "error", [InvariantViolation("x"), KeyError("x"), DurabilityLost("x"), MemoryError(), UpgradeRequired("x")]
)
@pytest.mark.parametrize(
    "step",
    [
        lambda driver: driver.apply(ENTRY),
        lambda driver: driver.snapshot(),
        lambda driver: driver.restore(b"image", LogIndex(1)),
        lambda driver: driver.status_changed(STATUS),
        lambda driver: driver.heartbeat(b"frame", lambda _: None, SPEAKER),
    ],
)
def test_whatever_else_the_node_raises_is_fatal(
    world: World, error: BaseException, step: Callable[[Driver], None]
) -> None:
    world.node.raises = error
    with pytest.raises(Died):
        step(world.driver)


def test_a_lost_effect_is_fatal(world: World) -> None:
    def broken(_: Any) -> None:
        raise OSError("disk")

    world.shell.record = broken  # type: ignore[method-assign] - a broken store
    world.node.effects = [Record((EVENT,))]
    with pytest.raises(Died):
        world.driver.turn_synced()
    world.node.on_applied = [Record((EVENT,))]
    with pytest.raises(Died):
        world.driver.apply(ENTRY)


async def test_the_nodes_deadline_is_armed_and_kept(world: World) -> None:
    world.node.deadline = InstantNs(world.clock.now() + 10 * NS_PER_MS)
    world.driver.start(asyncio.get_running_loop())
    async with asyncio.timeout(5):
        while world.node.calls.count("tick") < 3:  # noqa: ASYNC110 - polls what has no event
            await asyncio.sleep(0.005)
    world.driver.stop()
