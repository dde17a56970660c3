"""What the checkers' tests need: findings under a clock that is set by hand, and ledger events in one line."""

from __future__ import annotations

import dataclasses

from proto.codec import encode_event_body
from proto.events import GENESIS_HASH, Event, EventKind, chain_hash
from proto.units import Epoch, GroupId, LogIndex, SiteId, WallMs
from witness.sim.raft.checkers import Findings

G = GroupId("erp")
A, B = "dc-a", "dc-b"
S = 1_000_000_000


class Court:
    """Findings, and the true time at which they are made."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.findings = Findings(self.now)

    def now(self) -> int:
        return self.now_ns

    def kinds(self) -> list[str]:
        return [violation.kind for violation in self.findings.violations]

    def words(self) -> str:
        return "; ".join(str(violation) for violation in self.findings.violations)


class Chronicle:
    """Events in a row, chained as the ledger chains them."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, kind: EventKind, site: str | None = None, epoch: int = 0, text: str = "") -> Event:
        chain = self.events[-1].chain if self.events else GENESIS_HASH
        bare = Event(
            seq=len(self.events) + 1,
            index=LogIndex(len(self.events) + 1),
            kind=kind,
            group=G,
            site=None if site is None else SiteId(site),
            epoch=Epoch(epoch),
            author="witness",
            text=text,
            wall_ms=WallMs(0),
            chain=b"",
        )
        event = dataclasses.replace(bare, chain=chain_hash(chain, encode_event_body(bare)))
        self.events.append(event)
        return event
