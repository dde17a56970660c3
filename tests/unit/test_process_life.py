"""What agents and members share of a process's life (agents/runtime/life.py)."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest
import structlog

from agents.member.process import Member
from agents.runtime.life import LivingDriver, ProcessLife
from agents.runtime.supervisor import Agent
from proto.errors import LocalFault
from proto.invariants import InvariantViolation


class EndedError(Exception):
    pass


class Life(ProcessLife):
    @property
    def _living(self) -> LivingDriver:
        raise AssertionError("nothing lives here")

    def reload(self) -> None:
        """Nothing to read again."""

    async def _close_parts(self) -> None:
        """Nothing to close."""


def fatal(error: BaseException) -> NoReturn:
    raise EndedError(str(error))


@pytest.mark.parametrize("error", [InvariantViolation("two plans at once"), LocalFault("the disk is gone")])
async def test_what_breaks_in_a_callback_of_the_loop_ends_the_process(error: BaseException) -> None:
    life = Life(structlog.stdlib.get_logger("test"), fatal, None, 1.0)
    with pytest.raises(EndedError, match=str(error)):
        life._unhandled(asyncio.get_running_loop(), {"exception": error})
    life._unhandled(asyncio.get_running_loop(), {"exception": ConnectionResetError("a peer")})


def test_an_agent_and_a_member_live_the_same_life() -> None:
    for kind in (Agent, Member):
        assert issubclass(kind, ProcessLife)
        assert kind._listen is ProcessLife._listen
        assert kind._unhandled is ProcessLife._unhandled
