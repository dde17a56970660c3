"""Tells targets of the ledger's events: a pure core, one small state a lane; time and outcomes come in, orders go out.

Only the witness that leads begins a telling. It is begun by a command (BeginTelling), tried until the target took it
or `retry_for` is over, and ended by a command (EndTelling). A telling that another witness began and did not end is
taken over when that witness certainly has no attempt under way any more; the same range is told again, under the same
key, and says that it may be a repetition (docs/adr/0021).

What is told where is decided by witness/core/notify/lanes.py. Bounded: two lanes a target, BATCH_MAX events a
notification, one attempt at a time in each lane. What was not told yet stays where it is: in the ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from proto.commands import BeginTelling, EndTelling
from proto.events import Event
from proto.units import NS_PER_MS, NS_PER_S, ClusterId, GroupId, InstantNs, WallMs, WitnessId
from witness.core.notify.lanes import Lane, Told, collapsed, lane_name, lane_of, quiet, told_of
from witness.core.notify.settings import NotifySettings, Target
from witness.core.notify.state import Telling

BATCH_MAX: Final = 40
"""Events that one notification tells of."""
SCAN_MAX: Final = 500
"""Events that are looked at in one step of one lane."""
RANGE_MAX: Final = 4_000
"""Events that one telling reaches over: each attempt reads them all again."""
WEIGHED_MAX: Final = 2_000
"""Events whose weight is remembered, for the other lanes and for the next attempt."""
LACKING_NS: Final = 60 * NS_PER_S
"""For so long a witness waits for events that it lacks: it fetches them from the others. Then that is told instead."""
SKIP_MIN: Final = 500
"""Events that were nothing for a lane; from so many on that is written down."""
BACKOFF_FIRST_NS: Final = 2 * NS_PER_S
BACKOFF_MAX_NS: Final = 60 * NS_PER_S
END_AGAIN_NS: Final = 5 * NS_PER_S
ABANDONED_SLACK_NS: Final = 10 * NS_PER_S
"""Beyond the target's time limit, until a telling of another witness counts as abandoned: its end takes a commit."""


class Source(Protocol):
    """What the desk reads."""

    @property
    def head(self) -> int: ...
    @property
    def lanes(self) -> Mapping[str, Telling]: ...
    def after(self, seq: int, limit: int) -> Sequence[Event]:
        """Events above `seq`, oldest first."""

    def before(self, seq: int) -> Iterable[Event]:
        """Events below `seq`, newest first, as far as memory keeps them."""


@dataclass(frozen=True, slots=True)
class Tell:
    """One attempt. Answer with `Desk.answered`."""

    lane: str
    target: Target
    key: str
    """The same for the same events at the same target, whoever tells and however often."""
    found: tuple[Told, ...]
    repeated: bool
    """It may have been told before."""
    attempt: int


Order = BeginTelling | EndTelling | Tell


class Stage(Enum):
    IDLE = "idle"
    BEGINNING = "beginning"
    TELLING = "telling"
    WAITING = "waiting"
    ENDING = "ending"


@dataclass(slots=True)
class _Work:
    """One lane."""

    target: Target
    lane: Lane
    stage: Stage = Stage.IDLE
    scanned: int = 0
    pending: list[Told] = field(default_factory=list)
    pending_since: InstantNs = InstantNs(0)  # noqa: RUF009 - a NewType of an int
    last_told: InstantNs | None = None
    abandoned_since: tuple[int, InstantNs] | None = None
    """A telling of another witness that is not ended: its number, and when it was seen first."""
    begun: InstantNs = InstantNs(0)  # noqa: RUF009 - a NewType of an int
    again_at: InstantNs = InstantNs(0)  # noqa: RUF009 - a NewType of an int
    after: int = 0
    upto: int = 0
    attempt: int = 0
    """Attempts that were handed out: what was only waited for, because events lack, was told to nobody."""
    repeated: bool = False
    ended: EndTelling | None = None
    trouble: str = ""
    """Why the last attempt failed; empty when it did not."""

    @property
    def name(self) -> str:
        return lane_name(self.target.name, self.lane)

    def forget(self, told: int) -> None:
        self.stage, self.scanned = Stage.IDLE, told
        self.pending.clear()


class Desk:
    def __init__(self, settings: NotifySettings, cluster: ClusterId, self_id: WitnessId) -> None:
        self._settings = settings
        self._cluster = cluster
        self._self_id = self_id
        self._works = {work.name: work for target in settings.targets for work in (_Work(target, one) for one in Lane)}
        self._leading = False
        self._weighed: dict[bytes, Told] = {}
        """By the event's chain, oldest first."""
        self._past: dict[GroupId | None, list[Event]] = {}
        """What memory keeps, by group, newest first: nothing of another group is ended by an event."""
        self._past_head = -1

    # -- inputs ---------------------------------------------------------------------------------------------

    def lead(self, *, leading: bool) -> None:
        """Who ceases to lead finishes the attempt that is under way, and begins none."""
        if leading and not self._leading:
            for work in self._works.values():
                work.abandoned_since = None
                if work.stage is Stage.IDLE:
                    work.forget(0)
        if not leading:
            for work in self._works.values():
                if work.stage is Stage.WAITING:
                    work.forget(0)
        self._leading = leading

    def step(self, source: Source, now: InstantNs, wall_ms: WallMs, offsets: Mapping[str, int]) -> list[Order]:
        orders: list[Order] = []
        for work in self._works.values():
            if work.stage is Stage.IDLE and self._leading:
                order = self._look(work, source, now, quiet_now=self._quiet(work, wall_ms, offsets))
                orders += [] if order is None else [order]
            elif work.stage is Stage.WAITING and self._leading and now >= work.again_at:
                orders += self._attempts(work, source, now)
            elif work.stage is Stage.ENDING and work.ended is not None and now >= work.again_at:
                work.again_at = InstantNs(now + END_AGAIN_NS)
                orders.append(work.ended)
        return orders

    def begun(self, lane: str, source: Source, now: InstantNs, *, ok: bool) -> list[Order]:
        """The outcome of a BeginTelling."""
        work = self._works[lane]
        if not ok or work.upto == work.after:
            work.forget(work.after if ok else 0)
            return []
        work.begun, work.attempt = now, 0
        return self._attempts(work, source, now)

    def _attempts(self, work: _Work, source: Source, now: InstantNs) -> list[Order]:
        """An attempt; or its outcome at once, when there is nothing to tell or this witness lacks what is."""
        tell, lacks = self._attempt(work, source)
        if lacks:
            text, again = f"witness {self._self_id} lacks {lacks}", now - work.begun < LACKING_NS
            return self.answered(work.name, now, ok=False, again=again, text=text)
        if tell.found:
            return [tell]
        # The configuration changed since another witness began it: nothing of it is for this target any more.
        return self.answered(work.name, now, ok=True, again=False, text="")

    def answered(self, lane: str, now: InstantNs, *, ok: bool, again: bool, text: str) -> list[Order]:
        """How an attempt went. `again`: another attempt may help."""
        work = self._works[lane]
        work.trouble = "" if ok else text
        spent = now - work.begun >= work.target.retry_for_ms * NS_PER_MS
        if not ok and again and not spent:
            if not self._leading:
                work.forget(0)
                return []
            work.stage = Stage.WAITING
            doublings = min(max(work.attempt - 1, 0), 10)
            work.again_at = InstantNs(now + min(BACKOFF_MAX_NS, BACKOFF_FIRST_NS << doublings))
            return []
        work.ended = EndTelling(work.name, work.upto, ok, text)
        work.stage, work.again_at = Stage.ENDING, InstantNs(now + END_AGAIN_NS)
        work.last_told = now
        return [work.ended]

    def over(self, lane: str, *, ok: bool) -> None:
        """The outcome of an EndTelling: applied, or refused because somebody else told it; else it comes again."""
        work = self._works[lane]
        if ok and work.stage is Stage.ENDING:
            work.forget(work.upto)

    # -- what people are shown ------------------------------------------------------------------------------

    def view(self) -> list[dict[str, object]]:
        return [
            {
                "target": work.target.name,
                "lane": work.lane.value,
                "stage": work.stage.value,
                "waiting": len(work.pending),
                "seen": work.scanned,
                "attempt": work.attempt if work.stage in (Stage.TELLING, Stage.WAITING) else 0,
                "trouble": work.trouble,
            }
            for work in self._works.values()
        ]

    # -- one lane -------------------------------------------------------------------------------------------

    def _quiet(self, work: _Work, wall_ms: WallMs, offsets: Mapping[str, int]) -> bool:
        return work.lane is Lane.ROUTINE and quiet(work.target, self._settings.quiet_hours, wall_ms, offsets)

    def _look(self, work: _Work, source: Source, now: InstantNs, *, quiet_now: bool) -> BeginTelling | None:
        telling = source.lanes.get(work.name)
        if telling is None:  # a new target is not told the past
            return self._begin(work, 1, source.head, source.head)
        if telling.upto > telling.told:
            return self._take_over(work, telling, now)
        work.scanned = max(work.scanned, telling.told)
        self._scan(work, source, now)
        if work.pending:
            due = work.lane is Lane.URGENT or (not quiet_now and self._waited(work, now))
            return self._begin(work, telling.number + 1, telling.told, work.scanned) if due else None
        lacking = self._lacking(work, source)
        if lacking:
            return self._begin(work, telling.number + 1, work.scanned, lacking)
        if work.scanned - telling.told >= SKIP_MIN:
            return self._begin(work, telling.number + 1, work.scanned, work.scanned)
        return None

    def _waited(self, work: _Work, now: InstantNs) -> bool:
        if work.last_told is not None and now - work.last_told < self._settings.group_interval_ms * NS_PER_MS:
            return False
        return now - work.pending_since >= self._settings.group_wait_ms * NS_PER_MS

    def _take_over(self, work: _Work, telling: Telling, now: InstantNs) -> BeginTelling | None:
        """Another witness may be in the middle of an attempt; what bears our name is of a former life of ours."""
        if telling.witness != self._self_id:
            if work.abandoned_since is None or work.abandoned_since[0] != telling.number:
                work.abandoned_since = (telling.number, now)
            wait_ns = work.target.way.timeout_ms * NS_PER_MS + ABANDONED_SLACK_NS
            if now - work.abandoned_since[1] < wait_ns:
                return None
        return self._begin(work, telling.number + 1, telling.told, telling.upto, repeated=True)

    def _begin(self, work: _Work, number: int, after: int, upto: int, *, repeated: bool = False) -> BeginTelling:
        work.stage, work.after, work.upto, work.repeated = Stage.BEGINNING, after, upto, repeated
        return BeginTelling(work.name, number, after, upto, self._self_id)

    def _scan(self, work: _Work, source: Source, now: InstantNs) -> None:
        """Takes in what is new; stops at a full notification, the rest is for the next one."""
        if len(work.pending) >= BATCH_MAX or (work.pending and work.scanned - work.pending[0].event.seq >= RANGE_MAX):
            return
        for event in source.after(work.scanned, SCAN_MAX):
            if event.seq != work.scanned + 1:
                return  # some are missing: see _lacking
            work.scanned = event.seq
            told = self._told(event, source)
            if lane_of(work.target, told) is work.lane:
                if not work.pending:
                    work.pending_since = now
                work.pending.append(told)
                if len(work.pending) >= BATCH_MAX:
                    return

    @staticmethod
    def _lacking(work: _Work, source: Source) -> int:
        """Up to which number this witness has no events behind those that it looked at; 0 when it has them.

        It was installed from an image and has not fetched them yet. Passing over them would lose them silently.
        """
        if work.scanned >= source.head:
            return 0
        page = source.after(work.scanned, 1) or [*source.before(source.head + 1)][-1:]
        first = page[0].seq if page else source.head + 1
        return first - 1 if first > work.scanned + 1 else 0

    def _told(self, event: Event, source: Source) -> Told:
        """Weighed once, however many lanes look at it: all of them do on the loop that keeps the leases."""
        known = self._weighed.get(event.chain)
        if known is not None:
            return known
        if self._past_head != source.head:
            self._past, self._past_head = {}, source.head
            for one in source.before(source.head + 1):
                self._past.setdefault(one.group, []).append(one)
        told = told_of(event, (one for one in self._past.get(event.group, ()) if one.seq < event.seq))
        if len(self._weighed) >= WEIGHED_MAX:
            del self._weighed[next(iter(self._weighed))]
        self._weighed[event.chain] = told
        return told

    def _attempt(self, work: _Work, source: Source) -> tuple[Tell, str]:
        """Read again from the ledger: a telling that was taken over tells what its first witness told.

        With what of it this witness lacks, in words; '' when it has everything.
        """
        found: list[Told] = []
        newest: Event | None = None
        seq = work.after
        while seq < work.upto:
            page = [event for event in source.after(seq, SCAN_MAX) if event.seq <= work.upto]
            if not page or page[0].seq != seq + 1:
                break  # this witness was installed from an image and lacks them
            for event in page:
                seq, newest = event.seq, event
                told = self._told(event, source)
                if lane_of(work.target, told) is work.lane:
                    found.append(told)
        lacks = "" if seq >= work.upto else f"events {seq + 1} to {work.upto}"
        work.stage, work.attempt = Stage.TELLING, work.attempt + (0 if lacks else 1)
        repeated = work.repeated or work.attempt > 1
        key = self._key(work, newest)
        return Tell(work.name, work.target, key, collapsed(found), repeated, work.attempt), lacks

    def _key(self, work: _Work, newest: Event | None) -> str:
        """After a restore numbers come again with other events; their chain does not."""
        chain = b"" if newest is None else newest.chain
        said = f"{self._cluster}/{work.name}/{work.after}-{work.upto}/".encode() + chain
        return hashlib.sha256(said).hexdigest()[:32]
