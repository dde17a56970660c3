"""`site-agent upgrade`: asks the running agent to become the program that is installed now, and waits until it did."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from agents.local.client import AgentUnreachable, agent_status
from proto.clock import SystemClock
from proto.errors import LocalFault
from proto.units import NS_PER_S

LOOK_S = 0.1


class UpgradeTimedOut(LocalFault):
    """Neither done nor refused within the time."""


async def upgrade_agent(socket: Path, wait_s: float) -> str:
    """What happened, in a line. Raises AgentUnreachable, LocalFault (refused), UpgradeTimedOut."""
    before = await asyncio.to_thread(agent_status, socket)
    pid, life = int(before["process"]["pid"]), before["process"]["started_ns"]
    refused = before["process"]["upgrade_refused"]["count"]
    try:
        os.kill(pid, signal.SIGUSR2)
    except OSError as error:
        raise LocalFault(f"the agent, pid {pid}, cannot be asked: {error.strerror}: run this as its user") from error
    clock = SystemClock()
    ends_ns = clock.now() + round(wait_s * NS_PER_S)
    while clock.now() < ends_ns:
        await asyncio.sleep(LOOK_S)
        try:
            now = await asyncio.to_thread(agent_status, socket)
        except AgentUnreachable:
            continue  # between two of them
        if now["process"]["pid"] != pid:
            continue  # its stand-in (agents/runtime/turn.py)
        if now["process"]["started_ns"] != life:
            return _words(before, now)
        said = now["process"]["upgrade_refused"]
        if said["count"] != refused:
            raise LocalFault(f"refused, the agent goes on as it is: {said['why']}")
    raise UpgradeTimedOut(f"not done within {wait_s:g} s: look at the agent's log and `site-agent status`")


def _words(before: dict[str, Any], now: dict[str, Any]) -> str:
    same = before["incarnation"] == now["incarnation"]
    kept = [one["group"] for one in now["groups"] if one["epoch"]]
    what = f"still holding {', '.join(kept)}" if same and kept else "holding nothing"
    return f"upgraded from {before['version']} to {now['version']}, pid {now['process']['pid']}, {what}"
