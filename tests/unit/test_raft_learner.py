"""Three real nodes in lockstep: blank disks (D-25, O6), nearly full disks (D1), leaders without a majority (D-14)."""

from __future__ import annotations

import contextlib

import pytest
from trio_rig import IDS, W1, W2, W3, Trio

from proto.errors import DurabilityLost
from witness.raft.message_filter import UNCOMMITTED_ENTRIES_MAX
from witness.raft.port import ProposalRefused, Role
from witness.raft.space import Space
from witness.raft.space import Verdict as SpaceVerdict
from witness.raft.standing import STANDING_MARK, Standing
from witness.raft.timers import RaftTimers


def test_d25_a_learner_is_readmitted_in_a_newer_term_and_only_after_all_answered(trio: Trio) -> None:
    for number in range(40):
        trio.commit(b"before%d" % number)
    term = trio.nodes[trio.leader()].status().term
    trio.lose_disk(W3, "lost")
    trio.commit(b"meanwhile")
    trio.sent.clear()
    trio.start(W3)
    assert trio.nodes[W3].standing is Standing.LEARNER
    progress = trio.nodes[W3].readmission()
    assert progress is not None
    assert progress.waiting_for == (W1, W2)
    for _ in range(100):
        trio.step(20)
        if trio.nodes[W3].standing is Standing.VOTER:
            break
    assert trio.nodes[W3].standing is Standing.VOTER
    assert trio.nodes[W3].readmission() is None
    assert trio.stores[W3].get_meta(STANDING_MARK) == b"voter"
    assert trio.nodes[trio.leader()].status().term > term
    assert trio.states[W3].data == trio.states[W1].data
    trio.commit(b"after")
    trio.stop(W1)
    trio.commit(b"with w3 in the majority")
    assert trio.states[W3].data == trio.states[W2].data


def test_d25_nothing_is_committed_and_nobody_elected_with_a_learners_help(trio: Trio) -> None:
    trio.commit(b"before")
    trio.lose_disk(W3, "lost")
    leader = trio.leader()
    other = next(witness for witness in (W1, W2) if witness != leader)
    trio.stop(other)
    trio.sent.clear()
    trio.start(W3)
    trio.nodes[leader].propose(b"alone")
    trio.step(10_000)
    assert b"alone" not in trio.states[leader].data
    assert trio.nodes[leader].status().role is not Role.LEADER, "a learner is no majority"
    assert not trio.nodes[leader].status().has_quorum
    assert trio.nodes[W3].standing is Standing.LEARNER
    progress = trio.nodes[W3].readmission()
    assert progress is not None
    assert progress.waiting_for == (other,)
    assert not [m for w, _, m in trio.sent if w == W3 and m["type"] in {"response_vote", "request_vote", "pre_vote"}]
    trio.start(other)
    trio.commit(b"again")
    for _ in range(200):
        trio.step(20)
    assert trio.nodes[W3].standing is Standing.VOTER
    assert trio.states[W3].data == trio.states[W1].data


def test_d14_a_leader_without_a_majority_gives_up_within_two_election_timeouts(trio: Trio) -> None:
    leader = trio.leader()
    for witness in IDS:
        if witness != leader:
            trio.stop(witness)
    timers = RaftTimers()
    trio.step(2 * timers.election_max_ms + timers.append_period_ms)
    assert trio.nodes[leader].status().role is not Role.LEADER
    term = trio.nodes[leader].status().term
    trio.step(10_000)
    assert trio.nodes[leader].status().term == term, "alone it asks and does not stand (D-13)"


def test_d13_a_cut_off_follower_does_not_unseat_the_leader(trio: Trio) -> None:
    """N3: it sees one peer, but not the leader."""
    leader = trio.leader()
    cut, other = (witness for witness in IDS if witness != leader)
    trio.nodes[cut].link_down(leader)
    trio.nodes[leader].link_down(cut)
    term = trio.nodes[leader].status().term
    trio.sent.clear()
    trio.step(10_000)
    assert any(m["type"] == "pre_vote" and (w, p) == (cut, other) for w, p, m in trio.sent)
    assert trio.nodes[leader].status().term == term
    assert trio.nodes[leader].status().role is Role.LEADER
    trio.nodes[cut].link_up(leader)
    trio.nodes[leader].link_up(cut)
    trio.commit(b"together again")
    assert trio.nodes[leader].status().term == term


def test_d1_a_leader_without_room_hands_over_and_a_follower_without_room_takes_nothing(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    trio.commit(b"before")
    low = trio.leader()
    told = Space(1, SpaceVerdict.LOW)
    monkeypatch.setattr(trio.stores[low], "space", lambda _now_ns: told)
    trio.step(3_000)
    leader = trio.leader()
    assert leader != low
    trio.commit(b"while low")
    assert b"while low" not in trio.states[low].data
    other = next(witness for witness in IDS if witness not in {low, leader})
    trio.stop(other)
    trio.nodes[leader].propose(b"needs the low one")
    trio.step(1_000)
    assert b"needs the low one" not in trio.states[leader].data, "it was acknowledged without room"
    monkeypatch.undo()
    trio.commit(b"room again")
    trio.step(1_000)
    assert trio.states[low].data == trio.states[leader].data


def test_d1_a_witness_ends_before_its_disk_is_full(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio.stores[W1], "space", lambda _now_ns: Space(1, SpaceVerdict.CRITICAL))
    with pytest.raises(DurabilityLost, match="make room"):
        trio.step(10)


def test_d46_a_leader_alone_holds_a_bounded_backlog(trio: Trio) -> None:
    leader = trio.leader()
    for witness in IDS:
        if witness != leader:
            trio.stop(witness)
    for number in range(4 * UNCOMMITTED_ENTRIES_MAX):
        if number % 100 == 0:
            trio.step(5)
        with contextlib.suppress(ProposalRefused):
            trio.nodes[leader].propose(b"%d" % number)
    status = trio.nodes[leader].status()
    backlog = trio.stores[leader].read_state().last_index - status.commit_index
    assert UNCOMMITTED_ENTRIES_MAX // 2 < backlog <= UNCOMMITTED_ENTRIES_MAX
    assert not trio.nodes[leader].wants_turn(), "a full leader must not spin"


def test_d44_a_divergent_tail_is_found_in_one_step_a_term(trio: Trio) -> None:
    trio.commit(b"common")
    trio.step(200)
    old = trio.leader()
    others = [witness for witness in IDS if witness != old]
    for witness in others:
        trio.nodes[witness].link_down(old)
        trio.nodes[old].link_down(witness)
    for number in range(200):
        trio.nodes[old].propose(b"lost%d" % number)
    trio.step(3_000)
    leader = next(w for w in others if trio.nodes[w].status().role is Role.LEADER)
    for number in range(250):
        trio.nodes[leader].propose(b"kept%d" % number)
        trio.step(5)
    trio.step(200)
    for witness in others:
        trio.nodes[witness].link_up(old)
        trio.nodes[old].link_up(witness)
    trio.step(500)
    assert trio.states[old].data == trio.states[leader].data
    assert b"kept249" in trio.states[old].data
