"""What an apply changed, for the node around it: which timers restart, what to look at again, whom to tell.

Derived, not replicated: it is drained after every entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proto.messages import NoticeKind
from proto.units import Epoch, GroupId, SiteId
from witness.core.ledger import Ledger
from witness.core.state import ClusterState, GroupState


@dataclass(slots=True)
class Changes:
    counted: set[GroupId] = field(default_factory=set)
    """The lease's (epoch, renewal) or its revocation changed: its timers restart in full."""
    dirty: set[GroupId] = field(default_factory=set)
    """Something that a decision rests on changed."""
    heard: list[tuple[SiteId, list[GroupId], list[GroupId]]] = field(default_factory=list)
    """By each heartbeat that counts: the groups that it told of, and those whose lease it renewed."""
    moved: set[GroupId] = field(default_factory=set)
    """An automatic move away from a running site began."""
    failed: list[tuple[GroupId, SiteId]] = field(default_factory=list)
    """An activation failed: the site's back-off starts."""
    notices: list[tuple[SiteId, GroupId, NoticeKind, Epoch]] = field(default_factory=list)


@dataclass(slots=True)
class Scope:
    """What every rule works on."""

    state: ClusterState
    ledger: Ledger
    changes: Changes
    answering: bool = True
    """Whether somebody waits here for answers to heartbeats; they are no part of the state."""

    def tell_sites(self, group: GroupState, kind: NoticeKind) -> None:
        for site in group.config.sites:
            self.changes.notices.append((site, group.config.group, kind, group.epoch))
