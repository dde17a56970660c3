"""Authority counts from before the sending, on two clocks, and its end is final."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.lease_holder import NO_EPOCH, LeaseHolder
from proto.clock import ClockReading
from proto.invariants import InvariantViolation
from proto.lease import LeaseConstants
from proto.units import NS_PER_MS, Claim, Epoch, InstantNs

CONSTANTS = LeaseConstants(1_000, 10_000, 0)
TTL = CONSTANTS.ttl_ns
CLAIM = Claim(b"c" * 16)


def at(ms: float, raw_ms: float | None = None) -> ClockReading:
    boot = round(ms * NS_PER_MS)
    raw = boot if raw_ms is None else round(raw_ms * NS_PER_MS)
    return ClockReading(InstantNs(boot), raw, boot)


@pytest.fixture
def holder() -> LeaseHolder:
    made = LeaseHolder(Epoch(2), Epoch(1))
    made.begin(Epoch(2), CLAIM)
    return made


def test_it_lasts_from_the_sending_whenever_the_answer_came(holder):
    assert holder.renewed(Epoch(2), at(0), CONSTANTS, at(900))
    assert holder.alive(at(999.9))
    assert not holder.alive(at(1_000))


def test_either_clock_ends_it(holder):
    holder.renewed(Epoch(2), at(0, 0), CONSTANTS, at(1, 1))
    assert not holder.alive(at(500, 1_000))
    assert not holder.alive(at(1_000, 500))
    assert holder.alive(at(999, 999))


def test_an_answer_that_comes_after_its_own_end_gives_nothing(holder):
    assert not holder.renewed(Epoch(2), at(0), CONSTANTS, at(1_000))
    assert not holder.alive(at(1_000))


def test_once_ended_no_answer_brings_it_back(holder):
    holder.renewed(Epoch(2), at(0), CONSTANTS, at(1))
    assert not holder.renewed(Epoch(2), at(900), CONSTANTS, at(1_100))
    assert not holder.alive(at(1_100))


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_another_epochs_answer_gives_nothing(holder, epoch):
    assert not holder.renewed(Epoch(epoch), at(0), CONSTANTS, at(1))


def test_the_constants_are_fixed_by_the_first_answer(holder):
    holder.renewed(Epoch(2), at(0), CONSTANTS, at(1))
    assert not holder.renewed(Epoch(2), at(10), LeaseConstants(9_000, 10_000, 0), at(11))
    assert not holder.alive(at(1_000))


def test_an_overtaken_answer_does_not_shorten(holder):
    holder.renewed(Epoch(2), at(300), CONSTANTS, at(301))
    assert not holder.renewed(Epoch(2), at(0), CONSTANTS, at(302))
    assert holder.alive(at(1_299))


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 2_000)), max_size=12))
def test_authority_never_exceeds_the_latest_sending(attempts):
    holder = LeaseHolder(Epoch(2), Epoch(1))
    holder.begin(Epoch(2), CLAIM)
    now = 0
    for sent, delay in sorted(attempts):
        now = max(now, sent + delay)
        holder.renewed(Epoch(2), at(sent), CONSTANTS, at(now))
        if holder.authority is not None:
            assert holder.authority.deadline <= sent * NS_PER_MS + TTL


def test_the_end_is_final(holder):
    holder.renewed(Epoch(2), at(0), CONSTANTS, at(1))
    assert holder.end() == 2
    assert (holder.finished, holder.epoch, holder.authority) == (2, NO_EPOCH, None)
    assert not holder.renewed(Epoch(2), at(2), CONSTANTS, at(3))
    assert not holder.may_begin(Epoch(2))
    with pytest.raises(InvariantViolation):
        holder.begin(Epoch(2), CLAIM)


@pytest.mark.parametrize(
    ("bound", "finished", "epoch", "may"),
    [(0, 0, 1, True), (2, 1, 2, False), (1, 1, 2, True), (1, 5, 3, False), (5, 1, 3, False)],
)
def test_an_epoch_is_begun_at_most_once(bound, finished, epoch, may):
    assert LeaseHolder(Epoch(bound), Epoch(finished)).may_begin(Epoch(epoch)) is may


def test_one_at_a_time_and_only_above_a_stored_bound(holder):
    assert not holder.may_begin(Epoch(3))
    with pytest.raises(InvariantViolation):
        holder.begin(Epoch(3), CLAIM)
    with pytest.raises(InvariantViolation):
        LeaseHolder(Epoch(1), Epoch(0)).begin(Epoch(2), CLAIM)
