"""Who may vote: the round before an election, and a disk that may have forgotten a vote (D-13, D-25)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.units import NS_PER_MS, WitnessId
from witness.raft.elections import PreVotes
from witness.raft.standing import (
    ASK_EVERY_NS,
    FLOOR_AHEAD_MAX,
    RENEW_EVERY_NS,
    Learners,
    Readmission,
    Standing,
    standing_of,
)

W1, W2, W3, W4, W5 = (WitnessId(name) for name in ("w1", "w2", "w3", "w4", "w5"))
DISK = b"d" * 16


def test_a_store_without_a_mark_is_a_voters() -> None:
    assert standing_of(None) is Standing.VOTER
    assert standing_of(b"learner") is Standing.LEARNER
    with pytest.raises(ValueError, match="nonsense"):
        standing_of(b"nonsense")


@pytest.mark.parametrize(("peers", "needed"), [([W2, W3], 1), ([W2, W3, W4, W5], 2)])
def test_a_round_is_won_by_a_majority_of_different_members(peers: list[WitnessId], needed: int) -> None:
    asked = PreVotes(peers)
    asked.begin(6, 0)
    for _ in range(3):
        asked.answered(peers[0], 6, granted=True)
        asked.answered(WitnessId("stranger"), 6, granted=True)
    assert asked.take_win(5, None) is (needed == 1)
    asked.begin(6, 0)
    for peer in peers[:needed]:
        assert not asked.take_win(5, None)
        asked.answered(peer, 6, granted=True)
    assert asked.take_win(5, None)


@pytest.mark.parametrize(("term_now", "heard_ns"), [(6, None), (4, None), (5, 100), (5, 101)])
def test_a_round_is_void_once_the_term_moved_or_a_leader_was_heard(term_now: int, heard_ns: int | None) -> None:
    asked = PreVotes([W2, W3])
    asked.begin(6, 100)
    asked.answered(W2, 6, granted=True)
    assert not asked.take_win(term_now, heard_ns)
    assert not asked.take_win(5, None), "a void round stays void"


def test_answers_to_another_round_or_refusals_do_not_count() -> None:
    asked = PreVotes([W2, W3])
    asked.answered(W2, 6, granted=True)
    asked.begin(6, 0)
    asked.answered(W2, 5, granted=True)
    asked.answered(W3, 6, granted=False)
    assert not asked.take_win(5, None)


def test_a_learner_asks_each_linked_peer_until_it_answered() -> None:
    learner = Readmission([W2, W3], DISK)
    assert learner.due({W2}, 0) == [W2]
    assert learner.due({W2, W3}, 1) == [W3]
    assert learner.due({W2, W3}, ASK_EVERY_NS) == [W2]
    learner.answered(W2, DISK, 4)
    assert learner.due({W2, W3}, 10 * ASK_EVERY_NS) == [W3]


def test_an_answer_for_another_disk_is_none() -> None:
    learner = Readmission([W2, W3], DISK)
    learner.answered(W2, b"e" * 16, 4)
    learner.answered(WitnessId("stranger"), DISK, 4)
    assert learner.progress().waiting_for == (W2, W3)
    assert "w2, w3" in learner.progress().words()


@pytest.mark.parametrize(
    ("answers", "follows", "applied", "fulfilled"),
    [
        ({W2: 4, W3: 7}, 8, 8, True),
        ({W2: 4, W3: 7}, 7, 7, False),
        ({W2: 4, W3: 7}, 8, 7, False),
        ({W2: 4, W3: 7}, None, 8, False),
        ({W2: 4}, 8, 8, False),
        ({}, 8, 8, False),
    ],
)
def test_readmission_needs_all_members_a_newer_term_and_its_committed_entry(
    answers: dict[WitnessId, int], follows: int | None, applied: int, fulfilled: bool
) -> None:
    learner = Readmission([W2, W3], DISK)
    for peer, term in answers.items():
        learner.answered(peer, DISK, term)
    assert learner.fulfilled(follows_term=follows, applied_term=applied) is fulfilled
    assert learner.floor == (7 if len(answers) == 2 else 0)


@given(st.lists(st.tuples(st.sampled_from([W2, W3]), st.integers(0, 50)), max_size=12))
def test_the_floor_is_never_below_a_term_that_a_member_named(answers: list[tuple[WitnessId, int]]) -> None:
    learner = Readmission([W2, W3], DISK)
    for peer, term in answers:
        learner.answered(peer, DISK, term)
    if {peer for peer, _ in answers} == {W2, W3}:
        assert learner.floor == max(term for _, term in answers)
    else:
        assert learner.floor == 0


def test_a_leader_renews_its_term_for_a_learner_that_caught_up_and_not_in_every_turn() -> None:
    learners = Learners()
    learners.heard(W3, votes=False, floor=0, next_index=50)
    assert not learners.wants_new_term(5, 40, 0), "not all members answered it yet"
    learners.heard(W3, votes=False, floor=5, next_index=40)
    assert not learners.wants_new_term(5, 40, 0), "it lags"
    learners.heard(W3, votes=False, floor=5, next_index=41)
    assert learners.wants_new_term(5, 40, NS_PER_MS)
    assert not learners.wants_new_term(5, 40, RENEW_EVERY_NS)
    assert learners.wants_new_term(5, 40, NS_PER_MS + RENEW_EVERY_NS)
    assert not learners.wants_new_term(6, 40, 9 * RENEW_EVERY_NS), "this term is above its floor"
    learners.heard(W3, votes=True, floor=0, next_index=41)
    assert W3 not in learners


def test_a_floor_far_above_our_term_is_a_lie_and_begins_no_term() -> None:
    learners = Learners()
    learners.heard(W3, votes=False, floor=5 + FLOOR_AHEAD_MAX, next_index=50)
    assert not learners.wants_new_term(5, 40, RENEW_EVERY_NS)
    learners.heard(W3, votes=False, floor=5 + FLOOR_AHEAD_MAX - 1, next_index=50)
    assert learners.wants_new_term(5, 40, RENEW_EVERY_NS)
