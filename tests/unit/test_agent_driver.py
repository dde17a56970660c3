"""The agent's driver around the real core: order of inputs and effects, storing, and what ends the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from agents.core.agent import SiteAgent
from agents.core.effects import Effect, ExtendDeadline, Fence, PlanKind, StartPlan, StoreBounds, StorePromise
from agents.core.health import HealthFold
from agents.core.settings import AgentSettings, GroupSettings, ProbeRole, ProbeSettings
from agents.probes.base import ProbeResult
from agents.runtime.driver import Driver
from agents.site_link.port import SiteAsk, SiteSays
from proto.clock import ManualClock
from proto.errors import DurabilityLost
from proto.invariants import InvariantViolation
from proto.messages import AgentMessage, Heartbeat, Hello, Ping
from proto.site_messages import HoldAnswer, HoldRequest, HoldVerdict
from proto.units import Chain, Claim, ClusterId, Epoch, GroupId, Incarnation, Nonce, SiteId, WitnessId

G, W1 = GroupId("g"), WitnessId("w1")
B = SiteId("dc-b")
PROBE = ProbeSettings("disk", ProbeRole.READY, rise=1, fall=1)


class Ended(Exception):
    """Instead of the end of this process."""


class FakeRunner:
    def __init__(self) -> None:
        self.plans: list[StartPlan] = []
        self.on_plan: Callable[[StartPlan], None] = lambda _plan: None

    def start_plan(self, plan: StartPlan) -> None:
        self.plans.append(plan)
        self.on_plan(plan)

    def extend(self, effect: ExtendDeadline) -> None: ...

    def fence(self, effect: Fence) -> None: ...

    def status(self) -> dict[str, object]:
        return {"plan": None, "fencing": False, "guard": False}


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sent: list[AgentMessage] = []
        self.told_effects: list[Effect] = []
        self.stored: list[tuple[int, int]] = []
        self.may_store = threading.Event()
        self.may_store.set()
        self.disk_fails = False
        self.sites: list[tuple[str, object]] = []
        """What was done for the site link, in order."""
        self.ends: list[BaseException] = []
        self.noted: list[Incarnation] = []
        numbers = iter(range(1, 100_000))
        settings = AgentSettings(
            SiteId("dc-a"),
            ClusterId("0" * 32),
            "1",
            b"s" * 16,
            (W1,),
            (GroupSettings(G, True, None, 1_000, 1_000, (PROBE,)),),
        )
        agent = SiteAgent(
            settings,
            tokens=lambda: next(numbers).to_bytes(16, "big"),
            bounds={G: (Epoch(5), Epoch(4))},
            started=self.clock.read(),
        )
        self.runner = FakeRunner()
        folds = {G: HealthFold((PROBE,))}
        self.driver = Driver(agent=agent, folds=folds, clock=self.clock, fatal=self._fatal, shell=self)
        self.driver.runners[G] = self.runner

    def _fatal(self, error: BaseException) -> NoReturn:
        self.ends.append(error)
        raise Ended

    def send(self, witness: WitnessId, message: AgentMessage, via: SiteId | None) -> bool:
        self.sent.append(message)
        return True

    def note_incarnation(self, incarnation: Incarnation) -> None:
        assert self.may_store.wait(10)
        self.noted.append(incarnation)

    def store_promise(self, effect: StorePromise) -> dict:
        assert self.may_store.wait(10)
        if self.disk_fails:
            raise DurabilityLost("the disk is full")
        self.sites.append(("stored", effect.promise.number))
        return {}

    def ask_site(self, site: SiteId, request: SiteAsk) -> bool:
        self.sites.append(("asked", request))
        return True

    def answer_site(self, site: SiteId, answer: SiteSays) -> bool:
        self.sites.append((site, answer))
        return True

    def store_bounds(self, group: GroupId, bound: Epoch, finished: Epoch) -> None:
        assert self.may_store.wait(10)
        if self.disk_fails:
            raise DurabilityLost("the disk is full")
        self.stored.append((bound, finished))

    def told(self, effect: Effect) -> None:
        self.told_effects.append(effect)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - a thread and the loop's timers are waited for
                await asyncio.sleep(0.001)


async def test_an_input_from_within_an_effect_waits_its_turn() -> None:
    world = World()

    def answer_at_once(plan: StartPlan) -> None:
        world.driver.plan_finished(G, plan.plan, ok=True, text="nothing runs")
        assert world.stored == [], "the answer is taken after the effects that were on their way"

    world.runner.on_plan = answer_at_once
    world.driver.start()
    assert [plan.kind for plan in world.runner.plans] == [PlanKind.VERIFY_DOWN]
    await world.until(lambda: world.stored == [(5, 5)])
    assert world.driver.status()["groups"][0]["state"] == "standby"
    world.driver.stop()


async def test_streams_and_probes_reach_the_core() -> None:
    world = World()
    world.driver.start()
    world.driver.stream_opened(W1, leading=True)
    assert {type(message) for message in world.sent} == {Ping}
    await world.until(lambda: {type(message) for message in world.sent} == {Ping, Heartbeat})
    assert world.noted == [world.driver.agent.incarnation], "on disk before it speaks"
    assert not any(isinstance(message, Hello) for message in world.sent), "the stream's own business"
    assert world.driver.status()["groups"][0]["ready"] is False
    world.driver.probed(G, "disk", ProbeResult(passed=True))
    group = world.driver.status()["groups"][0]
    assert group["ready"] is True
    assert group["probes"] == {"disk": {"passing": True, "detail": ""}}
    world.driver.stop()


async def test_the_deadline_is_kept_without_inputs() -> None:
    world = World()
    world.driver.start()
    world.driver.stream_opened(W1, leading=True)
    beats = len(world.sent)
    world.clock.advance(2_000_000_000)
    await world.until(lambda: len(world.sent) > beats)
    world.driver.stop()


async def test_bounds_are_answered_when_the_newest_is_on_disk() -> None:
    world = World()
    world.driver.start()
    answered: list[GroupId] = []
    world.driver.agent.bounds_stored = lambda group, now: answered.append(group)  # type: ignore[method-assign]  # only the answer is looked at
    world.may_store.clear()
    world.driver.perform(StoreBounds(G, Epoch(6), Epoch(5)))
    world.driver.perform(StoreBounds(G, Epoch(6), Epoch(6)))
    assert answered == []
    world.may_store.set()
    await world.until(lambda: answered)
    assert (world.stored, answered) == ([(6, 5), (6, 6)], [G])
    world.driver.stop()


async def test_a_disk_that_fails_ends_the_process() -> None:
    world = World()
    world.driver.start()
    world.disk_fails = True
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: seen.append(context))
    world.driver.perform(StoreBounds(G, Epoch(6), Epoch(5)))
    await world.until(lambda: world.ends)
    assert isinstance(world.ends[0], DurabilityLost)
    world.driver.stop()


async def test_a_violation_in_the_core_ends_the_process() -> None:
    world = World()
    world.driver.start()
    with pytest.raises(Ended):
        world.driver._input(lambda _now: (_ for _ in ()).throw(InvariantViolation("broken")))
    assert isinstance(world.ends[0], InvariantViolation)
    world.driver.stop()


async def test_inputs_that_cause_each_other_for_ever_are_a_bug() -> None:
    world = World()
    world.driver.start()

    def again(_now: object) -> None:
        world.driver._input(again)

    with pytest.raises(Ended):
        world.driver._input(again)
    assert "cause each other" in str(world.ends[0])
    world.driver.stop()


async def test_a_stop_that_has_nothing_to_do_is_finished_at_once() -> None:
    world = World()
    world.runner.on_plan = lambda plan: world.driver.plan_finished(G, plan.plan, ok=True, text="")
    world.driver.start()
    await world.until(lambda: world.stored)
    world.driver.shutdown()
    await world.until(world.driver.finished.is_set)
    world.driver.stop()


def hold_request(number: int) -> HoldRequest:
    nonce, claim = Nonce(number.to_bytes(16, "big")), Claim(b"c" * 16)
    return HoldRequest(
        nonce, G, B, Incarnation(b"i" * 16), Epoch(9), claim, 10_000, 10_000, 0, number, Chain(bytes(16)), 1
    )


async def standing_by() -> World:
    world = World()
    world.runner.on_plan = lambda plan: world.driver.plan_finished(G, plan.plan, ok=True, text="nothing runs")
    world.driver.start()
    await world.until(lambda: world.stored == [(5, 5)])
    return world


async def test_a_promise_is_on_disk_before_its_answer_leaves() -> None:
    world = await standing_by()
    world.may_store.clear()
    world.driver.site_asked(B, hold_request(1))
    world.driver.site_asked(B, hold_request(2))
    assert world.sites == []
    world.may_store.set()
    await world.until(lambda: len(world.sites) == 4)
    (first, second) = (
        HoldAnswer(hold_request(number).nonce, G, Epoch(9), number, HoldVerdict.HELD) for number in (1, 2)
    )
    assert world.sites == [("stored", 1), (B, first), ("stored", 2), (B, second)]
    assert world.driver.status()["groups"][0]["holds"]["promised_to"] == B
    world.driver.stop()


async def test_a_promise_that_cannot_be_stored_is_not_given_and_ends_the_process() -> None:
    world = await standing_by()
    world.disk_fails = True
    world.driver.site_asked(B, hold_request(1))
    await world.until(lambda: world.ends)
    assert isinstance(world.ends[0], DurabilityLost)
    assert world.sites == []
    world.driver.stop()
