"""I3: what an agent or an operator was told is in every later state and ledger; and it happened in the order of time.

Linearizable: a command that was sent after the answer to another one is applied behind it, whoever asked and whoever
answered. Epochs and renewals follow from that, since every answer is computed from the entry that was applied.
"""

from __future__ import annotations

from dataclasses import dataclass

from proto.events import Event
from witness.sim.raft.checkers import Findings


@dataclass(frozen=True, slots=True)
class Told:
    """An answer that reached somebody."""

    who: str
    index: int
    """Of the entry that the answer tells of."""
    head_seq: int
    """The ledger's end at the witness that answered."""
    head_chain: bytes


class DurableChecker:
    def __init__(self, findings: Findings) -> None:
        self.answers = 0
        self._found = findings.found
        self._highest: Told | None = None
        self._longest: Told | None = None
        self._due: tuple[Told | None, Told | None] | None = None

    @property
    def floor(self) -> int:
        """What is asked from now on is applied behind this index."""
        return 0 if self._highest is None else self._highest.index

    def restored(self, index: int) -> None:
        """All witnesses begin anew with the state of this index: what was told after their backup is forgotten."""
        self._highest, self._longest = Told("the backup", index, 0, b""), None

    def told(self, what: Told, floor: int) -> None:
        """`floor`: as it was when the command was sent."""
        self.answers += 1
        if what.index <= floor:
            self._found(
                "order", f"{what.who} answers from entry {what.index}; entry {floor} was told before it was asked"
            )
        if self._highest is None or what.index > self._highest.index:
            self._highest = what
        if self._longest is None or what.head_seq > self._longest.head_seq:
            self._longest = what

    def due(self) -> None:
        """What was told until now is what `ends` and `ledger` ask for: what is told later may be on its way."""
        self._due = self._highest, self._longest

    def ends(self, witness: str, index: int) -> None:
        """All is healed and quiet, and had been for a moment since `due`: a replica's last applied index."""
        told, _ = self._due or (self._highest, self._longest)
        if told is not None and index < told.index:
            self._found("durable", f"{witness} ends at index {index}; {told.who} had told of {told.index}")

    def ledger(self, witness: str, events: list[Event]) -> None:
        """The same: the ledger on a witness's disk."""
        _, told = self._due or (self._highest, self._longest)
        if told is None or told.head_seq == 0:
            return
        if len(events) < told.head_seq:
            self._found("durable", f"{witness} stores {len(events)} events; {told.who} had told of {told.head_seq}")
        elif events[told.head_seq - 1].chain != told.head_chain:
            self._found("durable", f"event {told.head_seq} on {witness}'s disk is not the one that was told of")
