"""Proof, beside the guard's own, that nothing of the active role runs: a refused port, a command that says so.

Rule: only a clear answer counts. A port whose connection times out proves nothing (its process may be stopped and
hold the license all the same), nor does a command that cannot be started.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agents.probes.command import run_command
from agents.probes.tcp import REFUSED, connect_problem


class DownCheck(Protocol):
    @property
    def name(self) -> str: ...

    async def still_up(self) -> str:
        """'' when it is proven down; else what was seen instead. Bounded; never raises for what it finds."""


@dataclass(frozen=True, slots=True)
class PortRefused:
    name: str
    host: str
    port: int
    timeout_ms: int

    async def still_up(self) -> str:
        words = await connect_problem(self.host, self.port, self.timeout_ms)
        if words == REFUSED:
            return ""
        return f"{self.host}:{self.port} {f'says: {words}' if words else 'takes connections'}"


@dataclass(frozen=True, slots=True)
class CommandSaysDown:
    name: str
    argv: tuple[str, ...]
    timeout_ms: int

    async def still_up(self) -> str:
        result = await run_command(self.argv, self.timeout_ms)
        return "" if result.exit_code == 0 else result.words
