"""Which stream carries the next heartbeat, how long an answer is waited for, what is void."""

from __future__ import annotations

from agents.core.streams import Attempt, Route, StreamTable
from proto import limits
from proto.clock import ClockReading
from proto.timing import ANSWER_WAIT_MS_MIN
from proto.units import NS_PER_MS, InstantNs, Nonce, SiteId, WitnessId

W1, W2, W3 = Route(WitnessId("w1")), Route(WitnessId("w2")), Route(WitnessId("w3"))
VIA_B = Route(WitnessId("w1"), SiteId("dc-b"))


def at(ms: int) -> ClockReading:
    return ClockReading(InstantNs(ms * NS_PER_MS), ms * NS_PER_MS, ms * NS_PER_MS)


def table() -> StreamTable:
    made = StreamTable()
    for witness in (W2, W1, W3):
        made.opened(witness, leading=False)
    return made


def nonce(number: int) -> Nonce:
    return Nonce(number.to_bytes(16, "big"))


def test_trusted_before_suspect_leader_before_others_near_before_far():
    streams = table()
    assert streams.best() == W1
    streams.open[W3].leading = True
    assert streams.best() == W3
    streams.open[W3].suspect = True
    assert streams.best() == W1
    streams.open[W2].measured(1 * NS_PER_MS)
    assert streams.best() == W2
    assert StreamTable().best() is None


def test_a_relayed_stream_comes_after_trusted_direct_ones_and_before_suspect_ones():
    streams = table()
    streams.opened(VIA_B, leading=True)
    assert streams.best() == W1
    for route in (W1, W2, W3):
        assert streams.direct_trusted()
        streams.overdue(route)
    assert (streams.best(), streams.direct_trusted(), streams.trusted()) == (VIA_B, False, True)
    streams.overdue(VIA_B)
    assert streams.best().via is None, "when all are suspect the direct way is tried first"
    streams.open[W2].measured(1)
    assert streams.best() == W2


def test_a_witness_without_a_majority_is_reached_all_the_same():
    streams = table()
    streams.open[W1].suspect = True
    assert streams.reached_directly(W1.witness)
    streams.overdue(W1)
    assert not streams.reached_directly(W1.witness)
    streams.closed(W2)
    assert not streams.reached_directly(W2.witness)


def test_an_unanswered_stream_is_suspect_until_it_is_measured_again():
    streams = table()
    streams.overdue(W1)
    assert (streams.open[W1].suspect, streams.best(), streams.unanswered) == (True, W2, 1)
    streams.sent(nonce(1), Attempt(1, at(0), W1, {}))
    assert streams.answered(nonce(1), at(5)) is not None
    assert (streams.open[W1].suspect, streams.unanswered) == (False, 0)


def test_an_answer_belongs_to_one_attempt_once():
    streams = table()
    streams.sent(nonce(1), Attempt(1, at(0), W1, {}))
    assert streams.answered(nonce(2), at(1)) is None
    assert streams.answered(nonce(1), at(1)) is not None
    assert streams.answered(nonce(1), at(1)) is None


def test_what_is_in_flight_is_void_for_a_new_incarnation_and_bounded_at_all_times():
    streams = table()
    for number in range(limits.NONCES_PENDING_MAX + 5):
        streams.sent(nonce(number), Attempt(1, at(0), W1, {}))
    assert streams.answered(nonce(0), at(1)) is None
    assert streams.answered(nonce(limits.NONCES_PENDING_MAX), at(1)) is not None
    streams.forget_all()
    assert streams.answered(nonce(limits.NONCES_PENDING_MAX + 1), at(1)) is None


def test_the_wait_follows_the_round_trip_and_doubles_when_nobody_answers():
    streams = table()
    least = ANSWER_WAIT_MS_MIN * NS_PER_MS
    for _ in range(60):
        streams.open[W1].measured(1 * NS_PER_MS)
    assert streams.answer_wait_ns(W1) == least
    waits = []
    for _ in range(12):
        streams.overdue(W1)
        waits.append(streams.answer_wait_ns(W1))
    assert waits[0] == waits[1] == least, "every stream is tried once before the wait grows"
    assert waits == sorted(waits)
    assert waits[-1] == 1_000 * NS_PER_MS


def test_an_answer_over_a_closed_stream_still_counts():
    streams = table()
    streams.sent(nonce(1), Attempt(1, at(0), W1, {}))
    streams.closed(W1)
    assert streams.answered(nonce(1), at(1)) is not None
    streams.overdue(W1)
    assert streams.unanswered == 1


def test_where_all_are_suspect_they_take_turns():
    streams = table()
    tried = []
    for _ in range(6):
        tried.append(streams.best())
        streams.overdue(tried[-1])
    assert sorted(tried[:3]) == sorted(tried[3:]) == [W1, W2, W3]


def test_a_witness_that_tells_of_a_decision_is_tried_first_and_the_wait_is_short_again():
    streams = table()
    for _ in range(9):
        streams.overdue(streams.best())
    assert streams.answer_wait_ns(W3) > ANSWER_WAIT_MS_MIN * NS_PER_MS * 2
    streams.noticed(W3)
    assert streams.best() == W3
    assert streams.answer_wait_ns(W3) == 4 * streams.open[W3].rtt_ns
    streams.noticed(Route(WitnessId("w9")))
