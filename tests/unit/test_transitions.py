"""Tables total and disjoint: every pair of phase and input is decided in exactly one place."""

from __future__ import annotations

from itertools import product

import pytest

from agents.core.site import LIVE_STATES, SITE_TRANSITIONS, TAKEN_OVER, SiteInput, site_after
from proto.health import DORMANT_STATES, SiteState
from witness.core.transitions import LEADS_TO, REFUSED, LeaseInput, Phase, next_phase, refusal

PAIRS = set(product(Phase, LeaseInput))


def test_every_pair_stands_in_exactly_one_table():
    assert set(LEADS_TO) | set(REFUSED) == PAIRS
    assert set(LEADS_TO) & set(REFUSED) == set()


def test_only_release_and_expiry_lead_to_vacant():
    assert {given for (_, given), to in LEADS_TO.items() if to is Phase.VACANT} == {
        LeaseInput.RELEASE,
        LeaseInput.EXPIRY,
    }


def test_every_lease_can_expire_and_every_phase_can_be_left_and_reached():
    for phase in Phase:
        assert (phase is Phase.VACANT) == (refusal(phase, LeaseInput.EXPIRY) is not None)
        assert any(at is phase and to is not phase for (at, _), to in LEADS_TO.items())
    assert set(LEADS_TO.values()) == set(Phase) - {Phase.BARRED}


def test_authority_needs_a_grant_and_a_claim():
    assert {at for (at, given), _ in LEADS_TO.items() if given is LeaseInput.GRANT} == {Phase.VACANT}
    assert {at for (at, given), _ in LEADS_TO.items() if given is LeaseInput.CLAIM} == {Phase.GRANTED}


@pytest.mark.parametrize("pair", sorted(REFUSED, key=str), ids=lambda pair: f"{pair[0].value}-{pair[1].value}")
def test_a_refused_pair_has_a_reason_and_asking_for_it_is_a_bug(pair):
    assert refusal(*pair) is REFUSED[pair]
    with pytest.raises(KeyError):
        next_phase(*pair)


@pytest.mark.parametrize("pair", sorted(LEADS_TO, key=str), ids=lambda pair: f"{pair[0].value}-{pair[1].value}")
def test_an_allowed_pair_is_not_refused(pair):
    assert refusal(*pair) is None
    assert next_phase(*pair) is LEADS_TO[pair]


def test_a_site_becomes_active_only_by_activating_and_activating_only_by_authority():
    """Or by taking over from a former agent process what that one had become by the same ways (ADR 0013)."""
    ways = {(at, given): to for (at, given), to in SITE_TRANSITIONS.items() if given not in set(TAKEN_OVER.values())}
    assert {at for (at, _), to in ways.items() if to is SiteState.ACTIVE} == {SiteState.ACTIVATING}
    assert {given for (_, given), to in ways.items() if to is SiteState.ACTIVATING} == {SiteInput.AUTHORITY}


def test_a_new_process_takes_over_exactly_what_the_former_one_had_become():
    taken = {(at, given): to for (at, given), to in SITE_TRANSITIONS.items() if given in set(TAKEN_OVER.values())}
    assert taken == {(SiteState.UNKNOWN, given): state for state, given in TAKEN_OVER.items()}
    assert set(TAKEN_OVER) == LIVE_STATES


def test_a_site_becomes_dormant_only_by_proof():
    proofs = {SiteInput.VERIFIED_DOWN, SiteInput.STOPPED, SiteInput.FENCED}
    assert {given for (_, given), to in SITE_TRANSITIONS.items() if to in DORMANT_STATES} == proofs


def test_every_state_but_unknown_can_be_fenced_and_other_pairs_mean_nothing():
    """A dormant one, too: its license may be seen activated. One that is unknown is being verified down already."""
    for state, given in product(SiteState, SiteInput):
        after = site_after(state, given)
        assert after is SITE_TRANSITIONS.get((state, given))
        if given is SiteInput.FENCE:
            assert (after is SiteState.FENCING) == (state in LIVE_STATES | DORMANT_STATES)
