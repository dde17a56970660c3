"""The seam between a runner and one component of its platform that its guards do not hold by themselves.

Rule: only a clear answer proves anything, as with every check that something is down (agents/actions/down_checks.py).
`end` is asked for in a fence, and whenever a site that must be dormant finds the component up; it never waits for
long, may be asked again and again, and proves nothing: the next look does.
"""

from __future__ import annotations

from typing import Protocol

from agents.components.spec import ComponentSpec

CANNOT_TELL = "cannot tell"
"""How an answer begins that is none: the component counts as up."""


class Component(Protocol):
    @property
    def spec(self) -> ComponentSpec: ...

    async def still_up(self) -> str:
        """'' when it is proven down, or out of the active role; else what was seen instead. Bounded; never raises."""

    async def end(self) -> str:
        """Ends it by force where that can be done; returns what stood against it. Bounded; never raises."""
