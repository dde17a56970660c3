"""What the witness core asks its shell to do, in the order in which it must be done (STYLE rules 1 and 5).

Effects of inputs (a heartbeat, an operator's request) may be performed at once; effects of `apply` only after
the turn that applied is on disk (witness.raft.port, promise 2). The driver knows no other rule.
"""

from __future__ import annotations

from dataclasses import dataclass

from proto.decisions import Reason
from proto.events import Event
from proto.license import EscrowVersion
from proto.messages import EscrowValue, GroupAnswer, GroupSites, Notice
from proto.units import SiteId


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one command: applied (Reason.OK) or refused with a reason, alike on every replica."""

    reason: Reason
    detail: str = ""
    answers: tuple[GroupAnswer, ...] = ()
    """Of a heartbeat, one per group."""
    sites: tuple[GroupSites, ...] = ()
    """Of a heartbeat: what its agent does not know yet of the groups' sites; sent after the answer."""
    values: tuple[EscrowValue, ...] = ()
    """Of a heartbeat: sealed keys that its agent does not hold yet; sent after the answer."""
    stored: EscrowVersion | None = None
    """Of a put, done or refused: the newest version that is kept."""
    version_next: int = 0
    """Of a put: a number for the next one; 0 when nothing is kept of that license."""

    @property
    def after(self) -> tuple[GroupSites | EscrowValue, ...]:
        """Of a heartbeat: what follows its answer; an agent of feature level 1 can read none of it."""
        return (*self.sites, *self.values)

    @property
    def ok(self) -> bool:
        return self.reason is Reason.OK


@dataclass(frozen=True, slots=True)
class ProposeEntry:
    """Hand these bytes to consensus. Answer a refusal with `WitnessNode.proposal_refused`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Resolved:
    """The request that `submit` or `heartbeat` numbered has its outcome."""

    request: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Push:
    """Tell this site's agent, if its stream is here. A hint; losing it costs time, not safety."""

    site: SiteId
    notice: Notice


@dataclass(frozen=True, slots=True)
class Record:
    """Append to the ledger on disk; an event may come again after a restart, with the same seq and bytes."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class KeepMarks:
    """The store shall know what its content needs: the cluster's feature level, its restore lineage."""

    level: int
    lineage: bytes


Effect = ProposeEntry | Resolved | Push | Record | KeepMarks
