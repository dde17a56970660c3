"""A lead says "verified down", and so releases, only when each of its members is, or is out of authority.

By true time, and by what really runs or could be begun on each member's machine; what lead and members know of each
other is not asked. A member that goes on by clocks that had been frozen is excused for as long as any site is.
"""

from __future__ import annotations

from collections.abc import Callable

from proto.units import EPOCH_MAX, Epoch, GroupId, Nonce
from witness.sim.raft.checkers import Findings

ASKS_KEPT = 256
Holds = Callable[[GroupId, Epoch], bool]
"""Something of an epoch up to this one runs on the machine, or may begin there at any moment."""


class MembersChecker:
    def __init__(self, findings: Findings, now: Callable[[], int], excused: Callable[[GroupId, str], bool]) -> None:
        """`excused`: a host goes on by clocks that had been frozen."""
        self.waited = 0
        """Looks at members of a site that said it was down."""
        self._found = findings.found
        self._now = now
        self._excused = excused
        self._members: dict[str, dict[str, Holds]] = {}
        self._asked: dict[str, dict[Nonce, int]] = {}

    def watch(self, member: str, lead: str, holds: Holds) -> None:
        self._members.setdefault(lead, {})[member] = holds

    def said_down(self, group: GroupId, lead: str) -> None:
        """Of everything that it ever began."""
        self._judge(group, lead, Epoch(EPOCH_MAX), "says that {} is down")

    def released(self, group: GroupId, lead: str, epoch: Epoch) -> None:
        """It leaves the site now."""
        self._judge(group, lead, epoch, "releases {}")

    def _judge(self, group: GroupId, lead: str, epoch: Epoch, says: str) -> None:
        for member, holds in self._members.get(lead, {}).items():
            self.waited += 1
            if holds(group, epoch) and not self._excused(group, member):
                self._found("member", f"{lead} {says.format(group)} while {member} holds it")

    # -- what a member asked, and was told ------------------------------------------------------------------

    def asked(self, member: str, nonce: Nonce) -> None:
        asked = self._asked.setdefault(member, {})
        asked[nonce] = self._now()
        if len(asked) > ASKS_KEPT:
            del asked[next(iter(asked))]

    def answered(self, member: str, nonce: Nonce) -> int:
        """When the ask left that is answered; -1 for none."""
        return self._asked.get(member, {}).get(nonce, -1)
