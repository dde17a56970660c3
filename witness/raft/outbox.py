"""What one turn wants to send, per peer and in order, and which peers should get no more for now."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from proto.units import WitnessId
from witness.raft.messages import Message

PEER_QUEUE_BYTES_HIGH = 4 * 1024 * 1024
"""A peer with more than this unsent gets nothing new until it has drained: the log keeps it for later."""

Outbox = dict[WitnessId, list[Message]]


class TurnOutbox:
    def __init__(self, peers: Collection[WitnessId]) -> None:
        self._messages: Outbox = {}
        self._turn_bytes: dict[WitnessId, int] = dict.fromkeys(peers, 0)
        self._unsent_bytes: dict[WitnessId, int] = dict.fromkeys(peers, 0)

    def begin(self, unsent_bytes: Mapping[WitnessId, int]) -> None:
        """A turn starts; each peer's connection still holds so much."""
        self._unsent_bytes.update(unsent_bytes)

    def post(self, peer: WitnessId, message: Message) -> None:
        queue = self._messages.setdefault(peer, [])
        if queue and _replaces(message, queue[-1]):
            queue[-1] = message
        else:
            queue.append(message)
        self._turn_bytes[peer] += _size(message)

    def promised(self, peer: WitnessId, size: int) -> None:
        """So many bytes for `peer` are on their way into this outbox."""
        self._turn_bytes[peer] += size

    def full(self, peer: WitnessId | None) -> bool:
        if peer is None:
            return True
        return self._unsent_bytes[peer] + self._turn_bytes[peer] > PEER_QUEUE_BYTES_HIGH

    def take_appends(self, peers: Collection[WitnessId]) -> Outbox:
        """The appends for these peers; everything else stays."""
        taken: Outbox = {}
        for peer in [peer for peer in self._messages if peer in peers]:
            messages = self._messages[peer]
            appends = [message for message in messages if message["type"] == "append_entries"]
            if appends:
                taken[peer] = appends
                self._messages[peer] = [message for message in messages if message["type"] != "append_entries"]
        return taken

    def take(self) -> Outbox:
        """Everything that is left; the turn is over."""
        taken, self._messages = self._messages, {}
        self._turn_bytes = dict.fromkeys(self._turn_bytes, 0)
        return {peer: messages for peer, messages in taken.items() if messages}


def _size(message: Message) -> int:
    chunk = message.get("serialized")
    if chunk is not None:
        return len(chunk[0]) + 128
    return 128 + sum(len(entry[0]) + 16 for entry in message.get("entries", ()))


def _replaces(new: Message, old: Message) -> bool:
    """A later success says all that an earlier one in the same turn said."""
    both = new["type"] == old["type"] == "next_node_idx"
    succeed = both and new["success"] and old["success"]
    return bool(succeed and new["next_node_idx"] >= old["next_node_idx"])
