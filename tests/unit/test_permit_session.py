"""After an operator's word that no permit is in use: what ran there may have ended a moment before (seed 151200)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, G, config
from permit_rig import AFTER_MS, RECONCILE, PermitRig
from test_permit_decisions import Leader

from proto.commands import Cause, ConfigureGroup, Grant
from proto.decisions import Decision, DecisionKind, Reason
from proto.lease import LeaseConstants, lock_delay_wait
from proto.messages import Verdict
from proto.permit import CLEARED_LEAP
from proto.units import Epoch, InstantNs
from witness.core import session_wait
from witness.core.sight import GroupSight
from witness.core.transitions import Phase

LOCKED = replace(config().constants, lock_delay_ms=700)
DELAY_NS = lock_delay_wait(LOCKED)


class Vouching(Leader):
    """A vacant group with a lock delay; dc-a is heard and dc-b is away."""

    def __init__(self, constants: LeaseConstants = LOCKED) -> None:
        super().__init__()
        config = replace(self.group.config, constants=constants)
        self.foreign(ConfigureGroup(config, self.group.version, AUTHOR))
        self.both()
        self.b_is_away()

    def b_is_away(self) -> None:
        self.wall_ms += AFTER_MS
        self.heard_a()

    def heard_a(self, after_ns: int = 0) -> Decision:
        self.now += after_ns
        for _ in range(2):
            self.seq += 1
            self.says(A)
        return self.decision()


def test_nothing_is_granted_for_the_lock_delay_behind_the_word():
    rig = Vouching()
    assert Reason.RECONCILING in [one.reason for one in rig.decision().blockers]
    rig.foreign(RECONCILE)
    found = rig.heard_a()
    assert found.kind is DecisionKind.NOTHING
    assert (A, Reason.SESSION_MAY_LIVE, "0.7 s left") in [(one.site, one.reason, one.seen) for one in found.blockers]
    assert rig.heard_a(DELAY_NS - 1).kind is DecisionKind.NOTHING
    found = rig.heard_a(1)
    assert (found.kind, found.site) == (DecisionKind.GRANT, A)


def test_without_a_lock_delay_the_word_is_enough():
    rig = Vouching(config().constants)
    rig.foreign(RECONCILE)
    assert rig.heard_a().kind is DecisionKind.GRANT


def test_a_second_word_begins_the_wait_anew():
    rig = Vouching()
    rig.foreign(RECONCILE)
    rig.heard_a(DELAY_NS)
    rig.proposed.clear()  # the leader had no majority for what it decided
    rig.both()
    rig.b_is_away()
    rig.foreign(RECONCILE)
    assert rig.heard_a(DELAY_NS - 1).kind is DecisionKind.NOTHING
    assert rig.heard_a(1).kind is DecisionKind.GRANT


def test_a_witness_that_did_not_see_the_word_counts_from_its_start_and_no_more_once_something_was_granted():
    rig = Vouching()
    rig.foreign(RECONCILE)
    now = InstantNs(rig.now + 10 * DELAY_NS)
    started = GroupSight(started=now)
    assert session_wait.blockers(rig.group, A, started, now)
    assert not session_wait.blockers(rig.group, A, started, InstantNs(now + DELAY_NS))
    rig.heard_a(DELAY_NS)
    rig.foreign(_grant(rig, Epoch(rig.group.permits.floor + 1)))
    assert rig.group.phase is Phase.GRANTED
    rig.group.phase, rig.group.lease = Phase.VACANT, None
    assert not session_wait.blockers(rig.group, A, started, now)


def test_a_lease_that_may_be_lived_on_by_holds_may_have_had_a_longer_delay():
    rig = Vouching(config().constants)
    rig.foreign(RECONCILE)
    rig.group.hold_wait = LOCKED
    assert rig.heard_a().kind is DecisionKind.NOTHING


@pytest.mark.parametrize(("constants", "claimed"), [(LOCKED, False), (config().constants, True)])
def test_a_grant_from_before_the_word_is_claimed_only_where_no_session_is_kept(constants, claimed):
    rig = PermitRig(constants=constants).known()
    assert rig.one(rig.grant_command(A)).ok
    rig.lost()
    assert rig.says(A).verdict is Verdict.DORMANT
    rig.says(A)
    assert rig.away() == [B]
    assert rig.one(RECONCILE).ok
    assert rig.says(A).verdict is (Verdict.GRANTED if claimed else Verdict.DORMANT)
    assert rig.says(A, epoch=2).verdict is (Verdict.RENEWED if claimed else Verdict.REFUSED)
    if not claimed:
        rig.expire()
        assert rig.one(rig.grant_command(A, epoch=Epoch(2 + CLEARED_LEAP + 1))).ok
        assert rig.says(A).verdict is Verdict.GRANTED


def _grant(rig: Leader, epoch: Epoch) -> Grant:
    incarnation = rig.group.sites[A].incarnation
    assert incarnation is not None
    return Grant(G, rig.group.epoch, epoch, A, incarnation, Cause.TAKEOVER, Reason.HOLDER_EXPIRED, AUTHOR)
