"""What peers sent and no turn has read yet: a queue for each of them, read in turns, one message of each at a time.

Rule: what one peer floods us with delays nobody else: neither what the others sent before (they are read by turns), nor
what they will send (the bound at which reading stops is of one peer's connection). Of one peer the order stays; a
new connection never sees the old one's (N7).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from typing import Final

from proto.units import WitnessId
from witness.raft.messages import Message

MESSAGES_PER_TURN_MAX: Final = 512
TURN_BYTES_MAX: Final = 8 * 1024 * 1024
PEER_BYTES_HIGH: Final = 4 * 1024 * 1024
"""Of one peer: above this its connection is not read until turns have made room. Several batches of a leader, so that
catching up never waits for it, and no more than half of what a turn reads."""


class Inbox:
    def __init__(self, peers: Collection[WitnessId]) -> None:
        self._queues: dict[WitnessId, deque[tuple[Message, int]]] = {peer: deque() for peer in peers}
        self._bytes: dict[WitnessId, int] = dict.fromkeys(peers, 0)

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def put(self, peer: WitnessId, message: Message, size: int) -> None:
        self._queues[peer].append((message, size))
        self._bytes[peer] += size

    def drop(self, peer: WitnessId) -> None:
        """Its connection ended: what it sent and we did not read yet is void."""
        self._queues[peer].clear()
        self._bytes[peer] = 0

    def bytes_of(self, peer: WitnessId) -> int:
        return self._bytes[peer]

    def take_turn(self) -> Iterator[tuple[WitnessId, Message]]:
        """What one turn reads: one message of each peer that has any, again and again, within the turn's bounds."""
        count, size_sum = 0, 0
        while self:
            for peer, queue in self._queues.items():
                if not queue:
                    continue
                if count >= MESSAGES_PER_TURN_MAX or size_sum >= TURN_BYTES_MAX:
                    return
                message, size = queue.popleft()
                self._bytes[peer] -= size
                count, size_sum = count + 1, size_sum + size
                yield peer, message
