"""A component in memory: what it is at this moment, and whether anything ends it.

Exclusive ones are down or active; dual-role ones may be a standby as well. `clings`: nothing ends it, and why.
"""

from __future__ import annotations

from enum import Enum

from agents.components.spec import ComponentKind, ComponentRole, ComponentSpec


class Running(Enum):
    DOWN = "down"
    STANDBY = "standby"
    ACTIVE = "active"


class MemoryComponent:
    """Implements agents.components.base.Component."""

    def __init__(self, name: str, role: ComponentRole) -> None:
        self.spec = ComponentSpec(name, ComponentKind.UNIT, role, unit=f"{name}.service")
        self.now = Running.DOWN
        self.clings = ""

    def rests(self) -> None:
        """Out of the active role, in the way that is its own; or not, while it clings."""
        if self.now is Running.ACTIVE and not self.clings:
            self.now = Running.STANDBY if self.spec.dual_role else Running.DOWN

    async def still_up(self) -> str:
        return f"{self.spec.unit} is active" if self.now is Running.ACTIVE else ""

    async def end(self) -> str:
        self.rests()
        return self.clings
