"""A witness on the disk of a former life, after all others were restored: what it says is nobody's business.

The judges go by what the new life does; only its end is heard, and why. Its peers refuse it (witness.raft.lineage).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proto.events import Event
from witness.raft.port import CommittedEntry, ConsensusStatus
from witness.sim.life import Life
from witness.sim.raft.host import Host
from witness.sim.raft.subject import Outbox

if TYPE_CHECKING:
    from witness.sim.cluster import Cluster


class FormerLife:
    """Implements Watch of a host and LifeWatch of its processes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.hit = cluster.hit
        self.note = cluster.note
        self.ended = cluster.ended
        self.asked = cluster.asked

    def started(self, host: Host) -> None: ...
    def turned(self, host: Host, outbox: Outbox, began_ns: int) -> None: ...
    def sent_early(self, host: Host, outbox: Outbox) -> None: ...
    def applied(self, life: Life, entry: CommittedEntry, before: int) -> None:
        """Nobody else may apply it: it was not committed, or it is forgotten."""

    def restored(self, life: Life) -> None: ...
    def status(self, life: Life, status: ConsensusStatus) -> None: ...
    def recorded(self, witness: str, events: tuple[Event, ...]) -> None: ...
    def told(self, life: Life, index: int, asked: int) -> None:
        del asked
        self._cluster.judge.found("former", f"{life.witness} answers from entry {index} of the life before the restore")
