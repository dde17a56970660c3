"""The lease's phases and what may happen in each: the only place where a lease changes its phase.

Rule: every (phase, input) pair stands in exactly one of the two tables: where it leads, or why it is refused
(tests/unit/test_transitions.py proves that they are total and disjoint). docs/architecture.md's diagram is
generated from here. Nothing but RELEASE and EXPIRY ever leads to VACANT: a revoke, a restart of a witness, a
change of mode never vacate (DESIGN section 3).
"""

from __future__ import annotations

from enum import Enum

from proto.decisions import Reason


class Phase(Enum):
    __hash__ = object.__hash__  # members are singletons; Enum's own hash is written in Python and shows in profiles

    BARRED = "barred"
    """After creation or restore: a lease that nobody can renew and only votes can end."""
    VACANT = "vacant"
    GRANTED = "granted"
    """Granted, not claimed: no authority exists yet."""
    HELD = "held"
    REVOKING = "revoking"
    """A handover is under way; the holder may still renew."""
    OVERDUE = "overdue"
    """The revoke's deadline was voted: no more renewals; release or expiry ends it."""


class LeaseInput(Enum):
    __hash__ = object.__hash__  # as Phase

    GRANT = "grant"
    CLAIM = "claim"
    RENEWAL = "renewal"
    RELEASE = "release"
    REVOKE = "revoke"
    REVOKE_DUE = "revoke-due"
    EXPIRY = "expiry"


_P, _I = Phase, LeaseInput

LEADS_TO: dict[tuple[Phase, LeaseInput], Phase] = {
    (_P.BARRED, _I.EXPIRY): _P.VACANT,
    (_P.VACANT, _I.GRANT): _P.GRANTED,
    (_P.GRANTED, _I.CLAIM): _P.HELD,
    (_P.GRANTED, _I.EXPIRY): _P.VACANT,
    (_P.HELD, _I.RENEWAL): _P.HELD,
    (_P.HELD, _I.RELEASE): _P.VACANT,
    (_P.HELD, _I.REVOKE): _P.REVOKING,
    (_P.HELD, _I.EXPIRY): _P.VACANT,
    (_P.REVOKING, _I.RENEWAL): _P.REVOKING,
    (_P.REVOKING, _I.RELEASE): _P.VACANT,
    (_P.REVOKING, _I.REVOKE_DUE): _P.OVERDUE,
    (_P.REVOKING, _I.EXPIRY): _P.VACANT,
    (_P.OVERDUE, _I.RELEASE): _P.VACANT,
    (_P.OVERDUE, _I.EXPIRY): _P.VACANT,
}

REFUSED: dict[tuple[Phase, LeaseInput], Reason] = {
    (_P.BARRED, _I.GRANT): Reason.NOT_VACANT,
    (_P.BARRED, _I.CLAIM): Reason.NOT_HOLDER,
    (_P.BARRED, _I.RENEWAL): Reason.NOT_HOLDER,
    (_P.BARRED, _I.RELEASE): Reason.NOT_HOLDER,
    (_P.BARRED, _I.REVOKE): Reason.NOT_HOLDER,
    (_P.BARRED, _I.REVOKE_DUE): Reason.STALE_VOTE,
    (_P.VACANT, _I.CLAIM): Reason.NOT_HOLDER,
    (_P.VACANT, _I.RENEWAL): Reason.NOT_HOLDER,
    (_P.VACANT, _I.RELEASE): Reason.NOT_HOLDER,
    (_P.VACANT, _I.REVOKE): Reason.NOT_HOLDER,
    (_P.VACANT, _I.REVOKE_DUE): Reason.STALE_VOTE,
    (_P.VACANT, _I.EXPIRY): Reason.STALE_VOTE,
    (_P.GRANTED, _I.GRANT): Reason.NOT_VACANT,
    (_P.GRANTED, _I.RENEWAL): Reason.NOT_CLAIMED,
    (_P.GRANTED, _I.RELEASE): Reason.NOT_CLAIMED,
    (_P.GRANTED, _I.REVOKE): Reason.NOT_CLAIMED,
    (_P.GRANTED, _I.REVOKE_DUE): Reason.STALE_VOTE,
    (_P.HELD, _I.GRANT): Reason.NOT_VACANT,
    (_P.HELD, _I.CLAIM): Reason.WRONG_CLAIM,
    (_P.HELD, _I.REVOKE_DUE): Reason.STALE_VOTE,
    (_P.REVOKING, _I.GRANT): Reason.NOT_VACANT,
    (_P.REVOKING, _I.CLAIM): Reason.WRONG_CLAIM,
    (_P.REVOKING, _I.REVOKE): Reason.ALREADY_REVOKED,
    (_P.OVERDUE, _I.GRANT): Reason.NOT_VACANT,
    (_P.OVERDUE, _I.CLAIM): Reason.REVOKE_DUE,
    (_P.OVERDUE, _I.RENEWAL): Reason.REVOKE_DUE,
    (_P.OVERDUE, _I.REVOKE): Reason.ALREADY_REVOKED,
    (_P.OVERDUE, _I.REVOKE_DUE): Reason.STALE_VOTE,
}


def refusal(phase: Phase, lease_input: LeaseInput) -> Reason | None:
    """Why the input is refused in this phase, or None when it is allowed."""
    return REFUSED.get((phase, lease_input))


def next_phase(phase: Phase, lease_input: LeaseInput) -> Phase:
    """Where an allowed input leads; asking for a refused one is a bug of ours (KeyError ends the process)."""
    return LEADS_TO[phase, lease_input]
