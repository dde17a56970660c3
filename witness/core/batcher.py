"""(5) Group commit: while one own entry is in flight, collect; then propose one entry for all that came in.

The batcher numbers requests and entries and recognises its own entries in the committed stream by the session tag
of this process; a request is resolved only by what was applied (RAFT-REVIEW D-17, D-18). A lost entry is noticed
by time or by a change of leader; its requests end with 'outcome unknown' unless the entry still turns up.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from proto import limits
from proto.codec import COMMANDS, encode_command, encode_entry
from proto.commands import Command, HeartbeatFrame, LogEntry
from proto.errors import FrameRefused, ThirdsiteError
from proto.features import FEATURE_MAX
from proto.units import InstantNs, WallMs, WitnessId

_ENTRY_HEAD_BYTES = 256
_COMMAND_HEAD_BYTES = 5


class Overloaded(ThirdsiteError):
    """Too many commands wait already, or this one is too large. Nothing was taken."""


@dataclass(slots=True)
class _Pending:
    request: int
    command: Command
    encoded: bytes
    since: InstantNs


class Batcher:
    def __init__(self, self_id: WitnessId, session: bytes, feature_max: int = FEATURE_MAX) -> None:
        self._self_id = self_id
        self._feature_max = feature_max
        self._session = session
        self._next_request = 1
        self._next_entry = 1
        self._pending: deque[_Pending] = deque()
        self._in_flight: tuple[int, InstantNs] | None = None
        self._requests_of: dict[int, tuple[int, ...]] = {}
        self._open: OrderedDict[int, InstantNs] = OrderedDict()

    def add(self, command: Command, now: InstantNs) -> int:
        """Takes a command in and numbers its request; raises Overloaded and then takes nothing."""
        if len(self._pending) >= limits.COMMANDS_PENDING_MAX:
            self._drop_stale_heartbeats(now)
        if len(self._pending) >= limits.COMMANDS_PENDING_MAX:
            raise Overloaded(f"{len(self._pending)} commands wait already")
        try:
            encoded = encode_command(command)
            if not isinstance(command, HeartbeatFrame):
                # What no replica could read would take the whole entry with it, other groups' renewals included.
                COMMANDS.decode(encoded, self._feature_max)
        except FrameRefused as error:
            raise Overloaded(str(error)) from error
        request = self.number()
        self._pending.append(_Pending(request, command, encoded, now))
        self._open[request] = now
        return request

    def withdraw(self, request: int) -> bool:
        """Takes a request back that was not proposed yet; False when it is too late for that, or it is not known."""
        left = deque(one for one in self._pending if one.request != request)
        if len(left) == len(self._pending):
            return False
        self._pending = left
        self._open.pop(request, None)
        return True

    def number(self) -> int:
        """The number of a request that is taken, or that is answered at once."""
        self._next_request += 1
        return self._next_request - 1

    def take_entry(self, now: InstantNs, wall_ms: WallMs) -> bytes | None:
        """The next entry to propose, or None while one is in flight or nothing waits."""
        if self._in_flight is not None:
            if now - self._in_flight[1] < limits.ENTRY_IN_FLIGHT_MAX_NS:
                return None
            self._in_flight = None
        self._drop_stale_heartbeats(now)
        if not self._pending:
            return None
        batch: list[_Pending] = []
        size = _ENTRY_HEAD_BYTES
        while self._pending and len(batch) < limits.ENTRY_COMMANDS_MAX:
            size += len(self._pending[0].encoded) + _COMMAND_HEAD_BYTES
            if batch and size > limits.ENTRY_BYTES_MAX:
                break
            batch.append(self._pending.popleft())
        number = self._next_entry
        self._next_entry += 1
        self._in_flight = (number, now)
        self._requests_of[number] = tuple(one.request for one in batch)
        entry = LogEntry(self._self_id, self._session, number, wall_ms, tuple(one.command for one in batch))
        return encode_entry(entry, [one.encoded for one in batch])

    def _drop_stale_heartbeats(self, now: InstantNs) -> None:
        """After an outage nobody is served by renewals of long ago: they would only prolong a dead site's lease."""
        fresh_since = now - limits.HEARTBEAT_PENDING_MAX_NS
        if self._pending and self._pending[0].since < fresh_since:
            self._pending = deque(
                one for one in self._pending if one.since >= fresh_since or not isinstance(one.command, HeartbeatFrame)
            )

    def committed(self, entry: LogEntry) -> tuple[int, ...]:
        """Requests of an own entry, in the order of its commands; empty for entries of others."""
        if entry.session != self._session or entry.proposer != self._self_id:
            return ()
        if self._in_flight is not None and self._in_flight[0] == entry.number:
            self._in_flight = None
        requests = self._requests_of.pop(entry.number, ())
        for request in requests:
            self._open.pop(request, None)
        return requests

    def in_flight_for_ns(self, entry: LogEntry, now: InstantNs) -> int | None:
        """Since this entry was proposed here; None for those of others, and for one that was taken as lost."""
        if self._in_flight is None or entry.session != self._session or entry.number != self._in_flight[0]:
            return None
        return now - self._in_flight[1]

    def lost(self) -> None:
        """The entry in flight may be lost (leader changed, proposal refused): go on with the next one."""
        self._in_flight = None

    def overdue(self, now: InstantNs) -> list[tuple[int, bool]]:
        """Requests that waited too long, forgotten here; True beside those that may be committed all the same."""
        found: list[int] = []
        while self._open:
            request, since = next(iter(self._open.items()))
            if now - since < limits.PROPOSAL_TIMEOUT_NS:
                break
            del self._open[request]
            found.append(request)
        if not found:
            return []
        proposed = {request for requests in self._requests_of.values() for request in requests}
        gone = set(found)
        self._pending = deque(one for one in self._pending if one.request not in gone)
        self._requests_of = {
            number: requests
            for number, requests in self._requests_of.items()
            if any(request in self._open for request in requests)
        }
        return [(request, request in proposed) for request in found]

    def next_deadline(self) -> InstantNs | None:
        deadlines = []
        if self._in_flight is not None and self._pending:
            deadlines.append(InstantNs(self._in_flight[1] + limits.ENTRY_IN_FLIGHT_MAX_NS))
        if self._open:
            oldest = next(iter(self._open.values()))
            deadlines.append(InstantNs(oldest + limits.PROPOSAL_TIMEOUT_NS))
        return min(deadlines, default=None)
