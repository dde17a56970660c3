"""The event ledger's writing end: numbers events, chains their hashes, keeps the newest in memory.

The chain makes a changed, dropped or inserted event visible (`verify`); the disk keeps what memory drops
(witness.runtime). Events are part of the replicated state: equal on every witness, in the same order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from proto import limits
from proto.codec import encode_event_body
from proto.events import Event, EventKind, chain_hash
from proto.units import Epoch, GroupId, LogIndex, SiteId, WallMs
from witness.core.state import LedgerState

_TEXT_MAX = limits.TEXT_CHARS_MAX


class Ledger:
    def __init__(self, state: LedgerState) -> None:
        self._state = state
        self._new: list[Event] = []
        self.index = LogIndex(0)
        self.wall_ms = WallMs(0)

    @property
    def head_seq(self) -> int:
        return self._state.head_seq

    def append(
        self,
        kind: EventKind,
        text: str,
        *,
        group: GroupId | None = None,
        site: SiteId | None = None,
        epoch: Epoch = Epoch(0),  # noqa: B008 - a NewType of an int, not a call with effects
        author: str = "witness",
    ) -> None:
        state = self._state
        event = Event(
            seq=state.head_seq + 1,
            index=self.index,
            kind=kind,
            group=group,
            site=site,
            epoch=epoch,
            author=author[:_TEXT_MAX],
            text=text[:_TEXT_MAX],
            wall_ms=self.wall_ms,
            chain=b"",
        )
        chained = dataclasses.replace(event, chain=chain_hash(state.head_chain, encode_event_body(event)))
        state.head_seq = chained.seq
        state.head_chain = chained.chain
        state.recent.append(chained)
        if len(state.recent) > limits.LEDGER_EVENTS_KEPT:
            del state.recent[: len(state.recent) - limits.LEDGER_EVENTS_KEPT]
        self._new.append(chained)

    def take_new(self) -> tuple[Event, ...]:
        if not self._new:
            return ()
        new, self._new = tuple(self._new), []
        return new

    def recent(self, after_seq: int, limit: int) -> list[Event]:
        """Events above `after_seq`, oldest first, as far as memory keeps them."""
        kept = self._state.recent
        if not kept or after_seq >= kept[-1].seq:
            return []
        first = max(0, after_seq + 1 - kept[0].seq)
        return kept[first : first + limit]


def verify(events: Iterable[Event], previous_chain: bytes) -> Event | None:
    """The first event whose number or chain does not follow from the one before, or None when all do."""
    expected_seq: int | None = None
    chain = previous_chain
    for event in events:
        if expected_seq is not None and event.seq != expected_seq:
            return event
        if event.chain != chain_hash(chain, encode_event_body(event)):
            return event
        chain = event.chain
        expected_seq = event.seq + 1
    return None
