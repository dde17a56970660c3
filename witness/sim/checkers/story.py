"""No takeover without a cause, quarantine respected: the ledger, read as a story by somebody who has nothing else.

A grant follows the end of the lease before it, and names that end truly; it goes to a site that is neither in
quarantine nor in maintenance and whose clock is fit, in a mode that allows it, under a greater epoch; an end, a claim
and a revocation are the holder's; what an operator alone may do says so. Events are told once, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from proto.commands import Cause, QuarantineCause
from proto.decisions import REASON_TEXT, Reason
from proto.events import Event, EventKind
from proto.groups import Mode
from proto.units import GroupId
from witness.sim.raft.checkers import Findings

ENDS = frozenset({EventKind.RELEASED, EventKind.EXPIRED, EventKind.UNBARRED})
_AFTER = {
    EventKind.RELEASED: REASON_TEXT[Reason.HOLDER_RELEASED],
    EventKind.EXPIRED: REASON_TEXT[Reason.HOLDER_EXPIRED],
    EventKind.UNBARRED: REASON_TEXT[Reason.FIRST_ACTIVATION],
}
_ANY_TIME = frozenset(
    REASON_TEXT[reason]
    for reason in (Reason.OPERATOR_ASKED, Reason.HOLDER_UNFIT, Reason.FAILBACK_DUE, Reason.CLOCK_TOO_FAST)
)
_ADOPTED = f"{Cause.ADOPTED.value}: {REASON_TEXT[Reason.UNDER_PERMIT]}"
_CLOCKS = (EventKind.CLOCK_TOO_SLOW, EventKind.CLOCK_TOO_FAST, EventKind.CLOCK_FIT)
_OPERATORS = REASON_TEXT[Reason.OPERATOR_ASKED]
ACTIVATION_FAILED = "activation failed"
"""How such a release begins."""
_NO_MOVES = frozenset({Mode.PAUSED, Mode.OBSERVE})


@dataclass(slots=True)
class _Story:
    """What the ledger says of one group."""

    epoch: int = 0
    holder: str | None = None
    last_holder: str | None = None
    claimed: bool = False
    vacant: bool = False
    last_end: EventKind = EventKind.UNBARRED
    mode: Mode = Mode.AUTOMATIC
    revoked_for: str | None = None
    """Why, while a handover is under way, and until its successor was granted."""
    quarantine: dict[str, set[str]] = field(default_factory=dict)
    """Causes by site, told or not: who let a claimed lease run out, or failed to activate, is granted again only after
    the ledger told why that is forgiven."""
    maintenance: set[str] = field(default_factory=set)
    clocks: dict[str, EventKind] = field(default_factory=dict)
    """What was told last of each site's clock."""


class StoryChecker:
    def __init__(self, findings: Findings) -> None:
        self.expired = 0
        self.granted = 0
        self._found = findings.found
        self._stories: dict[GroupId, _Story] = {}
        self._highest: dict[GroupId, int] = {}
        """Epochs of all lives: a restore of the witnesses forgets what its backup does not know, this does not."""
        self._tell: dict[EventKind, Callable[[_Story, Event], None]] = {
            EventKind.GRANTED: self._granted,
            EventKind.REGRANTED: self._regranted,
            EventKind.CLAIMED: self._claimed,
            EventKind.REVOKED: self._revoked,
            EventKind.REVOKE_DUE: self._holders,
            EventKind.MODE: self._mode,
            EventKind.MAINTENANCE: self._maintenance,
            EventKind.QUARANTINED: self._quarantined,
            EventKind.QUARANTINE_CLEARED: self._cleared,
            **dict.fromkeys(_CLOCKS, self._clock),
            **dict.fromkeys(ENDS, self._ended),
        }

    def told(self, event: Event) -> None:
        if event.group is None:
            return
        if event.kind is EventKind.GROUP_CREATED:
            self._begins(event.group, event, _Story())
        elif event.kind is EventKind.RESTORED:
            self._begins(event.group, event, self._stories.get(event.group, _Story()))
        tell = self._tell.get(event.kind)
        if tell is not None:
            tell(self._stories.setdefault(event.group, _Story()), event)

    def _wrong(self, event: Event, text: str) -> None:
        self._found("story", f"event {event.seq}: {event.kind.value} of {event.group}: {text}")

    def restored(self, known: Iterable[Event]) -> None:
        """All witnesses begin anew with what a backup knew; this is its ledger, and was judged when it was told."""
        past = StoryChecker(Findings(lambda: 0))
        for event in known:
            past.told(event)
        self._stories = past._stories

    def _begins(self, group: GroupId, event: Event, kept: _Story) -> None:
        """Barred; what operators and quarantines said of it is kept over a restore."""
        former = self._highest.get(group, 0)
        if event.epoch <= former:
            self._wrong(event, f"it begins with epoch {event.epoch}, it had {former} before")
        self._highest[group] = max(former, event.epoch)
        self._stories[group] = _Story(
            event.epoch, mode=kept.mode, quarantine=kept.quarantine, maintenance=kept.maintenance
        )

    # -- the lease -------------------------------------------------------------------------------------------

    def _granted(self, story: _Story, event: Event) -> None:
        self.granted += 1
        if not story.vacant:
            self._wrong(event, f"to {event.site} without an end before")
        highest = max(story.epoch, self._highest.get(GroupId(str(event.group)), 0))
        if event.epoch <= highest:
            self._wrong(event, f"epoch {event.epoch} after {highest}")
        self._highest[GroupId(str(event.group))] = max(highest, event.epoch)
        if event.text.startswith(_ADOPTED):
            self._adopted(story, event)
            return
        self._may_have(story, event, str(event.site))
        reason = _reason(event)
        if reason not in _ANY_TIME and reason != _AFTER[story.last_end]:
            self._wrong(event, f"'{reason}' after {story.last_end.value}")
        if reason in _ANY_TIME - {_OPERATORS} and reason != story.revoked_for:
            self._wrong(event, f"'{reason}' without a handover for it")
        story.epoch, story.holder, story.vacant, story.revoked_for = event.epoch, event.site, False, None

    def _adopted(self, story: _Story, event: Event) -> None:
        """It is active already, by an operator's permit: quarantine and modes that forbid moves do not end that."""
        if story.mode is Mode.OBSERVE:
            self._wrong(event, f"{event.site} is adopted in mode observe")
        story.epoch, story.holder, story.vacant, story.revoked_for = event.epoch, event.site, False, None

    def _regranted(self, story: _Story, event: Event) -> None:
        """To the very site whose lease ran out, and to nobody else; its unclean end is explained by that."""
        highest = max(story.epoch, self._highest.get(GroupId(str(event.group)), 0))
        if not story.vacant or event.epoch <= highest or story.last_end is not EventKind.EXPIRED:
            self._wrong(event, f"epoch {event.epoch} after {highest}, {story.last_end.value}")
        self._not_slow(story, event)
        if story.last_holder != event.site or story.mode is Mode.OBSERVE:
            self._wrong(event, f"{event.site} goes on, but {story.last_holder} was the holder, mode {story.mode.value}")
        self._highest[GroupId(str(event.group))] = max(highest, event.epoch)
        story.quarantine.get(str(event.site), set()).discard(QuarantineCause.UNCLEAN_END.value)
        story.epoch, story.holder, story.vacant = event.epoch, event.site, False

    def _may_have(self, story: _Story, event: Event, site: str) -> None:
        if story.quarantine.get(site):
            causes = ", ".join(sorted(story.quarantine[site]))
            self._found("quarantine", f"event {event.seq}: {event.group} goes to {site} in spite of {causes}")
        if site in story.maintenance:
            self._wrong(event, f"{site} is in maintenance")
        clock = story.clocks.get(site, EventKind.CLOCK_FIT)
        goes_on = event.text.startswith(_ADOPTED) and clock is EventKind.CLOCK_TOO_FAST
        if clock is not EventKind.CLOCK_FIT and not goes_on:
            self._wrong(event, f"{site} has a {clock.value}")
        if story.mode in _NO_MOVES or (story.mode is Mode.MANUAL and _reason(event) != _OPERATORS):
            self._wrong(event, f"to {site} in mode {story.mode.value}: '{_reason(event)}'")

    def _claimed(self, story: _Story, event: Event) -> None:
        self._holders(story, event)
        self._not_slow(story, event)
        story.claimed = True

    def _revoked(self, story: _Story, event: Event) -> None:
        self._holders(story, event)
        successor = event.text.partition(":")[0].rpartition(" to ")[2]
        self._may_have(story, event, successor)
        story.revoked_for = _reason(event)
        if story.revoked_for not in _ANY_TIME:
            self._wrong(event, f"'{story.revoked_for}' is no reason for a handover")
        fast = story.clocks.get(str(event.site)) is EventKind.CLOCK_TOO_FAST
        if story.revoked_for == REASON_TEXT[Reason.CLOCK_TOO_FAST] and not fast:
            self._wrong(event, f"nobody told that the clock of {event.site} is")

    def _ended(self, story: _Story, event: Event) -> None:
        if story.vacant:
            self._wrong(event, "it is vacant")
        if event.kind is not EventKind.UNBARRED:
            self._holders(story, event)
        self.expired += event.kind is EventKind.EXPIRED
        causes = story.quarantine.setdefault(str(event.site), set())
        if event.kind is EventKind.EXPIRED and story.claimed:
            causes.add(QuarantineCause.UNCLEAN_END.value)
        if event.kind is EventKind.RELEASED and event.text.startswith(ACTIVATION_FAILED):
            causes.add(QuarantineCause.ACTIVATION_FAILED.value)
        story.last_holder = story.holder
        story.vacant, story.holder, story.last_end, story.claimed = True, None, event.kind, False

    def _holders(self, story: _Story, event: Event) -> None:
        if (story.epoch, story.holder) != (event.epoch, event.site):
            self._wrong(event, f"by {event.site} in epoch {event.epoch}, but {story.holder} holds {story.epoch}")

    # -- what operators and the rules set --------------------------------------------------------------------

    @staticmethod
    def _mode(story: _Story, event: Event) -> None:
        story.mode = Mode(event.text.partition(" -> ")[2].split(" ")[0])

    @staticmethod
    def _clock(story: _Story, event: Event) -> None:
        story.clocks[str(event.site)] = event.kind

    def _not_slow(self, story: _Story, event: Event) -> None:
        if story.clocks.get(str(event.site)) is EventKind.CLOCK_TOO_SLOW:
            self._wrong(event, f"the clock of {event.site} is too slow for it")

    @staticmethod
    def _maintenance(story: _Story, event: Event) -> None:
        site, _, state = event.text.partition(": ")
        if state.startswith("on"):
            story.maintenance.add(site)
        else:
            story.maintenance.discard(site)

    @staticmethod
    def _quarantined(story: _Story, event: Event) -> None:
        """By a rule, with the site as a field, or by an operator, with the site in the text."""
        first, _, rest = event.text.partition(": ")
        site, cause = (first, rest.split(" ")[0]) if event.site is None else (str(event.site), first)
        story.quarantine.setdefault(site, set()).add(cause)

    @staticmethod
    def _cleared(story: _Story, event: Event) -> None:
        if event.site is not None:
            story.quarantine.get(str(event.site), set()).discard(QuarantineCause.UNCLEAN_END.value)
            return
        site, _, causes = event.text.partition(": ")
        story.quarantine.get(site, set()).difference_update(causes.partition(" (")[0].split(", "))


def _reason(event: Event) -> str:
    """Of a grant or a revocation: 'cause: reason (what was passed over)'."""
    return event.text.partition(": ")[2].partition(" (")[0]
