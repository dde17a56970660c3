"""One witness's own timers: how long each lease and each revocation has been left without a change.

Rule: a timer starts in full when this witness *applies* the grant, renewal or revoke, also when it replays it
after a restart; when it has counted out, this witness votes. Time is counted, not read: every wake-up counts at
most TIMER_STEP_MAX_NS, so that a paused, suspended or stepped witness makes leases longer, never shorter
(DESIGN section 3). Nothing here is replicated and nothing here can end a lease by itself.

Renewals only overwrite a dictionary; the heap is corrected when an entry comes up early.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from proto import limits
from proto.commands import EVERY_GROUP, Vote, VoteKind
from proto.lease import lock_delay_wait, witness_wait
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs
from witness.core.state import Bar, GroupState, SessionWait
from witness.core.transitions import Phase

VOTE_AGAIN_NS = 1_000 * NS_PER_MS
"""A vote that had no effect yet (lost with a leader) is cast again after this."""

Key = tuple[VoteKind, GroupId]


@dataclass(slots=True)
class _Timer:
    epoch: Epoch
    number: int
    due: int
    """On the counted clock."""
    wait_ns: int
    """In full; fixed for the epoch (the expiry's) or for the revoke's number."""
    cast: bool = False
    """It counted out for exactly (epoch, number), and a vote left."""


class LeaseTimers:
    def __init__(self, now: InstantNs) -> None:
        self._last = now
        self._counted = 0
        self._timers: dict[Key, _Timer] = {}
        self._heap: list[tuple[int, str, GroupId]] = []
        self._queued: dict[Key, int] = {}
        """The one heap entry of each timer that counts; others are leftovers and are dropped when they come up."""

    def count(self, now: InstantNs) -> None:
        """Lets time pass, at most one capped step of it."""
        step = now - self._last
        self._last = now
        self._counted += min(max(step, 0), limits.TIMER_STEP_MAX_NS)

    def follow(self, name: GroupId, group: GroupState | None) -> None:
        """Starts in full, keeps or drops the timers of a group after its lease record changed."""
        self._follow_session(name, None if group is None else group.permits.session)
        lease = None if group is None else group.lease
        if lease is None:
            self._timers.pop((VoteKind.EXPIRY, name), None)
            self._timers.pop((VoteKind.REVOKE_DUE, name), None)
            return
        timer = self._timers.get((VoteKind.EXPIRY, name))
        revocation = lease.revocation
        if timer is not None and timer.epoch == lease.epoch and timer.number < lease.renewal and revocation is None:
            timer.number, timer.due, timer.cast = lease.renewal, self._counted + timer.wait_ns, False
            key = (VoteKind.EXPIRY, name)
            if timer.due < self._queued.get(key, 0):  # a vote was cast and had no effect: do not wait for the next one
                self._queue(key, timer.due)
            return
        self._start(VoteKind.EXPIRY, name, lease.epoch, lease.renewal, witness_wait(lease.constants))
        if revocation is not None and group is not None and group.phase is Phase.REVOKING:
            wait = revocation.timeout_ms * NS_PER_MS
            self._start(VoteKind.REVOKE_DUE, name, lease.epoch, revocation.number, wait)
        else:
            self._timers.pop((VoteKind.REVOKE_DUE, name), None)

    def _follow_session(self, name: GroupId, session: SessionWait | None) -> None:
        if session is None:
            self._timers.pop((VoteKind.SESSION_OVER, name), None)
        else:
            self._start(VoteKind.SESSION_OVER, name, session.floor, 0, lock_delay_wait(session.constants))

    def follow_bar(self, bar: Bar | None, generation: int) -> None:
        """A restored cluster's wait for groups that are made anew, counted like a lease's."""
        if bar is None:
            self._timers.pop((VoteKind.BAR_OVER, EVERY_GROUP), None)
        else:
            self._start(VoteKind.BAR_OVER, EVERY_GROUP, Epoch(generation), 0, witness_wait(bar.constants))

    def _start(self, kind: VoteKind, name: GroupId, epoch: Epoch, number: int, wait: int) -> None:
        key = (kind, name)
        timer = self._timers.get(key)
        due = self._counted + wait
        if timer is None:
            self._timers[key] = _Timer(epoch, number, due, wait)
            self._queue(key, due)
        elif (timer.epoch, timer.number) != (epoch, number):
            if due < self._queued.get(key, due + 1):
                self._queue(key, due)
            timer.epoch, timer.number, timer.due, timer.wait_ns = epoch, number, due, wait
            timer.cast = False

    def _queue(self, key: Key, due: int) -> None:
        self._queued[key] = due
        heapq.heappush(self._heap, (due, key[0].value, key[1]))

    def due_votes(self) -> tuple[Vote, ...]:
        """Votes whose timers have counted out; each is cast again later while it still stands."""
        votes: list[Vote] = []
        while self._heap and self._heap[0][0] <= self._counted and len(votes) < limits.ITEMS_MAX:
            due, kind_value, name = heapq.heappop(self._heap)
            key = (VoteKind(kind_value), name)
            if self._queued.get(key) != due:
                continue
            timer = self._timers.get(key)
            if timer is None:
                del self._queued[key]
                continue
            if timer.due <= self._counted:
                votes.append(Vote(key[0], name, timer.epoch, timer.number))
                timer.due, timer.cast = self._counted + VOTE_AGAIN_NS, True
            self._queue(key, timer.due)
        return tuple(votes)

    def cast_again(self) -> None:
        """The leader changed: votes that were on their way to the old one are due at once, not a second later.

        Only those that counted out in full: a vote says that they did, whoever leads.
        """
        for key, timer in self._timers.items():
            if timer.cast:
                timer.due = min(timer.due, self._counted)
                if timer.due < self._queued.get(key, 0):
                    self._queue(key, timer.due)

    def next_in_ns(self) -> int | None:
        """Counted time until the next entry comes up (perhaps early), or None without timers."""
        return None if not self._heap else max(0, self._heap[0][0] - self._counted)

    def left_ns(self, name: GroupId) -> int | None:
        """Until this witness votes the group's lease away, when nothing renews it; for people."""
        timer = self._timers.get((VoteKind.EXPIRY, name))
        return None if timer is None else max(0, timer.due - self._counted)

    def __len__(self) -> int:
        return len(self._timers)
