"""The lease as witnesses count and keep it: timers, votes, grants, ends, quarantine (witness/core)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mutant import Mutant, SimFocus, sim_broken

from proto.commands import QuarantineCause, VoteKind
from proto.decisions import Reason
from proto.units import Epoch, WitnessId
from witness.core import decide, group_rules, heartbeats, lease_rules
from witness.core.timers import LeaseTimers
from witness.core.transitions import LeaseInput, Phase

EARLY = frozenset({"overlap", "early-expiry"})
STORY = frozenset({"overlap", "story", "epoch"})
STUCK = frozenset({"stuck"})
JUST_STARTED_NS = 2_000_000_000


def one_voter_counts_twice(patch: pytest.MonkeyPatch) -> None:
    def cast(scope, command, vote):
        group = scope.state.groups.get(vote.group)
        if (
            group is None
            or group.lease is None
            or (group.lease.epoch, group.lease.renewal) != (vote.epoch, vote.number)
        ):
            return False
        group.lease.votes.add(WitnessId(f"{command.witness}-{len(group.lease.votes)}"))
        if len(group.lease.votes) >= 2:
            lease_rules._expire(scope, group, group.lease)
        return True

    patch.setattr(lease_rules, "_cast_expiry", cast)


def votes_outlive_a_renewal(patch: pytest.MonkeyPatch) -> None:
    right = heartbeats._claim_or_renew

    def claim_or_renew(scope, group, lease, record, entry):
        votes = set(lease.votes)
        answer = right(scope, group, lease, record, entry)
        lease.votes |= votes
        return answer

    patch.setattr(heartbeats, "_claim_or_renew", claim_or_renew)


def a_restart_shortens_the_timer(patch: pytest.MonkeyPatch) -> None:
    right = LeaseTimers._start

    def start(self, kind, name, epoch, number, wait):
        known = (kind, name) in self._timers
        right(self, kind, name, epoch, number, wait // 10 if self._counted < JUST_STARTED_NS and not known else wait)

    patch.setattr(LeaseTimers, "_start", start)


def a_renewal_starts_no_timer(patch: pytest.MonkeyPatch) -> None:
    """The timer keeps its old number: this witness never votes for the lease as it is now."""
    right = LeaseTimers.follow

    def follow(self, name, group):
        timer = self._timers.get((VoteKind.EXPIRY, name))
        lease = None if group is None else group.lease
        if timer is None or lease is None or timer.epoch != lease.epoch:
            right(self, name, group)

    patch.setattr(LeaseTimers, "follow", follow)


def born_vacant(patch: pytest.MonkeyPatch) -> None:
    right = group_rules._create

    def create(scope, command):
        outcome = right(scope, command)
        group = scope.state.groups.get(command.config.group)
        if outcome.reason is Reason.OK and group is not None:
            group.phase, group.lease = Phase.VACANT, None
        return outcome

    patch.setattr(group_rules, "_create", create)


def tombstones_forgotten(patch: pytest.MonkeyPatch) -> None:
    right = group_rules._create

    def create(scope, command):
        scope.state.tombstones.pop(command.config.group, None)
        return right(scope, command)

    patch.setattr(group_rules, "_create", create)


def a_release_of_anybody(patch: pytest.MonkeyPatch) -> None:
    """Epoch, holder, incarnation and claim are not compared: a late copy ends the next lease."""
    from proto.commands import ReleaseLease
    from witness.core import machine

    right = lease_rules.release

    def release(scope, command):
        group = scope.state.groups.get(command.group)
        lease = None if group is None else group.lease
        if lease is None or lease.site is None:
            return right(scope, command)
        said = {"epoch": lease.epoch, "site": lease.site, "incarnation": lease.incarnation, "claim": lease.claim}
        return right(scope, replace(command, **said))

    patch.setitem(machine._RULES, ReleaseLease, release)


def an_unclean_end_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    right = lease_rules.quarantine

    def quarantine(scope, group, lease, cause, note):
        if cause is not QuarantineCause.UNCLEAN_END:
            right(scope, group, lease, cause, note)

    patch.setattr(lease_rules, "quarantine", quarantine)


def a_failed_activation_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    right = lease_rules.quarantine

    def quarantine(scope, group, lease, cause, note):
        if cause is not QuarantineCause.ACTIVATION_FAILED:
            right(scope, group, lease, cause, note)

    patch.setattr(lease_rules, "quarantine", quarantine)


def quarantine_is_not_asked(patch: pytest.MonkeyPatch) -> None:
    """Neither the decision nor the machine looks at it."""
    blockers, grantable = decide.blockers_of, lease_rules.grantable

    def blockers_of(group, site, sight, now):
        return [one for one in blockers(group, site, sight, now) if one.reason is not Reason.QUARANTINED]

    def may_be_granted(record, command):
        problem = grantable(record, command)
        return None if problem is Reason.QUARANTINED else problem

    patch.setattr(decide, "blockers_of", blockers_of)
    patch.setattr(lease_rules, "grantable", may_be_granted)


def lifted_without_proof(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(heartbeats, "proven_down", lambda report, epoch: True)


def a_revoke_vacates(patch: pytest.MonkeyPatch) -> None:
    from proto.commands import Revoke
    from witness.core import machine

    right = lease_rules.revoke

    def revoke(scope, command):
        outcome = right(scope, command)
        group = scope.state.groups.get(command.group)
        if outcome.reason is Reason.OK and group is not None:
            lease_rules.end_lease(scope, group, LeaseInput.RELEASE)
        return outcome

    patch.setitem(machine._RULES, Revoke, revoke)


def a_revokes_deadline_vacates(patch: pytest.MonkeyPatch) -> None:
    right = lease_rules._cast_revoke_due

    def cast(scope, command, vote):
        counted = right(scope, command, vote)
        group = scope.state.groups.get(vote.group)
        if group is not None and group.phase is Phase.OVERDUE:
            lease_rules.end_lease(scope, group, LeaseInput.EXPIRY)
        return counted

    patch.setattr(lease_rules, "_cast_revoke_due", cast)


def a_grant_without_compare(patch: pytest.MonkeyPatch) -> None:
    """Whatever the group is by now, the grant is taken."""
    from proto.commands import Grant
    from witness.core import machine

    right = lease_rules.grant

    def grant(scope, command):
        group = scope.state.groups.get(command.group)
        if group is None:
            return right(scope, command)
        group.phase = Phase.VACANT
        epoch = Epoch(lease_rules.epoch_floor(group) + 1)
        return right(scope, replace(command, expected_epoch=group.epoch, epoch=epoch))

    patch.setitem(machine._RULES, Grant, grant)


def a_silent_holder_is_not_waited_out(patch: pytest.MonkeyPatch) -> None:
    """A lease ends with the first vote that its holder was silent for, counted from a fifth of D."""
    import witness.core.timers
    from proto.lease import witness_wait

    patch.setattr(witness.core.timers, "witness_wait", lambda constants: witness_wait(constants) // 5)


SILENT = ("site-freeze", "cut-site")
UNCLEAN = frozenset({"quarantine"})
MUTANTS = (
    sim_broken("wait-without-drift", "a witness waits for ttl and the drift of both clocks", "lease: D"),
    sim_broken("minority-expires", "a majority of witnesses ends a lease", "lease: votes"),
    sim_broken("step-uncapped", "a wake-up counts at most one capped step", "lease: counted time"),
    sim_broken("stale-votes-count", "a vote counts for exactly one renewal", "lease: votes"),
    sim_broken("votes-outlive-renewals", "a timer starts in full with each renewal", "lease: counted time"),
    sim_broken("epoch-reused", "an epoch is granted once", "lease: epochs"),
    Mutant(
        "one-voter-counts-twice",
        "votes of a majority are those of different witnesses",
        "lease: votes",
        one_voter_counts_twice,
        SimFocus(("mad-clock", "cut-site", "lossy"), EARLY, 30),
    ),
    Mutant(
        "counted-votes-stay",
        "a renewal empties the votes that were counted",
        "lease: votes",
        votes_outlive_a_renewal,
        tests=("unit/test_lease_rules.py::test_a_renewal_makes_votes_stale_and_forgets_the_counted_ones",),
        why="the vote that completes a majority has counted the last renewal in full, so nothing ends early",
    ),
    Mutant(
        "restart-shortens-timer",
        "a restarted witness counts every lease in full",
        "lease: counted time",
        a_restart_shortens_the_timer,
        SimFocus(("witness-kill-all", "lossy"), EARLY, 30),
    ),
    Mutant(
        "timer-keeps-old-number",
        "a lease that nobody renews ends",
        "lease: liveness",
        a_renewal_starts_no_timer,
        SimFocus(("agent-crash", "site-power"), STUCK, 20),
    ),
    Mutant("born-vacant", "a new group begins barred", "lease: start", born_vacant, SimFocus((), STORY, 5)),
    Mutant(
        "tombstones-forgotten",
        "a group that is made again goes on above its old epochs",
        "lease: epochs",
        tombstones_forgotten,
        SimFocus(("delete", "shutdown", "switchover"), STORY, 60),
    ),
    Mutant(
        "release-of-anybody",
        "a release ends exactly the lease of its epoch, holder, incarnation and claim",
        "lease: release",
        a_release_of_anybody,
        SimFocus(("switchover", "slow", "doubling"), STORY, 60),
    ),
    Mutant(
        "unclean-end-forgotten",
        "a site whose lease ran out is not granted again before it is proven down",
        "quarantine",
        an_unclean_end_is_forgotten,
        SimFocus(SILENT, UNCLEAN, 30),
    ),
    Mutant(
        "failed-activation-retried",
        "a failed activation is not retried at once",
        "quarantine",
        a_failed_activation_is_forgotten,
        SimFocus(("start-fails",), UNCLEAN, 30),
    ),
    Mutant(
        "quarantine-not-asked",
        "a site in quarantine is not granted",
        "quarantine",
        quarantine_is_not_asked,
        SimFocus(("start-fails", "quarantine"), UNCLEAN, 20),
    ),
    Mutant(
        "lifted-without-proof",
        "an unclean end is forgiven only when that epoch is proven finished",
        "quarantine",
        lifted_without_proof,
        tests=("unit/test_heartbeats.py::test_an_unclean_end_is_forgiven_on_proof_only",),
        why="the guard has ended what ran before the lease ran out, whatever the site says of it",
    ),
    Mutant(
        "revoke-vacates",
        "a revoke never vacates",
        "lease: handover",
        a_revoke_vacates,
        SimFocus(("switchover",), STORY, 20),
    ),
    Mutant(
        "revoke-deadline-vacates",
        "the end of a handover's time ends renewals, not the lease",
        "lease: handover",
        a_revokes_deadline_vacates,
        SimFocus(("switchover", "stop-hangs", "stop-deaf"), STORY, 30),
    ),
    Mutant(
        "grant-without-compare",
        "a grant is compare-and-set on a vacant lease",
        "lease: grant",
        a_grant_without_compare,
        SimFocus(("witness-delay", "witness-cut-set", "switch-twice", "switchover", "witness-kill"), STORY, 60),
    ),
    Mutant(
        "silence-shortens-lease",
        "a lease lasts D however silent its holder is",
        "lease: D",
        a_silent_holder_is_not_waited_out,
        SimFocus((), EARLY, 10),
    ),
)
