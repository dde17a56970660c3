"""(11) How an epoch ends at its site: why, and the release that tells the witnesses, sent until they answered.

Sent only after verified down, a durable `finished`, and an answer to the newest heartbeat or to a later one: of two
clones of a running machine the one that was cut off hears there that it is stale, before it releases under the feet of
the other one. Whatever the release is answered, the epoch is over here (DESIGN 3).
Witnesses that were away for long have not counted the lease down, so they are still told when they are back; only an
agent that is to stop gives up.
"""

from __future__ import annotations

from dataclasses import dataclass

from proto.clock import ClockReading
from proto.messages import ReleaseKind
from proto.units import NS_PER_MS, Claim, DurationNs, Epoch, InstantNs

RELEASE_AGAIN_NS = 300 * NS_PER_MS
REASON_CHARS_MAX = 300


@dataclass(slots=True)
class PendingRelease:
    epoch: Epoch
    claim: Claim
    kind: ReleaseKind
    text: str
    not_before: InstantNs
    not_before_raw_ns: int
    """After a fence the lock delay passes first, on BOOTTIME and on MONOTONIC_RAW: a license server may keep the killed
    session open, and which clock is right when they part nobody knows."""
    patience_ns: DurationNs
    """For how long an agent that is to stop waits for the answer."""
    again_at: InstantNs | None = None
    """None until `finished` is durable."""
    give_up_at: InstantNs | None = None
    """None while the agent is to go on."""
    after_seq: int | None = None
    alone: bool = False
    """A heartbeat of that number, or a later one, was answered: no twin is ahead of this agent."""


class EpochEnd:
    """Owned by one group."""

    def __init__(self) -> None:
        self.release: PendingRelease | None = None
        self._kind, self._text = ReleaseKind.CLEAN, ""

    def because(self, kind: ReleaseKind, text: str) -> None:
        self._kind, self._text = kind, text[:REASON_CHARS_MAX]

    def fenced(self, text: str) -> None:
        """An activation that failed stays one, or this site would be granted again at once, and fail again."""
        self.because(self._kind, f"fenced: {text}")

    def offer(self, epoch: Epoch, claim: Claim, now: ClockReading, delay_ns: int, patience_ns: DurationNs) -> None:
        not_before, raw_ns = InstantNs(now.boottime_ns + delay_ns), now.monotonic_raw_ns + delay_ns
        self.release = PendingRelease(epoch, claim, self._kind, self._text, not_before, raw_ns, patience_ns)

    def over(self) -> None:
        """The next epoch has reasons of its own."""
        self.because(ReleaseKind.CLEAN, "")

    def durable(self, now: InstantNs) -> None:
        if self.release is not None:
            self.release.again_at = max(now, self.release.not_before)

    def down(self, seq: int, heard_seq: int) -> None:
        """The newest heartbeat until now, and the newest that was answered and is not stale."""
        if self.release is not None and self.release.after_seq is None:
            self.release.after_seq = seq
            self.heard(heard_seq)

    def heard(self, seq: int) -> None:
        """That heartbeat was answered, and is not stale."""
        release = self.release
        if release is not None and release.after_seq is not None and seq >= release.after_seq:
            release.alone = True

    def due(self, now: ClockReading) -> PendingRelease | None:
        """What is to be sent now; the next time is set."""
        release = self.release
        if release is None or not release.alone or release.again_at is None or now.boottime_ns < release.again_at:
            return None
        wait_ns = release.not_before_raw_ns - now.monotonic_raw_ns
        release.again_at = InstantNs(now.boottime_ns + (wait_ns if wait_ns > 0 else RELEASE_AGAIN_NS))
        return None if wait_ns > 0 else release

    def settled(self, now: ClockReading) -> bool:
        """Nothing but the witnesses' answer is missing: what ended is durable, and its lock delay has passed."""
        release = self.release
        if release is None:
            return True
        waited = now.boottime_ns >= release.not_before and now.monotonic_raw_ns >= release.not_before_raw_ns
        return release.again_at is not None and waited

    def kept_back_ns(self, now: ClockReading) -> int:
        """For how long the lock delay still keeps the release back, by the clock that says more."""
        release = self.release
        if release is None:
            return 0
        return max(0, release.not_before - now.boottime_ns, release.not_before_raw_ns - now.monotonic_raw_ns)

    def answered(self, epoch: Epoch) -> bool:
        """The witnesses know: released, or not ours any more."""
        known = self.release is not None and self.release.epoch == epoch
        if known:
            self.release = None
        return known

    def tick(self, now: InstantNs, *, closing: bool) -> None:
        release = self.release
        if release is None or not closing:
            return
        if release.give_up_at is None:
            release.give_up_at = InstantNs(max(now, release.not_before) + release.patience_ns)
        if now >= release.give_up_at:
            self.release = None

    def next_deadline(self, *, kept_back: bool = False) -> InstantNs | None:
        """`kept_back`: it is not sent yet, whenever it would be due (agents/core/licenses.py)."""
        release = self.release
        if release is None:
            return None
        again_at = release.again_at if release.alone and not kept_back else None
        return min((at for at in (again_at, release.give_up_at) if at is not None), default=None)
