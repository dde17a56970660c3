"""I4 and P6: replicas with an equal applied index have equal states, and one ledger is told, whoever tells it."""

from __future__ import annotations

from collections.abc import Iterable

from proto.events import GENESIS_HASH, Event
from witness.core.ledger import verify
from witness.core.machine import Machine
from witness.sim.raft.checkers import Findings

HASH_EVERY = 16
"""Every so many indexes the state's hash is taken on each replica: it costs as much as dozens of applies."""


class ReplicaChecker:
    def __init__(self, findings: Findings) -> None:
        self.events: list[Event] = []
        self._found = findings.found
        self._hashes: dict[int, tuple[str, str]] = {}

    def restored(self, told: Iterable[Event]) -> None:
        """All witnesses begin anew with what a backup knew, whose ledger this is: it may be of any earlier life."""
        self.events = list(told)
        self._hashes.clear()

    def applied(self, witness: str, index: int, machine: Machine, *, always: bool = False) -> None:
        if index % HASH_EVERY and not always:
            return
        state_hash = machine.state_hash()
        known = self._hashes.setdefault(index, (state_hash, witness))
        if known[0] != state_hash:
            self._found("divergence", f"{witness} and {known[1]} differ at index {index}")

    def recorded(self, witness: str, events: Iterable[Event]) -> list[Event]:
        """Returns what nobody told before."""
        new = []
        for event in events:
            if event.seq <= len(self.events):
                if self.events[event.seq - 1] != event:
                    self._found("ledger", f"{witness} tells event {event.seq} otherwise than before")
            elif event.seq == len(self.events) + 1:
                self.events.append(event)
                new.append(event)
            else:
                self._found("ledger", f"{witness} tells event {event.seq}, {len(self.events) + 1} was never told")
        return new

    def verify(self) -> None:
        broken = verify(self.events, GENESIS_HASH)
        if broken is not None:
            self._found("ledger", f"the chain breaks at event {broken.seq}")

    def stored(self, witness: str, events: list[Event]) -> None:
        """What lies on a witness's disk: the ledger from its first event on, without a gap."""
        for number, event in enumerate(events, 1):
            if event.seq != number:
                self._found("ledger", f"event {number} is missing on {witness}'s disk, {event.seq} follows")
                return
            if number > len(self.events) or self.events[number - 1] != event:
                self._found("ledger", f"event {number} on {witness}'s disk is not the one that was told")
                return
