"""(10) The holder's side of holds: rounds of requests, and the authority that a complete set of answers gives.

Rules (DESIGN section 6; docs/adr/0016): every *other* site of the group must hold; one that does not, and nothing is
extended. t0 is read before each request, a fresh nonce goes with it, and only an answer with that nonce, epoch and
number counts, from its own t0: authority by holds ends at the smallest of the sites' newest t0 + ttl. Rounds are
numbered; a site that has seen a later round of this incarnation and claim says so, and the newest round cannot be
stale: a twin is ahead. At the end of the epoch each promiser is told, after everything is verified down and the lock
delay has passed, and only where the newest round was not answered as stale.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from agents.core.effects import Effect, SendSite
from agents.core.lease_holder import Authority
from proto import limits
from proto.clock import ClockReading
from proto.holds import NO_CHAIN, HoldMark, chain_next, promise_wait
from proto.lease import LeaseConstants
from proto.license import EscrowItem
from proto.site_messages import HoldAnswer, HoldEnd, HoldEndAnswer, HoldRequest, HoldVerdict
from proto.units import NS_PER_MS, Chain, Claim, Epoch, GroupId, Incarnation, InstantNs, Nonce, SiteId

ROUND_AGAIN_NS = 200 * NS_PER_MS
"""A round that not every site has answered is followed by the next one after this, not after a whole interval."""
END_AGAIN_NS = 300 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class Held:
    """What the holds are asked for."""

    site: SiteId
    incarnation: Incarnation
    epoch: Epoch
    claim: Claim
    constants: LeaseConstants
    escrow: tuple[EscrowItem, ...] = ()
    """The newest sealed key of each license: kept by who promises, with the promise."""


@dataclass(frozen=True, slots=True)
class _Ask:
    site: SiteId
    number: int
    sent: ClockReading


@dataclass(slots=True)
class _End:
    held: Held
    number: int
    sites: set[SiteId]
    """That have not answered the end yet."""
    not_before: InstantNs
    not_before_raw_ns: int
    give_up_at: InstantNs
    again_at: InstantNs | None = None
    """None until `finished` is durable."""


class HoldsTaken:
    """Owned by one group. `on` from the first request until a witness renews or the epoch ends."""

    def __init__(
        self,
        group: GroupId,
        emit: Callable[[Effect], None],
        tokens: Callable[[], bytes],
        number_first: int = 0,
    ) -> None:
        """`number_first`: rounds of a former process of this incarnation are below it."""
        self.on = False
        self.mark: HoldMark | None = None
        """The last round that every other site answered positively."""
        self.said: dict[SiteId, str] = {}
        """What each site answered last, for people."""
        self.number = number_first
        self._group = group
        self._emit = emit
        self._tokens = tokens
        self._epoch = Epoch(0)
        self._chain: Chain = NO_CHAIN
        self._chains: OrderedDict[int, Chain] = OrderedDict()
        self._asks: OrderedDict[Nonce, _Ask] = OrderedDict()
        self._held_from: dict[SiteId, ClockReading] = {}
        self._held_number: dict[SiteId, int] = {}
        self._answered_newest: dict[SiteId, int] = {}
        self._asked: set[SiteId] = set()
        self._last_sent: ClockReading | None = None
        self._others: tuple[SiteId, ...] = ()
        self._round_at = InstantNs(0)
        self._end: _End | None = None

    # -- rounds -------------------------------------------------------------------------------------------

    def tick(self, held: Held, others: tuple[SiteId, ...], version: int, interval_ns: int, now: ClockReading) -> bool:
        """Sends the next round when it is due; True when it did. `others`: every other site of the group."""
        if held.epoch != self._epoch:
            self._begin(held.epoch)
        self.on, self._others = True, others
        if not others or now.boottime_ns < self._due(interval_ns):
            return False
        self.number += 1
        self._chain = chain_next(self._chain, held.epoch, held.claim, self.number)
        self._chains[self.number] = self._chain
        while len(self._chains) > limits.NONCES_PENDING_MAX:
            self._chains.popitem(last=False)
        self._round_at, self._last_sent = now.boottime_ns, now
        for site in others:
            self._ask(site, held, version, now)
        return True

    def _begin(self, epoch: Epoch) -> None:
        self._epoch, self._chain = epoch, NO_CHAIN
        self._chains.clear()
        self._asks.clear()
        self._held_from.clear()
        self._held_number.clear()
        self._answered_newest.clear()
        self._asked.clear()
        self._round_at, self.mark = InstantNs(0), None

    def _due(self, interval_ns: int) -> InstantNs:
        complete = all(self._held_number.get(site) == self.number for site in self._others)
        return InstantNs(self._round_at + (interval_ns if complete else min(ROUND_AGAIN_NS, interval_ns)))

    def next_deadline(self, interval_ns: int) -> InstantNs | None:
        wake = [self._due(interval_ns)] if self.on and self._others else []
        if self._end is not None and self._end.again_at is not None:
            wake.append(self._end.again_at)
        return min(wake, default=None)

    def _ask(self, site: SiteId, held: Held, version: int, now: ClockReading) -> None:
        nonce = Nonce(self._tokens())
        self._asks[nonce] = _Ask(site, self.number, now)
        while len(self._asks) > limits.NONCES_PENDING_MAX:
            self._asks.popitem(last=False)
        self._asked.add(site)
        constants = held.constants
        self._emit(
            SendSite(
                site,
                HoldRequest(
                    nonce=nonce,
                    group=self._group,
                    site=held.site,
                    incarnation=held.incarnation,
                    epoch=held.epoch,
                    claim=held.claim,
                    ttl_ms=constants.ttl_ms,
                    drift_max_ppm=constants.drift_max_ppm,
                    lock_delay_ms=constants.lock_delay_ms,
                    number=self.number,
                    chain=self._chain,
                    sites_version=version,
                    escrow=held.escrow,
                ),
            )
        )

    # -- answers ------------------------------------------------------------------------------------------

    def answered(self, site: SiteId, answer: HoldAnswer) -> bool:
        """Takes an answer in; True when it is from a twin that is ahead: this incarnation must end."""
        ask = self._asks.get(answer.nonce)
        if ask is None or (ask.site, ask.number, self._epoch) != (site, answer.number, answer.epoch):
            return False
        del self._asks[answer.nonce]
        self.said[site] = answer.verdict.value
        if answer.verdict is HoldVerdict.REFUSED:
            self.said[site] = f"refused: {answer.refusal.value}"
        if answer.verdict is HoldVerdict.STALE:
            return ask.number == self.number
        self._answered_newest[site] = max(self._answered_newest.get(site, 0), ask.number)
        if answer.verdict is HoldVerdict.HELD:
            before = self._held_from.get(site)
            if before is None or before.boottime_ns < ask.sent.boottime_ns:
                self._held_from[site], self._held_number[site] = ask.sent, ask.number
            self._complete()
        return False

    def _complete(self) -> None:
        """The last round that all have answered, in this round or a later one."""
        numbers = [self._held_number.get(site) for site in self._others]
        known = [number for number in numbers if number is not None]
        if len(known) == len(numbers) and min(known) in self._chains:
            self.mark = HoldMark(self._epoch, min(known), self._chains[min(known)])

    def authority(self, constants: LeaseConstants) -> Authority | None:
        """By the holds of *every* other site; None while one of them has given none in this epoch."""
        since = [self._held_from.get(site) for site in self._others]
        known = [one for one in since if one is not None]
        if not known or len(known) != len(since):
            return None
        boot = min(one.boottime_ns for one in known)
        raw = min(one.monotonic_raw_ns for one in known)
        return Authority(InstantNs(boot + constants.ttl_ns), raw + constants.ttl_ns)

    # -- ends ---------------------------------------------------------------------------------------------

    def renewed(self) -> bool:
        """A witness renewed: holds are not needed any more. True when they were."""
        was = self.on or self.mark is not None
        self.on, self.mark = False, None
        return was

    def forget(self) -> None:
        """The incarnation is over: whatever is answered means nothing, and nobody is told of an end."""
        self._begin(Epoch(0))
        self.on, self.number, self._end = False, 0, None

    def epoch_over(self, held: Held | None, now: ClockReading, delay_ns: int) -> None:
        """Verified down. `held`: what ended, None when nobody may be told (another one may live by it)."""
        asked = set(self._asked) if held is not None and held.epoch == self._epoch else set()
        self.on, self.mark = False, None
        if held is None or not asked or self._last_sent is None:
            return
        patience_ns = 2 * promise_wait(held.constants)
        give_up_at = InstantNs(max(now.boottime_ns + delay_ns, self._last_sent.boottime_ns) + patience_ns)
        before, before_raw = InstantNs(now.boottime_ns + delay_ns), now.monotonic_raw_ns + delay_ns
        self._end = _End(held, self.number, asked, before, before_raw, give_up_at)

    def tell_nobody(self) -> None:
        """Of the end of what was held: another instance may live by it."""
        self._end = None

    def durable(self, now: InstantNs) -> None:
        if self._end is not None:
            self._end.again_at = max(now, self._end.not_before)

    def tell_ends(self, now: ClockReading) -> None:
        end = self._end
        if end is None or end.again_at is None or now.boottime_ns < end.again_at:
            return
        if now.boottime_ns >= end.give_up_at or not end.sites:
            self._end = None
            return
        wait_ns = end.not_before_raw_ns - now.monotonic_raw_ns
        end.again_at = InstantNs(now.boottime_ns + max(wait_ns, END_AGAIN_NS))
        if wait_ns > 0:
            return
        held = end.held
        for site in sorted(end.sites):
            if self._answered_newest.get(site) == end.number:
                nonce = Nonce(self._tokens())
                message = HoldEnd(nonce, self._group, held.site, held.incarnation, held.epoch, held.claim, end.number)
                self._emit(SendSite(site, message))

    def end_answered(self, site: SiteId, answer: HoldEndAnswer) -> None:
        if self._end is not None and self._end.held.epoch == answer.epoch:
            self._end.sites.discard(site)
