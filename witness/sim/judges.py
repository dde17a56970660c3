"""All checkers of one schedule, and what sites and witnesses tell them. Who tells does not know who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agents.core.lease_holder import NO_EPOCH
from proto.events import Event
from proto.groups import GroupConfig
from proto.lease import LeaseConstants
from proto.messages import GroupAnswer, Release
from proto.site_messages import HoldAnswer
from proto.units import NS_PER_MS, Epoch, GroupId, Nonce, SiteId
from witness.core.machine import Machine
from witness.core.state import majority
from witness.sim.checkers.activity import ActivityChecker
from witness.sim.checkers.authority import AuthorityChecker
from witness.sim.checkers.copies import CopiesChecker
from witness.sim.checkers.durable import DurableChecker, Told
from witness.sim.checkers.effects import EffectChecker
from witness.sim.checkers.escrow import EscrowChecker
from witness.sim.checkers.expiry import ExpiryChecker
from witness.sim.checkers.held import HeldChecker
from witness.sim.checkers.holds import HoldsChecker
from witness.sim.checkers.license import LicenseChecker
from witness.sim.checkers.license_story import LicenseStoryChecker
from witness.sim.checkers.members import MembersChecker
from witness.sim.checkers.permits import PermitsChecker
from witness.sim.checkers.quarantine import QuarantineChecker
from witness.sim.checkers.replicas import ReplicaChecker
from witness.sim.checkers.restored import RestoreChecker
from witness.sim.checkers.story import StoryChecker
from witness.sim.life import Life
from witness.sim.raft.checkers import Findings


class Judges:
    def __init__(self, findings: Findings, now: Callable[[], int], groups: Iterable[GroupConfig]) -> None:
        self.violations = findings.violations
        self.findings = findings
        self.found = findings.found
        self._places: dict[str, str] = {}
        self.holds = HoldsChecker(findings, now, groups)
        self.copies = CopiesChecker(findings, now)
        self.activity = ActivityChecker(findings, now, self.place_of, self.holds.bound_by_a_copy, self.copies)
        self.authority = AuthorityChecker(findings, now, self.place_of)
        self.members = MembersChecker(findings, now, self._lags)
        self.held = HeldChecker(findings, now, self.authority.until_ns)
        self.license = LicenseChecker(findings, now, self.place_of)
        self.escrow = EscrowChecker(findings)
        self.licenses = LicenseStoryChecker(findings)
        self.permits = PermitsChecker(findings, now, groups, self.activity.active)
        self.effects = EffectChecker(findings)
        self.replicas = ReplicaChecker(findings)
        self.durable = DurableChecker(findings)
        self.story = StoryChecker(findings)
        self.quarantine = QuarantineChecker(findings)
        self.expiry = ExpiryChecker(findings, now)
        self.restores = RestoreChecker(findings, now)
        self._thawed_at: dict[str, int] = {}
        self._now = now
        for config in groups:
            self.license.lock_delay(config.group, NO_EPOCH, config.constants.lock_delay_ms * NS_PER_MS)

    def belongs(self, member: str, lead: str) -> None:
        """To the site of this lead."""
        self._places[member] = lead

    def place_of(self, host: str) -> str:
        return self._places.get(host, host)

    def _lags(self, group: GroupId, member: str) -> bool:
        """It may still count by clocks that had been frozen, also when nothing runs there any more."""
        since_ns = self._thawed_at.get(member)
        bound_ns = self.authority.longest_ns(group, member)
        lags = since_ns is not None and self._now() - since_ns <= bound_ns
        return lags or self.activity.excused(group, member)

    # -- what runs at the sites ------------------------------------------------------------------------------

    def begun(self, group: GroupId, host: str, epoch: Epoch) -> None:
        """The first activation step of an epoch is about to start."""
        copied = self.holds.bound_by_a_copy(group, self.place_of(host))
        self.copies.begun(group, host, epoch)
        self.licenses.begun(group, epoch)
        excused = copied or self.activity.thawing(group)
        self.license.opened(
            group, host, epoch, excused=excused, lags=lambda one: self.copies.under_its_feet(group, one)
        )
        self.activity.begun(group, host, epoch)
        self.authority.begun(group, host, epoch)
        self.holds.begun(group, host)

    def moved(self, group: GroupId, host: str, epoch: Epoch) -> bool:
        """A guard was armed for an epoch; True when what runs there goes on under a new one."""
        if not self.authority.moved(group, host, epoch):
            return False
        self.copies.moved(group, host, epoch)
        self.activity.moved(group, host, epoch)
        self.license.moved(group, host, epoch, [member for member, lead in self._places.items() if lead == host])
        return True

    def down(self, group: GroupId, host: str, *, clean: bool) -> None:
        """Nothing of the group's active role runs on the host any more; `clean`: an orderly stop did it."""
        excused = self.activity.excused(group, host)
        self.copies.down(group, host)
        self.activity.dead(group, host)
        self.authority.dead(group, host)
        self.license.ended(group, host, clean=clean, excused=excused)

    def stands_still(self, group: GroupId, host: str) -> None:
        """The machine executes nothing; what it ran is there and may go on."""
        self.activity.stands_still(group, host)
        self.authority.stands_still(group, host)
        self.license.ended(group, host, clean=False)

    def goes_on(self, group: GroupId, host: str) -> None:
        self.authority.goes_on(group, host)
        self.license.went_on(group, host)
        self.activity.running(group, host)

    def thaws(self, host: str, groups: Iterable[GroupId], span_ns: int) -> None:
        """All clocks of the host stood still for so long; told before `goes_on`."""
        self.authority.frozen(host, span_ns)
        self.holds.frozen(host, span_ns)
        self._thawed_at[host] = self._now()
        for group in groups:
            self.activity.thawed(group, host, self.authority.longest_ns(group, host))

    def ends_frozen(self, host: str, span_ns: int) -> None:
        """It goes on no more; told before what it had is gone."""
        self.authority.frozen(host, span_ns)
        self.holds.frozen(host, span_ns)

    def copied(self, host: str, copy: str, groups: Iterable[GroupId]) -> None:
        """The machine was copied while it ran: what the two have of now on is their own."""
        self.copies.copied(host, copy)
        self.authority.copied(host, copy)
        self.held.copied(host, copy)
        self.holds.copied(host, copy)
        if host in self._thawed_at:
            self._thawed_at[copy] = self._thawed_at[host]
        for group in groups:
            self.license.copied(group, host, copy)
            self.activity.copied(group, host, copy)

    def sent(self, host: str, nonce: Nonce) -> None:
        self.authority.sent(host, nonce)

    def released(self, host: str, release: Release) -> None:
        self.members.released(release.group, host, release.epoch)
        self.copies.released(host, release)

    def answered(self, host: str, nonce: Nonce, answers: tuple[GroupAnswer, ...]) -> None:
        for group in self.authority.answered(host, nonce, answers, since_ns=self._thawed_at.get(host, 0)):
            self.activity.renewed(group, host)
        for answer in answers:
            self.permits.answered(answer.group, host)

    def permitted(self, group: GroupId, host: str, epoch: Epoch, constants: LeaseConstants) -> None:
        """Its agent extends its own lease by the epoch of a permit; it counts while the permit is in use."""
        if self.permits.counts(group, host, epoch):
            self.authority.permitted(group, host, epoch, constants)
            self.license.lock_delay(group, epoch, constants.lock_delay_ms * NS_PER_MS)
            self.activity.renewed(group, host)

    def held_by(self, host: str, site: SiteId, answer: HoldAnswer) -> None:
        held = self.holds.held(host, site, answer)
        if held is not None:
            self.authority.held(answer.group, host, held.epoch, held.until_ns)
            if held.asked_ns > self._thawed_at.get(host, -1):
                self.activity.renewed(answer.group, host)

    def hold_ends(self, group: GroupId, host: str, epoch: Epoch) -> None:
        """It tells the other sites that its epoch is over."""
        self.copies.holds_ended(group, host, epoch)
        if self.authority.runs(group, host) == epoch:
            self.found("promise", f"{host} ends the holds of {group} in epoch {epoch} while it runs")

    def member_renewed(self, host: str, nonce: Nonce, groups: Iterable[GroupId]) -> None:
        """Its lead handed it authority for an ask of its."""
        if self.members.answered(host, nonce) > self._thawed_at.get(host, 0):
            for group in groups:
                self.activity.renewed(group, host)

    # -- what the witnesses decide ---------------------------------------------------------------------------

    def applied(self, life: Life, events: list[Event]) -> None:
        machine = life.node.machine
        self.replicas.applied(str(life.witness), life.index, machine)
        self.escrow.applied(life)
        for event in events:
            self.story.told(event)
            self.quarantine.told(event)
            self.expiry.expired(event, majority(len(machine.state.witnesses)))
            self.restores.told(event, machine)
            self.copies.event(event)
            self.escrow.event(event)
            self.licenses.event(event)
            self.permits.told(event)
            self._delay(event, machine)
        self.expiry.applied(machine)

    def _delay(self, event: Event, machine: Machine) -> None:
        group = None if event.group is None else machine.state.groups.get(event.group)
        if group is not None and group.lease is not None and group.lease.epoch == event.epoch:
            delay_ns = group.lease.constants.lock_delay_ms * NS_PER_MS
            self.license.lock_delay(group.config.group, event.epoch, delay_ns)

    def begun_anew(self, known: list[Event], made: Iterable[Event], index: int, lost_ns: int) -> None:
        """All were lost at `lost_ns` and restored as of `index`: the backup's ledger, and its continuation."""
        told = [*known, *made]
        self.replicas.restored(told)
        self.durable.restored(index)
        self.expiry.restored()
        self.restores.restored(lost_ns)
        self.copies.restored()
        self.escrow.restored()
        self.story.restored(known)
        for event in told[len(known) :]:
            self.story.told(event)

    def restored(self, life: Life) -> None:
        self.replicas.applied(str(life.witness), life.index, life.node.machine, always=True)

    def told(self, life: Life, index: int, asked: int) -> None:
        ledger = life.node.machine.state.ledger
        self.durable.told(Told(str(life.witness), index, ledger.head_seq, ledger.head_chain), asked)

    # -- the last looks --------------------------------------------------------------------------------------

    def look(self, lives: Iterable[Life]) -> None:
        """What holds at any instant: an unbroken ledger, equal states, nothing that runs without authority."""
        self.replicas.verify()
        self.authority.look()
        for life in lives:
            self.replicas.applied(str(life.witness), life.index, life.node.machine, always=True)

    def due(self) -> None:
        """A moment before the end: what was told until now must be everywhere by then."""
        self.durable.due()
        self.escrow.due()

    def ends(self, lives: Iterable[Life]) -> None:
        """All is healed and quiet: nothing that was told is missing, in memory or on a disk."""
        for life in lives:
            who = str(life.witness)
            self.durable.ends(who, life.index)
            stored = life.stored_events()
            self.replicas.stored(who, stored)
            self.permits.ends(life.node.machine)
            self.escrow.ends(life.node.machine)
            self.durable.ledger(who, stored)
