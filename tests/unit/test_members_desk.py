"""The lead's desk: on disk before it is handed out, an end that waits for the book, steps asked for until answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.actions.parts import MemberStep
from agents.config import parse_agent_config
from agents.core.lease_holder import Authority, LeaseHolder
from agents.core.members import ANYBODY
from agents.fencing.base import GuardError, StepEnd
from agents.members import desk as desk_module
from agents.members.desk import MemberDesk
from agents.members.handed_file import HandedFile
from proto.clock import SystemClock
from proto.lease import LeaseConstants
from proto.limits import TTL_MS_MAX
from proto.member_messages import (
    MEMBER_PROTOCOL,
    AskNow,
    GroupAsk,
    GroupOffer,
    LeadMessage,
    MemberAsk,
    MemberHello,
    MemberPhase,
    Order,
    RunStep,
    StepEnded,
    TwinSeen,
)
from proto.units import ClusterId, Epoch, GroupId, InstantNs, MemberName, Nonce, SiteId

G, DB = GroupId("shop"), MemberName("db1")
CONSTANTS = LeaseConstants(600, 10_000, 0)
SITE = """
cluster: 0123456789abcdef0123456789abcdef
site: dc-a
tls: {ca: ca, cert: cert, key: key}
state_dir: state
runtime_dir: run
witnesses: [{id: w1, address: "w1:1"}]
members_listen: "10.0.0.1:7420"
members: [{name: db1, groups: [shop]}]
groups: [{group: shop}]
"""
STEP = MemberStep(DB, G, Epoch(7), "1-start-db-0", "start-db", False, "takeover", "activate-7-1", 200)


class Link:
    def __init__(self, instance: bytes = b"i" * 16, number: int = 1) -> None:
        offers = (GroupOffer(G, ("start-db",)),)
        self.hello = MemberHello(
            MEMBER_PROTOCOL, SiteId("dc-a"), DB, ClusterId("0" * 32), Nonce(instance), "1", offers, number
        )
        self.sent: list[LeadMessage] = []
        self.ended = ""

    def send(self, message: LeadMessage) -> None:
        self.sent.append(message)

    def end(self, why: str) -> None:
        self.ended = why

    def steps(self) -> list[RunStep]:
        return [one for one in self.sent if isinstance(one, RunStep)]


class Rig:
    def __init__(self, directory: Path) -> None:
        self.state_dir = directory
        self.clock = SystemClock()
        self.tasks: list[asyncio.Task[None]] = []
        self.holder = LeaseHolder(Epoch(0), Epoch(0))
        self.desk = self.another()
        self.link = Link()
        self.desk.opened(self.link)

    def another(self) -> MemberDesk:
        settings = replace(parse_agent_config(SITE), state_dir=self.state_dir)
        return MemberDesk(
            settings, {G: Epoch(0)}, self.clock, lambda _group: self.holder, lambda _group: CONSTANTS, self._spawn
        )

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(work, name=name))
        return self.tasks[-1]

    def give(self, epoch: int = 7) -> None:
        now = self.clock.read()
        until = InstantNs(now.boottime_ns + CONSTANTS.ttl_ns)
        self.holder.constants, self.holder.authority = (
            CONSTANTS,
            Authority(until, now.monotonic_raw_ns + CONSTANTS.ttl_ns),
        )
        self.desk.give(G, Epoch(epoch), until)

    async def stored(self) -> None:
        await asyncio.gather(*self.tasks)

    def ask(
        self, phase: MemberPhase = MemberPhase.DOWN, epoch: int = 0, finished: int = 0, link: Link | None = None
    ) -> Order:
        one = GroupAsk(G, phase, Epoch(epoch), Epoch(finished), Epoch(0), ())
        answer = self.desk.asked(link or self.link, MemberAsk(Nonce(b"n" * 16), (one,)))
        return answer.groups[0].order


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what the desk does by itself has no event here
            await asyncio.sleep(0.005)


async def test_nothing_is_handed_out_before_the_file_says_so(rig: Rig) -> None:
    rig.give()
    assert rig.ask() is not Order.HOLD
    await rig.stored()
    assert HandedFile(rig.state_dir, G).load((DB,)) == (7, CONSTANTS.ttl_ms, {DB: rig.link.hello.instance})
    assert rig.ask() is Order.HOLD


async def test_a_process_that_came_later_is_handed_nothing_before_the_file_names_it(rig: Rig) -> None:
    rig.give()
    await rig.stored()
    rig.link = Link(b"j" * 16)
    rig.desk.opened(rig.link)
    assert rig.ask() is not Order.HOLD
    assert rig.ask() is not Order.HOLD
    await rig.stored()
    assert HandedFile(rig.state_dir, G).load((DB,)) == (7, CONSTANTS.ttl_ms, {DB: b"j" * 16})
    assert rig.ask() is Order.HOLD
    asked_for = len(rig.tasks)
    rig.ask()
    assert len(rig.tasks) == asked_for


async def test_a_process_that_the_file_will_not_name_any_more_is_handed_nothing_meanwhile(rig: Rig) -> None:
    rig.give()
    await rig.stored()
    former, rig.link = rig.link, Link(b"j" * 16)
    rig.desk.opened(rig.link)
    rig.ask()
    await until(lambda: rig.desk._durable[G][1] == {} or all(task.done() for task in rig.tasks))
    assert rig.ask(link=former) is not Order.HOLD
    await rig.stored()
    assert rig.ask(link=former) is not Order.HOLD
    assert rig.ask() is Order.HOLD


async def test_the_file_keeps_naming_a_process_that_may_hold(rig: Rig) -> None:
    rig.give()
    await rig.stored()
    assert rig.ask() is Order.HOLD
    former, rig.link = rig.link, Link(b"j" * 16)
    rig.desk.opened(rig.link)
    assert rig.ask() is not Order.HOLD
    await rig.stored()
    assert HandedFile(rig.state_dir, G).load((DB,)) == (7, CONSTANTS.ttl_ms, {DB: former.hello.instance})


async def test_each_renewal_and_each_end_is_a_hint_to_ask(rig: Rig) -> None:
    rig.give()
    await rig.stored()
    before = len(rig.link.sent)
    rig.give()
    rig.desk.fence(G)
    assert [type(one) for one in rig.link.sent[before:]] == [AskNow, AskNow]


async def test_the_end_waits_for_the_members_word(rig: Rig) -> None:
    rig.give()
    await rig.stored()
    rig.ask()
    ending = asyncio.create_task(rig.desk.end_and_wait(G, 0))
    await until(lambda: rig.ask(MemberPhase.HOLDING, 7) is Order.STOP)
    rig.desk.closed(rig.link, "gone")
    rig.link = Link(number=2)
    rig.desk.opened(rig.link)
    assert "may hold epoch 7" in rig.desk.still_out(G)
    assert not ending.done()
    rig.ask(MemberPhase.DOWN, 0, 7)
    await asyncio.wait_for(ending, 5)
    assert rig.desk.still_out(G) == ""
    assert rig.desk.orderly(G)


async def test_the_end_waits_for_a_silent_member_until_its_authority_has_run_out(rig: Rig) -> None:
    rig.give()
    await rig.stored()
    rig.ask()
    until = rig.desk.seat(G, DB).may_hold_until
    await asyncio.wait_for(rig.desk.end_and_wait(G, 0), 5)
    assert until.over_in_ns(rig.clock.read()) <= 0
    assert not rig.desk.orderly(G)


async def test_a_new_process_waits_for_what_the_former_one_handed_out(rig: Rig) -> None:
    rig.give()
    await rig.stored()
    rig.ask()
    anew = rig.another()
    assert "may hold epoch 7" in anew.still_out(G)
    await asyncio.wait_for(anew.end_and_wait(G, 0), 5)
    assert anew.still_out(G) == ""


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'{"version":1,"group":"mail","epoch":1}'])
async def test_a_damaged_file_counts_as_the_longest_lease(tmp_path: Path, damage: bytes) -> None:
    file = HandedFile(tmp_path, G)
    file.store(Epoch(3), 600, {DB: b"i" * 16})
    assert file.load((DB,)) == (3, 600, {DB: b"i" * 16})
    file.path.write_bytes(damage)
    found = file.load((DB,))
    assert found is not None
    assert found[1:] == (TTL_MS_MAX, {DB: ANYBODY})
    assert HandedFile(tmp_path, GroupId("other")).load((DB,)) is None


async def test_an_activation_waits_for_its_required_members_and_not_for_ever(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.give()
    await rig.stored()
    waiting = asyncio.create_task(rig.desk.armed(G, Epoch(7)))
    rig.ask()
    await asyncio.sleep(0)
    assert not waiting.done()
    rig.ask(MemberPhase.HOLDING, 7)
    await asyncio.wait_for(waiting, 5)
    monkeypatch.setattr(desk_module, "ARMED_S", 0.05)
    with pytest.raises(GuardError, match="member db1 did not take the lease"):
        await rig.desk.armed(G, Epoch(8))


async def test_a_step_is_asked_for_again_when_its_member_comes_back(rig: Rig) -> None:
    running = asyncio.create_task(rig.desk.run_step(replace(STEP, timeout_ms=5_000)))
    await until(rig.link.steps)
    rig.desk.closed(rig.link, "parted")
    again = Link(number=2)
    rig.desk.opened(again)
    assert [one.step_id for one in again.steps()] == [STEP.step_id]
    rig.desk.step_ended(again, StepEnded(G, Epoch(6), STEP.step_id, "exited", 0, -1, ""))
    assert not running.done()
    rig.desk.step_ended(again, StepEnded(G, Epoch(7), STEP.step_id, "exited", 3, -1, "said so"))
    result = await asyncio.wait_for(running, 5)
    assert (result.end, result.exit_code, result.signal, result.text) == (StepEnd.EXITED, 3, None, "said so")


async def test_a_step_on_a_member_that_is_not_there_ends_with_its_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "STEP_MARGIN_S", 0.05)
    rig.desk.closed(rig.link, "parted")
    result = await asyncio.wait_for(rig.desk.run_step(replace(STEP, timeout_ms=10)), 5)
    assert (result.end, result.ok) == (StepEnd.TIMED_OUT, False)
    assert "db1 is not connected" in result.text


async def test_a_second_connection_of_a_member_ends_the_first(rig: Rig) -> None:
    second = Link(b"j" * 16)
    rig.desk.opened(second)
    assert rig.link.ended
    rig.desk.closed(rig.link, "late")
    assert rig.desk.links[DB] is second


async def test_two_machines_that_speak_as_one_process_are_both_ended_and_nobodys_word_counts_for_them(rig: Rig) -> None:
    rig.give()
    await rig.stored()
    assert rig.ask() is Order.HOLD
    copy = Link(number=2)
    rig.desk.opened(copy)
    assert rig.link.ended
    assert not any(isinstance(one, TwinSeen) for one in copy.sent), "it may be the same process, over a new connection"
    original = Link(number=2)
    rig.desk.opened(original)
    assert original.ended
    assert all(any(isinstance(one, TwinSeen) for one in link.sent) for link in (copy, original))
    assert rig.ask(MemberPhase.HOLDING, 7, link=copy) is not Order.HOLD
    rig.desk.fence(G)
    rig.ask(finished=7, link=copy)
    assert "may hold epoch 7" in rig.desk.still_out(G)
    await asyncio.wait_for(rig.desk.end_and_wait(G, 0), 10)
    assert rig.desk.still_out(G) == ""


async def test_a_copied_process_that_comes_again_is_told_again_and_is_handed_nothing(rig: Rig) -> None:
    for number in (2, 2):
        rig.desk.opened(Link(number=number))
    rig.give()
    await rig.stored()
    late = Link(number=9)
    rig.desk.opened(late)
    assert late.ended
    assert rig.ask(link=late) is not Order.HOLD
    await rig.stored()
    assert rig.ask(link=late) is not Order.HOLD
    other = Link(b"k" * 16)
    rig.desk.opened(other)
    assert rig.ask(link=other) is not Order.HOLD
    await rig.stored()
    assert rig.ask(link=other) is Order.HOLD
