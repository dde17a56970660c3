"""A container of an engine: down when the engine says so; under exec also while only its guard waits in it."""

from __future__ import annotations

import itertools

from agents.components import engine
from agents.components.base import CANNOT_TELL
from agents.components.engine import ContainerState, EngineSilent
from agents.components.spec import ComponentSpec

EXEC_WORDS = ("site-agent", "exec")


def runs_exec(command: tuple[str, ...]) -> bool:
    """Its first process is `site-agent exec`: by whatever path, or interpreter, it is started."""
    names = [word.rpartition("/")[2] for word in command]
    return any(tuple(pair) == EXEC_WORDS for pair in itertools.pairwise(names))


class ContainerComponent:
    """Every look is one question to the engine."""

    def __init__(self, spec: ComponentSpec) -> None:
        self.spec = spec

    async def still_up(self) -> str:
        try:
            state = await self._look()
        except EngineSilent as error:
            return f"{CANNOT_TELL} whether container {self.spec.container} runs: {error}"
        if state is None or not state.up:
            return ""
        if self.spec.under_exec and runs_exec(state.command):
            return ""  # what it runs is the exec guard's, and proven by it
        wrapped = "; its entrypoint is not `site-agent exec`" if self.spec.under_exec else ""
        return f"container {self.spec.container} is {state.status}{wrapped}"

    async def end(self) -> str:
        """The engine's kill is waited for first: it also keeps the engine from starting the container again."""
        try:
            state = await self._look()
        except EngineSilent as error:
            return str(error)
        if state is None or not state.up:
            return ""
        said = ""
        try:
            await engine.kill(self.spec.engine, self.spec.container, self.spec.timeout_ms)
        except EngineSilent as error:
            said = str(error)
        return "" if engine.kill_first_process(state) else said

    async def _look(self) -> ContainerState | None:
        return await engine.look(self.spec.engine, self.spec.container, self.spec.timeout_ms)
