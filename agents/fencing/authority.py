"""What a guard may still do, as a pure value: the highest epoch, the three rungs, and which of them is due.

Rule: a deadline is a pure extension within its epoch. A lower epoch is refused, so is a deadline that has passed
or that comes after the end; the end is final for this guard. A *higher* epoch replaces the deadline in both
directions: when its ttl is shorter, the witnesses count that shorter ttl, and what is left of the old epoch must
not outlive it. Clocks are looked at before a renewal is accepted, or a renewal would hide their disagreement.
Rejected: letting the agent shorten a deadline within an epoch (a message that was overtaken would end a healthy
platform; `stop` is the way to end early).
"""

from __future__ import annotations

from agents.fencing.guard_clock import Clocks, disagreement
from agents.fencing.kernel_timer import GUARD_FLOOR_LEAD_NS

RUNG_NONE = 0
RUNG_TERM = 1
RUNG_KILL = 2

EPOCH_MAX = (1 << 62) - 1


class Refused(Exception):
    """A request that the guard does not follow; nothing was changed."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class Rungs:
    """One authority, cut into the rungs of the ladder; all on this host's BOOTTIME."""

    __slots__ = ("deadline_ns", "epoch", "kill_at_ns", "term_at_ns")

    def __init__(self, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int) -> None:
        self.epoch = epoch
        self.term_at_ns = term_at_ns
        self.kill_at_ns = kill_at_ns
        self.deadline_ns = deadline_ns

    @property
    def floor_ns(self) -> int:
        return self.deadline_ns - GUARD_FLOOR_LEAD_NS


class Authority:
    """Owned by one guard. `take` after `check`; `rung_due` at every wake-up; `end` is final."""

    __slots__ = ("ended", "highest_epoch", "rungs", "since")

    def __init__(self, epoch_finished: int = 0) -> None:
        self.highest_epoch = epoch_finished
        self.rungs: Rungs | None = None
        self.ended = False
        self.since: Clocks | None = None

    def check(self, new: Rungs, now: Clocks) -> None:
        """Raises Refused when `new` may not become the authority."""
        if self.ended:
            raise Refused("ended", "the authority of this guard has ended for good; start a new guard")
        if new.epoch < self.highest_epoch or (self.rungs is None and new.epoch == self.highest_epoch):
            raise Refused("epoch-too-low", f"epoch {new.epoch}, but {self.highest_epoch} was seen or finished")
        if not new.term_at_ns <= new.kill_at_ns <= new.floor_ns:
            raise Refused(
                "rungs-out-of-order",
                f"term_at {new.term_at_ns} <= kill_at {new.kill_at_ns} <= deadline - "
                f"{GUARD_FLOOR_LEAD_NS} = {new.floor_ns} must hold",
            )
        current = self.rungs
        if current is not None and new.epoch == current.epoch and new.deadline_ns < current.deadline_ns:
            raise Refused("not-an-extension", f"deadline {new.deadline_ns} is before {current.deadline_ns}; use stop")
        if new.term_at_ns <= now.boot_ns:
            raise Refused("deadline-passed", f"term_at {new.term_at_ns} is not after now {now.boot_ns}")

    def take(self, new: Rungs, now: Clocks) -> None:
        self.rungs = new
        self.highest_epoch = max(self.highest_epoch, new.epoch)
        self.since = now

    def end(self) -> None:
        self.ended = True

    def rung_due(self, now: Clocks) -> tuple[int, str]:
        """The highest rung that is due, with its cause in words. Disagreeing clocks count as expiry."""
        if self.rungs is None or self.since is None:
            return RUNG_NONE, ""
        apart = disagreement(self.since, now)
        if apart is not None:
            return RUNG_KILL, f"clocks disagree: {apart}"
        at = self._later_of_both(self.since, now)
        if at >= self.rungs.kill_at_ns:
            return RUNG_KILL, "deadline: kill_at reached"
        if at >= self.rungs.term_at_ns:
            return RUNG_TERM, "deadline: term_at reached"
        return RUNG_NONE, ""

    @staticmethod
    def _later_of_both(since: Clocks, now: Clocks) -> int:
        """The lease clock's now, or what MONOTONIC_RAW makes of it when that is later."""
        return max(now.boot_ns, since.boot_ns + now.raw_ns - since.raw_ns)

    def counted_ns(self, now: Clocks) -> int:
        """Now on the lease clock, by whichever clock is ahead: what a deadline after the kill is judged by, too."""
        return now.boot_ns if self.since is None else self._later_of_both(self.since, now)

    def next_rung_ns(self, now: Clocks) -> int | None:
        """Nanoseconds until the next rung, None without one."""
        if self.rungs is None or self.since is None:
            return None
        at = self._later_of_both(self.since, now)
        if at < self.rungs.term_at_ns:
            return self.rungs.term_at_ns - at
        return max(0, self.rungs.kill_at_ns - at)
