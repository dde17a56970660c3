"""What is known by commands alone: a database, and the role of anything that also runs as a replica.

Rule: exit code 0 is the only "yes". For a dual-role component two things are proven: it is dead or out of the active
role *now*, and its *next start* is in the standby role, so that no promotion outlives a crash, a reboot or a package
update. A former primary that comes up in the active role again while the site is dormant is found and ended.
"""

from __future__ import annotations

from agents.components.base import Component
from agents.components.spec import ComponentSpec
from agents.probes.command import run_command


class CommandComponent:
    """A database of the exclusive role."""

    def __init__(self, spec: ComponentSpec, about: dict[str, str]) -> None:
        """`about`: group and site, for the commands' environment."""
        self.spec = spec
        self._about = about

    async def still_up(self) -> str:
        words = await self._no(self.spec.down)
        return f"down command: {words}" if words else ""

    async def end(self) -> str:
        if not self.spec.end:
            return "it has no end command: only the deactivation steps take it down"
        words = await self._no(self.spec.end)
        return f"end command: {words}" if words else ""

    async def _no(self, command: tuple[str, ...]) -> str:
        """'' for yes, else why not."""
        result = await run_command(command, self.spec.timeout_ms, self._about)
        if result.exit_code == 0:
            return ""
        said = " ".join(result.output.split())[:160]
        return f"{result.words}{f', it said: {said}' if said else ''}"


class DualRole(CommandComponent):
    """`body`: what shows that the component is dead, None where only its commands know."""

    def __init__(self, spec: ComponentSpec, about: dict[str, str], body: Component | None) -> None:
        super().__init__(spec, about)
        self._body = body

    async def still_up(self) -> str:
        alive = "it may run" if self._body is None else await self._body.still_up()
        if alive:
            words = await self._no(self.spec.out_of_role)
            if words:
                return f"not out of the active role: {words}"
        words = await self._no(self.spec.standby_start)
        return f"its next start would not be in the standby role: {words}" if words else ""

    async def end(self) -> str:
        """Only what is in the active role is ended; a wrong next start is for the operator to mend."""
        if not await self._no(self.spec.out_of_role):
            return ""
        return await (super().end() if self._body is None else self._body.end())
