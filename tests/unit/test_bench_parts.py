"""The bench's arithmetic and its simulated agent: percentiles, floors, frames that are patched and not encoded anew."""

from __future__ import annotations

import pytest

from proto.codec import AGENT_MESSAGES, WITNESS_MESSAGES
from proto.decisions import Reason
from proto.messages import GroupAnswer, HeartbeatAnswer, RevokePhase, Verdict
from proto.units import Epoch, GroupId, Nonce, RenewalNo
from witness.bench.figures import AIMS, FLOORS, latency, percentile
from witness.bench.outage import longest_pause_ms
from witness.bench.wire import NO_CLAIM, SimAgent
from witness.demo.eyes import Expected


def answer(nonce: bytes, verdict: Verdict, epoch: int) -> bytes:
    one = GroupAnswer(
        GroupId("g1"), verdict, Epoch(epoch), RenewalNo(1), 3_000, 10_000, 0, RevokePhase.NONE, 1, Reason.OK
    )
    return WITNESS_MESSAGES.encode(HeartbeatAnswer(Nonce(nonce), (one,)))


def test_percentiles_are_values_that_did_occur():
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.50) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile([7.0], 0.99) == 7.0


def test_latency_of_nothing_is_told_as_nothing():
    assert latency([], 1.0)["p50_ms"] is None
    assert latency([2_000_000, 4_000_000, 6_000_000], 2.0) == {
        "count": 3,
        "per_s": 1.5,
        "p50_ms": 4.0,
        "p99_ms": 6.0,
        "max_ms": 6.0,
    }


def test_an_outage_is_the_longest_pause_that_ends_after_the_fault():
    answered_ns = [0, 9_000_000, 10_000_000, 11_000_000, 15_000_000, 16_000_000]
    assert longest_pause_ms(answered_ns, 11_500_000, None) == 4.0
    assert longest_pause_ms(answered_ns, 500_000, 11_500_000) == 9.0
    with pytest.raises(Expected, match="no write was answered any more"):
        longest_pause_ms(answered_ns, 16_000_000, None)


def test_floors_know_which_way_is_better():
    by_key = {floor.key: floor for floor in FLOORS}
    assert by_key["commit_p50_ms"].holds(4.9)
    assert by_key["commit_p50_ms"].holds(5.1) is False
    assert by_key["heartbeats_per_s"].holds(20_000)
    assert by_key["heartbeats_per_s"].holds(19_999) is False
    assert FLOORS[0].holds(None) is None


def test_a_patched_frame_is_a_whole_heartbeat():
    agent = SimAgent("dc-a", "0" * 32, ("g1", "g2"))
    first, nonce = agent.heartbeat()
    second, other = agent.heartbeat()
    one, two = AGENT_MESSAGES.decode(first), AGENT_MESSAGES.decode(second)
    assert (one.nonce, two.nonce) == (nonce, other)
    assert two.seq == one.seq + 1
    assert one.groups == two.groups
    assert [group.epoch for group in one.groups] == [0, 0]


def test_the_simulated_agent_claims_renews_and_gives_up():
    agent = SimAgent("dc-a", "0" * 32, ("g1",))
    _, nonce = agent.heartbeat()
    assert agent.answered(answer(nonce, Verdict.GRANTED, 5)) == nonce
    beat = AGENT_MESSAGES.decode(agent.heartbeat()[0])
    assert beat.groups[0].epoch == 5
    assert beat.groups[0].claim != NO_CLAIM
    assert not agent.settled
    agent.answered(answer(nonce, Verdict.RENEWED, 5))
    assert agent.settled
    assert agent.holding == 1
    agent.unsettle()
    agent.answered(answer(nonce, Verdict.REFUSED, 5))
    for _ in range(40):
        agent.answered(answer(nonce, Verdict.REFUSED, 5))
    assert agent.holding == 0


def test_what_is_no_answer_is_passed_over():
    agent = SimAgent("dc-a", "0" * 32, ("g1",))
    assert agent.answered(b"\x92\x01\x06") is None


@pytest.mark.parametrize("floor", [*FLOORS, *AIMS])
def test_every_floor_says_what_it_is_about(floor):
    assert floor.words
    assert floor.unit
