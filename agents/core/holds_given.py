"""(11) The promiser's side of holds: what this site promised to another site's holder, and what it may begin.

Rules (DESIGN section 6; docs/adr/0016): a promise is given only while this site is verified down, claims nothing, knows
of no grant above the holder's epoch, and hears no witness itself (else it relays). It is durable before its answer
leaves. While one is outstanding this site claims nothing. After any cold start it claims nothing for a full D of the
longest lease that may be lived on, whatever is stored: a store may be gone, restored, or a copy. One instance of one
holder's epoch is promised something, its rounds only grow, and whoever is behind or beside them is told so: a twin.
Rejected: trusting the stored deadline after a cold start (it belongs to another boot, or to another life of the disk).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from agents.core.effects import AnswerSite, Effect, StorePromise
from agents.core.promise import Promise, promised, raw_wake, request_constants
from proto.clock import ClockReading
from proto.holds import HoldMark, promise_wait
from proto.lease import LONGEST_POSSIBLE, LeaseConstants, longest
from proto.license import EscrowItem
from proto.site_messages import HoldAnswer, HoldEnd, HoldEndAnswer, HoldRefusal, HoldRequest, HoldVerdict
from proto.timing import check_constants
from proto.units import Epoch, GroupId, InstantNs, Nonce, SiteId

ANSWERS_WAITING_MAX = 16
"""While a promise is being stored; a holder has one round under way, and asks again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How this site stands with the group at the moment of a request."""

    enforcing: bool
    down: bool
    """Verified: STANDBY or FENCED."""
    claiming: bool
    """It holds or claims an epoch, or one that it acted upon is not over here."""
    bound: Epoch
    granted: Epoch
    """The highest grant to this site that it heard of."""
    holds: bool
    """Its own configuration does not say witness_loss: fence."""
    sites: tuple[SiteId, ...]
    """Of the group, as far as it was told; () for not at all."""
    hears_witnesses: bool
    permit: bool = False


class HoldsGiven:
    """Owned by one group."""

    def __init__(
        self,
        group: GroupId,
        emit: Callable[[Effect], None],
        *,
        stored: Promise | None,
        cold_since: ClockReading | None,
        linked: bool,
    ) -> None:
        """`linked`: there is a site link, so this life asks the witnesses first what it may have promised."""
        self.promise = stored
        self.stored = stored
        """What is on disk: the only thing that is reported."""
        self.told = False
        """The witnesses said, after this life began, what the longest lease is that may be lived on."""
        self._group = group
        self._emit = emit
        self._wait: LeaseConstants | None = None
        self._cold_since = cold_since
        self._linked = linked
        self._written = stored
        self._storing = False
        self._nonce: Nonce | None = None
        """Of the request that was promised last in this life."""
        self._answers: list[tuple[SiteId, HoldAnswer | HoldEndAnswer]] = []
        """They leave when what they rest on is on disk."""
        self._later: list[tuple[SiteId, HoldAnswer | HoldEndAnswer]] = []
        self._escrow: tuple[EscrowItem, ...] = ()
        """Of the newest request that was promised: kept with the promise."""

    # -- what it keeps this site from ---------------------------------------------------------------------

    @property
    def cold(self) -> bool:
        return self._cold_since is not None

    def adopted(self) -> None:
        """A guard still holds for this incarnation: while it did, nobody was promised anything."""
        self._cold_since = None

    def restarted(self, now: ClockReading) -> None:
        """Counts as a cold start: the clocks by which a promise was counted are not trusted any more."""
        self._cold_since = now
        self.told, self._wait = False, None

    def tell(self, wait: LeaseConstants | None) -> None:
        """What the witnesses say first in this life counts: what is granted later is asked of this very life."""
        if not self.told:
            self.told, self._wait = True, wait

    def may_claim(self, now: ClockReading) -> bool:
        return not self.outstanding(now) and self._cold_over(now)

    def outstanding(self, now: ClockReading) -> bool:
        return self.promise is not None and self.promise.outstanding(now)

    def _cold_wait_ns(self) -> int:
        if self._linked and not self.told:
            return promise_wait(LONGEST_POSSIBLE)  # witnesses of an older version never tell
        known = [self._wait] if self._wait is not None else []
        known += [self.promise.constants] if self.promise is not None else []
        return promise_wait(longest(*known)) if known else 0

    def _cold_over(self, now: ClockReading) -> bool:
        since = self._cold_since
        if since is None:
            return True
        passed_ns = min(now.boottime_ns - since.boottime_ns, now.monotonic_raw_ns - since.monotonic_raw_ns)
        if passed_ns < self._cold_wait_ns():
            return False
        if self.told:
            self._cold_since = None
        return True

    def next_deadline(self, now: ClockReading) -> InstantNs | None:
        """When this site may claim, if nothing more is promised; None when it may now."""
        wake = []
        if self.promise is not None and self.promise.outstanding(now):
            wake.append(raw_wake(self.promise.until, self.promise.until_raw_ns, now))
        if self._cold_since is not None and not self._cold_over(now):
            since, wait_ns = self._cold_since, self._cold_wait_ns()
            wake.append(raw_wake(InstantNs(since.boottime_ns + wait_ns), since.monotonic_raw_ns + wait_ns, now))
        return max(wake, default=None)

    @property
    def mark(self) -> HoldMark | None:
        return None if self.stored is None else self.stored.mark

    # -- requests -----------------------------------------------------------------------------------------

    def asked(self, site: SiteId, request: HoldRequest, received: ClockReading, standing: Standing) -> None:
        """`received`: the clocks as they were read before anything else was done with the request."""
        verdict, why = self._judge(site, request, standing)
        answer = HoldAnswer(request.nonce, self._group, request.epoch, request.number, verdict, why)
        if verdict is not HoldVerdict.HELD:
            self._emit(AnswerSite(site, answer))
            return
        self.promise, self._nonce = promised(request, received, self.promise), request.nonce
        self._escrow = request.escrow
        self._store(site, answer)

    def _judge(self, site: SiteId, request: HoldRequest, standing: Standing) -> tuple[HoldVerdict, HoldRefusal]:
        why = self._unfit(site, request, standing)
        if why is not HoldRefusal.NONE:
            return HoldVerdict.REFUSED, why
        before = self.promise
        if before is not None and before.of_the_same(request) and self._behind(request, before):
            return HoldVerdict.STALE, HoldRefusal.NONE
        if standing.hears_witnesses:
            return HoldVerdict.RELAY, HoldRefusal.WITNESSES_HEARD
        if len(self._later) >= ANSWERS_WAITING_MAX:
            return HoldVerdict.REFUSED, HoldRefusal.BUSY
        return HoldVerdict.HELD, HoldRefusal.NONE

    def _behind(self, request: HoldRequest, before: Promise) -> bool:
        """A round is asked for once: the same number with another nonce is of a second instance, in step with it."""
        again = request.number == before.number and request.nonce == self._nonce
        return request.number <= before.number and not again

    def _unfit(self, site: SiteId, request: HoldRequest, standing: Standing) -> HoldRefusal:
        before = self.promise
        rules = (
            (request.site != site, HoldRefusal.WRONG_SITE),
            (bool(standing.sites) and site not in standing.sites, HoldRefusal.NOT_A_SITE),
            (any(check_constants(request_constants(request))), HoldRefusal.BAD_CONSTANTS),
            (not standing.holds, HoldRefusal.HOLDS_OFF),
            (not standing.enforcing, HoldRefusal.NOT_ENFORCING),
            (standing.permit, HoldRefusal.PERMIT),
            (not standing.down, HoldRefusal.NOT_DOWN),
            (standing.claiming, HoldRefusal.CLAIMING),
            (request.epoch <= standing.bound, HoldRefusal.EPOCH_OLD),
            (request.epoch < standing.granted, HoldRefusal.GRANT_KNOWN),
            (before is not None and request.epoch < before.epoch, HoldRefusal.EPOCH_OLD),
            (before is not None and request.epoch == before.epoch and before.over, HoldRefusal.EPOCH_OLD),
            (
                before is not None and request.epoch == before.epoch and not before.of_the_same(request),
                HoldRefusal.OTHER_CLAIM,
            ),
        )
        return next((why for broken, why in rules if broken), HoldRefusal.NONE)

    def ended(self, site: SiteId, end: HoldEnd) -> None:
        """The holder's own end, not before the round that was promised last, ends the promise at once; durably."""
        promise = self.promise
        answer = HoldEndAnswer(end.nonce, self._group, end.epoch)
        theirs = promise is not None and not promise.over and (promise.site, promise.epoch) == (site, end.epoch)
        if promise is None or not theirs or end.site != site:
            self._emit(AnswerSite(site, answer))
            return
        same = (promise.incarnation, promise.claim) == (end.incarnation, end.claim)
        if same and end.number >= promise.number and len(self._later) < ANSWERS_WAITING_MAX:
            self.promise = replace(promise, over=True)
            self._store(site, answer)

    def _store(self, site: SiteId, answer: HoldAnswer | HoldEndAnswer) -> None:
        self._later.append((site, answer))
        if not self._storing:
            self._store_now()

    def _store_now(self) -> None:
        if self.promise is not None:
            self._storing = True
            self._answers, self._later = self._later, []
            self._written = self.promise
            self._emit(StorePromise(self._group, self.promise, self._escrow))
            self._escrow = ()

    def promise_stored(self) -> None:
        if not self._storing:
            return
        self._storing, self.stored = False, self._written
        for site, answer in self._answers:
            self._emit(AnswerSite(site, answer))
        self._answers = []
        if self._later:
            self._store_now()
