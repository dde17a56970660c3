"""What must hold, judged from outside: true time, real processes, and the ledger as anybody may read it.

Rule: nothing here asks the code under test whether it was right. A site is *active* from the first activation step
in its guard until the guard's namespace is dead; that, and not anybody's belief, is compared across sites. The
ledger is read as a story of its own: who was granted what after which end. A violation is kept, never raised: the
schedule goes on and tells all that broke.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from proto.commands import QuarantineCause
from proto.events import GENESIS_HASH, Event, EventKind
from proto.lease import LeaseConstants, witness_wait
from proto.units import NS_PER_MS, PPM, Epoch, GroupId
from witness.core.ledger import verify
from witness.core.machine import Machine
from witness.sim.raft.checkers import Findings

HASH_EVERY = 16
"""Every so many indexes the state's hash is taken on each replica: it costs as much as dozens of applies."""
LEAP_COUNTS_NS = 200 * NS_PER_MS
"""proto.limits.TIMER_STEP_MAX_NS as promised, not as the code under test has it."""


class Checkers:
    def __init__(self, findings: Findings) -> None:
        self.violations = findings.violations
        self.found = findings.found
        self.activations = 0
        self._active: dict[GroupId, set[str]] = {}
        self._begun: dict[GroupId, Epoch] = {}

    def active(self, group: GroupId) -> list[str]:
        return sorted(self._active.get(group, ()))

    # -- I1 and I2: what runs, by true time -------------------------------------------------------------------

    def begun(self, group: GroupId, host: str, epoch: Epoch) -> None:
        """The first activation step of an epoch is about to start."""
        self.activations += 1
        highest = self._begun.get(group, Epoch(0))
        if epoch <= highest:
            self.found("epoch", f"{host} begins {group} under epoch {epoch}, epoch {highest} was begun before")
        self._begun[group] = max(highest, epoch)
        self.running(group, host)

    def running(self, group: GroupId, host: str) -> None:
        active = self._active.setdefault(group, set())
        others = sorted(active - {host})
        active.add(host)
        if others:
            self.found("overlap", f"{host} runs {group} while {', '.join(others)} runs it too")

    def dead(self, group: GroupId, host: str) -> None:
        """Nothing of the group's active role runs on the host any more (or the host itself stands still)."""
        self._active.setdefault(group, set()).discard(host)


class ReplicaChecker:
    """I4: replicas with an equal applied index have equal states. P6: one ledger, whoever tells it."""

    def __init__(self, found: Callable[[str, str], None]) -> None:
        self.events: list[Event] = []
        self._found = found
        self._hashes: dict[int, tuple[str, str]] = {}

    def restored(self, told: tuple[Event, ...]) -> None:
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

    def recorded(self, witness: str, events: tuple[Event, ...]) -> list[Event]:
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


@dataclass(slots=True)
class _Story:
    """What the ledger says of one group."""

    epoch: int = 0
    holder: str | None = None
    vacant: bool = False
    ended: bool = False
    """A lease that somebody had claimed has ended."""
    claimed: bool = False
    barred: dict[str, set[QuarantineCause]] = field(default_factory=dict)
    """Sites that may not be granted, and why, until the ledger says that it is over."""

    def bar(self, event: Event, cause: QuarantineCause) -> None:
        self.barred.setdefault(str(event.site), set()).add(cause)


class StoryChecker:
    """No takeover without a cause: a grant follows the end of the lease before, an end follows a lease.

    Quarantine is respected: who let a claimed lease run out, or failed to activate, is granted again only after the
    ledger told why that is forgiven.
    """

    ENDS = frozenset({EventKind.RELEASED, EventKind.EXPIRED, EventKind.UNBARRED})

    def __init__(self, found: Callable[[str, str], None]) -> None:
        self.expired = 0
        self.granted = 0
        self._found = found
        self._stories: dict[GroupId, _Story] = {}

    def told(self, event: Event) -> None:
        if event.group is None:
            return
        if event.kind in (EventKind.GROUP_CREATED, EventKind.RESTORED):
            self._begins(event.group, event)
        story = self._stories.setdefault(event.group, _Story())
        if event.kind is EventKind.GRANTED:
            self._granted(story, event)
        elif event.kind is EventKind.CLAIMED:
            self._holders(story, event)
            story.claimed = True
        elif event.kind is EventKind.QUARANTINED:
            self._quarantined(story, event)
        elif event.kind is EventKind.QUARANTINE_CLEARED:
            self._cleared(story, event)
        elif event.kind in self.ENDS:
            if story.vacant:
                self._found("story", f"event {event.seq}: {event.kind.value} of {event.group}, which is vacant")
            if event.kind is not EventKind.UNBARRED:
                self._holders(story, event)
            self.expired += event.kind is EventKind.EXPIRED
            if event.kind is EventKind.EXPIRED and story.claimed:
                story.bar(event, QuarantineCause.UNCLEAN_END)
            if event.kind is EventKind.RELEASED and event.text.startswith("activation failed"):
                story.bar(event, QuarantineCause.ACTIVATION_FAILED)
            story.vacant, story.holder, story.claimed = True, None, False

    def _begins(self, group: GroupId, event: Event) -> None:
        former = self._stories.get(group, _Story()).epoch
        if event.epoch <= former:
            self._found("story", f"event {event.seq}: {group} begins with epoch {event.epoch}, it had {former} before")
        self._stories[group] = _Story(event.epoch)

    def _granted(self, story: _Story, event: Event) -> None:
        self.granted += 1
        if not story.vacant:
            self._found("story", f"event {event.seq}: {event.group} granted to {event.site} without an end before")
        if event.epoch <= story.epoch:
            self._found("story", f"event {event.seq}: epoch {event.epoch} granted after {story.epoch}")
        causes = story.barred.get(str(event.site))
        if causes:
            says = ", ".join(sorted(cause.value for cause in causes))
            self._found("quarantine", f"event {event.seq}: {event.group} granted to {event.site} in spite of {says}")
        story.epoch, story.holder, story.vacant = event.epoch, event.site, False

    def _quarantined(self, story: _Story, event: Event) -> None:
        if event.site is not None:
            story.bar(event, QuarantineCause(event.text.partition(":")[0]))

    def _cleared(self, story: _Story, event: Event) -> None:
        """By proof, or by somebody who names the site and the causes."""
        if event.site is not None:
            story.barred.get(str(event.site), set()).discard(QuarantineCause.UNCLEAN_END)
            return
        site, _, causes = event.text.partition(" (")[0].partition(": ")
        story.barred.get(site, set()).difference_update(QuarantineCause(cause) for cause in causes.split(", "))

    def _holders(self, story: _Story, event: Event) -> None:
        if (story.epoch, story.holder) != (event.epoch, event.site):
            says = f"{event.kind.value} by {event.site} in epoch {event.epoch}"
            self._found("story", f"event {event.seq}: {says}, but {story.holder} holds {story.epoch}")


class ExpiryChecker:
    """Nothing expires early: the last renewal was applied nowhere later than D before, by any sound clock."""

    def __init__(self, found: Callable[[str, str], None], now: Callable[[], int]) -> None:
        self._found = found
        self._now = now
        self._since: dict[GroupId, tuple[tuple[int, int], int, LeaseConstants]] = {}
        self._leaps: dict[GroupId, int] = {}

    def applied(self, machine: Machine) -> None:
        for name, group in machine.state.groups.items():
            lease = group.lease
            if lease is None:
                continue
            number = (lease.epoch, lease.renewal)
            known = self._since.get(name)
            if known is None or known[0] < number:
                self._since[name] = (number, self._now(), lease.constants)
                self._leaps[name] = 0

    def leapt(self) -> None:
        """Witnesses' clocks jumped ahead: each may have counted one capped step too much, and no more."""
        for name in self._leaps:
            self._leaps[name] += 1

    def expired(self, event: Event) -> None:
        known = None if event.group is None else self._since.get(event.group)
        if known is None or event.group is None or event.kind is not EventKind.EXPIRED:
            return
        (epoch, renewal), since_ns, constants = known
        counted_ns = witness_wait(constants) - self._leaps[event.group] * LEAP_COUNTS_NS
        shortest_ns = counted_ns * PPM // (PPM + constants.drift_max_ppm)
        gone_ns = self._now() - since_ns
        if epoch == event.epoch and gone_ns < shortest_ns - 1_000:
            says = f"renewal {renewal} of epoch {epoch} expired after {gone_ns} ns, {shortest_ns} ns must pass"
            self._found("early-expiry", f"{event.group}: {says}")
