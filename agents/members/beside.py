"""The exec guards of this host and the members on others, as one: both get each deadline, both must end.

Rule: neither waits for the other, and the end of both is awaited.
"""

from __future__ import annotations

import asyncio

from agents.actions.parts import ExecGuards
from agents.members.desk import MemberDesk
from proto.units import Epoch, GroupId, InstantNs


class GuardsBeside:
    """Implements agents.actions.parts.ExecGuards."""

    def __init__(self, near: ExecGuards, far: MemberDesk) -> None:
        self._near = near
        self._far = far
        self.running = near.running

    def set_deadline(self, group: str, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int) -> None:
        self._near.set_deadline(group, epoch, term_at_ns, kill_at_ns, deadline_ns)
        self._far.give(GroupId(group), Epoch(epoch), InstantNs(deadline_ns))

    async def stop_all(self, group: str, grace_ns: int) -> object:
        return await asyncio.gather(
            self._near.stop_all(group, grace_ns), self._far.end_and_wait(GroupId(group), grace_ns)
        )

    def fence(self, group: str) -> None:
        self._near.fence(group)
        self._far.fence(GroupId(group))
