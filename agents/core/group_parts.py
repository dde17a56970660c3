"""(11) What one group on this site is made of: holder, holds, licenses, plans; what they say together, and its state.

Rule: a state is entered by the table alone (agents/core/site.py), and one write of bounds is under way at a time. What
moves it is agents/core/group_life.py.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from agents.core.effects import Effect, PlanKind, StoreBounds
from agents.core.health import HealthSummary
from agents.core.holds_given import HoldsGiven
from agents.core.holds_taken import Held, HoldsTaken
from agents.core.lease_holder import NO_EPOCH, LeaseHolder
from agents.core.licenses import GroupLicenses
from agents.core.life_start import GroupLifeStart
from agents.core.plan_numbers import PlanNumbers
from agents.core.release import EpochEnd
from agents.core.report import site_budgets, timing_blockers
from agents.core.settings import AgentSettings, GroupSettings
from agents.core.site import LIVE_STATES, SiteInput, site_after
from proto.health import DORMANT_STATES, SiteState
from proto.lease import LeaseConstants
from proto.timing import LocalDeadlines, SiteBudgets, local_deadlines
from proto.units import InstantNs


class Storing(Enum):
    CLAIM = "claim"
    REGRANT = "regrant"
    PERMIT = "permit"
    FINISH = "finish"


class GroupParts:
    """Owns one group's lease holder and state; `emit` takes effects in order."""

    def __init__(
        self,
        settings: GroupSettings,
        agent: AgentSettings,
        holder: LeaseHolder,
        health: HealthSummary,
        emit: Callable[[Effect], None],
        tokens: Callable[[], bytes],
        life: GroupLifeStart,
    ) -> None:
        self.settings = settings
        self.holder = holder
        self.health = health
        self.state = SiteState.UNKNOWN
        self.containment = "not tried yet"
        self.lacks: tuple[str, ...] = ()
        """What the guard needs and cannot have here: rights, an interface, a device."""
        self.urgent = True
        """Something changed that the witnesses should hear now."""
        self.end = EpochEnd()
        self.trouble = ""
        """Why the site was fenced or cannot prove itself down, for people."""
        self.unknown = False
        """The witnesses have no such group, or it has no such site."""
        self.answered_version = 0
        """Of the group's configuration, as the newest answer said."""
        self.given = HoldsGiven(
            settings.group, emit, stored=life.promise, cold_since=life.started, linked=bool(agent.peers)
        )
        self.taken = HoldsTaken(settings.group, emit, tokens, life.number_first)
        self.licenses = GroupLicenses(settings.group, settings.licenses, life.sealed, emit)
        self.sites = life.sites
        """The group's whole set of sites, of the version that is reported."""
        self.promising = False
        """It claims nothing: a promise is outstanding, or one may be from before a cold start."""
        self.known_constants: LeaseConstants | None = None
        self._agent = agent
        self._emit = emit
        self._tokens = tokens
        self._plans = PlanNumbers(settings.group, emit)
        self._storing: Storing | None = None
        self._stored = (holder.bound, holder.finished)
        self._verify_at: InstantNs | None = None
        self._revoked = False
        self._cause = "start"
        self._closing = False
        self.superseded = False
        """The witnesses say that another one speaks for this site, and its word counts."""
        self._life = life
        self._finish_again = False
        """The epoch ended while a bound was being stored: its end is stored next."""
        self._told_epoch = NO_EPOCH
        """The epoch that the resources know."""
        self._ended: tuple[SiteInput, bool] | None = None
        """Verified down, how and whether in order; its epoch goes on for a last look at its licenses' keys."""

    def budgets(self, constants: LeaseConstants) -> SiteBudgets:
        return site_budgets(self.settings, constants)

    def host_blockers(self) -> tuple[str, ...]:
        """Why this host cannot carry the group: budgets that do not fit its lease, or what its guard lacks."""
        constants = self.known_constants
        licenses = self.licenses.blockers(None if constants is None else constants.lock_delay_ms)
        return self.lacks + timing_blockers(constants, self.settings) + licenses

    def deadlines(self) -> LocalDeadlines | None:
        authority, constants = self.holder.authority, self.holder.constants
        if authority is None or constants is None:
            return None
        return local_deadlines(authority.deadline, self.budgets(constants))

    def held(self) -> Held | None:
        """What holds are asked for; None while nothing is held by an authority."""
        constants = self.holder.constants
        if self.holder.epoch == NO_EPOCH or constants is None:
            return None
        incarnation, escrow = self._life.incarnation(), self.licenses.items()
        return Held(self._agent.site, incarnation, self.holder.epoch, self.holder.claim, constants, escrow)

    # -- its state ----------------------------------------------------------------------------------------

    def _move(self, site_input: SiteInput) -> bool:
        state = site_after(self.state, site_input)
        if state is None:
            return False
        if state in DORMANT_STATES or (state in LIVE_STATES) is not (self.state in LIVE_STATES):
            self.licenses.role_changed()
        self.state = state
        self.urgent = True
        return True

    def _store(self, storing: Storing) -> None:
        """At most one is under way: its answer must not be taken for a later one's."""
        if self._storing is not None:
            self._finish_again = True
            return
        self._storing = storing
        self._emit(StoreBounds(self.settings.group, self.holder.bound, self.holder.finished))

    def _start(self, kind: PlanKind, timeout_ms: int, deadlines: LocalDeadlines | None) -> None:
        self._plans.start(kind, self.holder.epoch, self._cause, deadlines, timeout_ms)
