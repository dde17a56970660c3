"""A hand-over to the next process waits for an end that only this one can bring to its end, and not for ever."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog
from agent_rig import AgentRig
from member_rig import Pair

from agents.runtime import life as life_module
from agents.runtime.life import LivingDriver, ProcessLife
from agents.runtime.loop import CoreLoop
from agents.runtime.turn import GO, Successor, Turn, take_signals
from proto.clock import SystemClock
from proto.health import SiteState
from proto.member_messages import MemberPhase, Order
from proto.messages import RevokePhase


def test_an_agent_is_unsettled_from_the_stop_until_the_release_is_answered() -> None:
    rig = AgentRig().active()
    assert rig.agent.unsettled() == ""
    rig.renewed(rig.fresh_beat(), renewal=2, revoke=RevokePhase.REVOKING)
    assert rig.state is SiteState.DEACTIVATING
    assert rig.agent.unsettled() == "erp is deactivating"
    rig.finished()
    assert rig.agent.unsettled() == "the release of erp is not answered yet"
    rig.stored()
    rig.alone()
    assert rig.releases()
    assert rig.agent.unsettled()
    rig.release_answered(rig.group.holder.finished)
    assert rig.agent.unsettled() == ""


def test_an_agent_is_unsettled_while_it_fences() -> None:
    rig = AgentRig().active()
    rig.passes(2_000)
    assert rig.agent.unsettled() == "erp is fencing"
    rig.fenced()
    assert "not answered" in rig.agent.unsettled()


def test_a_member_is_unsettled_until_its_stop_is_proven() -> None:
    pair = Pair().holding()
    assert pair.member.core.unsettled() == ""
    pair.member.stuck = True
    pair.lead.book.end(Order.STOP, 1_000)
    pair.talk()
    assert pair.member.group.phase is MemberPhase.STOPPING
    assert pair.member.core.unsettled() == "shop is stopping"


class Core:
    words = "a release"

    def tick(self, now: Any) -> None:
        """Nothing happens by itself."""

    def unsettled(self) -> str:
        return self.words

    def finished(self) -> bool:
        return False

    def next_deadline(self) -> int:
        return SystemClock().now() + 10**9

    def take_effects(self) -> list[Any]:
        return []


class Living(CoreLoop):
    runners: dict[Any, Any] = {}  # noqa: RUF012 - none

    def shutdown(self) -> None:
        """Nothing runs."""


class Life(ProcessLife):
    living: Living
    next_turns: list[socket.socket]

    @property
    def _living(self) -> LivingDriver:
        return self.living  # type: ignore[return-value]  # has all that is used here

    def reload(self) -> None:
        """Nothing to read again."""

    async def _close_parts(self) -> None:
        """Nothing to close."""


def fatal(error: BaseException) -> NoReturn:
    raise AssertionError(error)


@pytest.fixture
async def life(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Life]:
    async def prepared(_config: Path, *_kind: str) -> int:
        return os.memfd_create("settings", 0)

    async def stood_by(_config: Path, settings_fd: int, *_kind: str) -> Successor:
        ours, theirs = socket.socketpair()
        next_turns.append(theirs)
        return Successor(settings_fd, Turn(ours.detach()))

    next_turns: list[socket.socket] = []
    monkeypatch.setattr(life_module, "prepare", prepared)
    monkeypatch.setattr(life_module, "stand_by", stood_by)
    made = Life(structlog.stdlib.get_logger("test"), fatal, Path("agent.yaml"), 30.0)
    made.living = Living(Core(), SystemClock(), fatal, lambda *_: None)  # type: ignore[arg-type]  # a core of a few lines
    made.next_turns = next_turns
    yield made
    take_signals()  # they wait for the next image, which never comes
    for one in next_turns:
        one.close()


async def test_the_hand_over_begins_when_the_release_is_answered(life: Life) -> None:
    core = life.living._core
    life.upgrade()
    ended = asyncio.create_task(life._until_told())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not ended.done()
    (turn,) = life.next_turns
    turn.setblocking(False)
    with pytest.raises(BlockingIOError):
        turn.recv(1)
    core.words = ""  # type: ignore[attr-defined]  # of our own core
    life.living.tick()
    successor = await asyncio.wait_for(ended, 10)
    assert turn.recv(1) == GO
    assert successor is not None
    successor.drop()


async def test_what_is_never_answered_does_not_hold_the_hand_over_up_for_ever(life: Life) -> None:
    life._stop_s_max = 0.01
    life.upgrade()
    successor = await asyncio.wait_for(life._until_told(), 10)
    assert successor is not None
    successor.drop()


async def test_a_stop_that_comes_meanwhile_is_obeyed(life: Life) -> None:
    life.upgrade()
    await asyncio.sleep(0)
    life.stop()
    life.living.finished.set()
    assert await asyncio.wait_for(life._until_told(), 10) is None
    assert life._upgrading is not None
    life.living._core.words = ""  # type: ignore[attr-defined]  # of our own core
    life.living.tick()
    await asyncio.wait_for(life._upgrading, 10)
    assert life._successor is None
