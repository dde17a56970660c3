"""The meter of clock rates: no false word of any clock within the bound, and a true one of every clock beyond it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rates_rig import INCARNATION, Clock, Talk, Way

from proto.clock_rate import ClockState, RateBounds, clock_state, clock_words
from proto.messages import Ping, PingEcho
from proto.units import NS_PER_S, PPM, Incarnation, InstantNs, Nonce, SiteId, WitnessId
from witness.core import clock_rates
from witness.core.clock_rates import PINGS_KEPT, ROW, SITES_MAX, VERDICT_WITHIN_NS, ClockRates, RateMeter

SLOW, FAST, FIT = ClockState.TOO_SLOW, ClockState.TOO_FAST, ClockState.FIT
R = 10_000
SLOWEST = (PPM - R) / (PPM + R)
QUIET = [Way()] * 90


def nonce(number: int) -> Nonce:
    return Nonce(number.to_bytes(16, "big"))


# -- the arithmetic ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "drift", "state"),
    [
        (RateBounds(970_000, 970_100), R, SLOW),
        (RateBounds(980_197, 980_198), R, SLOW),
        (RateBounds(980_198, 980_199), R, None),
        (RateBounds(970_000, 980_199), R, None),
        (RateBounds(980_199, 1_020_202), R, FIT),
        (RateBounds(1_020_202, 1_020_203), R, None),
        (RateBounds(1_020_203, 1_030_000), R, FAST),
        (RateBounds(970_000, 970_100), 100_000, FIT),
        (RateBounds(0, 2_000_000), R, None),
        (RateBounds(999_700, 999_799), 100, SLOW),
    ],
)
def test_what_bounds_say_of_a_clock(bounds, drift, state):
    assert clock_state(bounds, drift) is state


@given(st.integers(1, 3_000_000), st.sampled_from([100, 1_000, R, 50_000, 100_000]))
def test_the_bound_is_the_one_by_which_the_holder_is_first(rate, drift):
    """ttl by the slow holder against D by the witness, as proto/lease.py counts both, without rounding."""
    holder_first = PPM * (PPM - drift) <= rate * (PPM + drift)
    assert (clock_state(RateBounds(rate, rate), drift) is SLOW) == (not holder_first)


def test_words_have_both_numbers():
    assert clock_words(SLOW, 970_100, R) == (
        "its clock runs at 0.970100 of the witnesses' at most, drift_max 1 % asks for 0.980198"
    )
    assert clock_words(FAST, 1_030_000, R) == (
        "its clock runs at 1.030000 of the witnesses' at least, drift_max 1 % allows 1.020202"
    )


# -- plain cases --------------------------------------------------------------------------------------------


def test_a_good_clock_is_known_to_a_few_hundred_millionths_after_three_windows():
    talk = Talk()
    talk.run(QUIET)
    at, bounds = talk.seen[0]
    assert at * NS_PER_S <= VERDICT_WITHIN_NS
    assert 999_700 <= bounds.at_least_ppm <= PPM <= bounds.at_most_ppm <= 1_000_300


@pytest.mark.parametrize(("rate", "state"), [(950_000, SLOW), (979_000, SLOW), (1_022_000, FAST), (1_500_000, FAST)])
def test_a_clock_beyond_the_bound_is_found_within_the_stated_time(rate, state):
    talk = Talk(agent=Clock(((0, rate),)))
    talk.run(QUIET * 2)
    found = talk.first(state, R)
    assert found is not None
    assert found * NS_PER_S * PPM <= VERDICT_WITHIN_NS * max(PPM, PPM * PPM // rate)
    assert set(talk.states(R)) == {state}


@pytest.mark.parametrize("witness_rate", [950_000, 1_050_000])
def test_it_is_the_witness_s_clock_that_the_rate_is_of(witness_rate):
    talk = Talk(witness=Clock(((0, witness_rate),)))
    talk.run(QUIET)
    assert set(talk.states(R)) == {FAST if witness_rate < PPM else SLOW}


@pytest.mark.parametrize("steps", [1, 2])
def test_a_guest_that_stood_still_once_or_twice_is_not_slow(steps):
    stood = [(0.0, PPM)] + [(at, rate) for n in range(steps) for at, rate in ((30.5 + 20 * n, 0), (33.5 + 20 * n, PPM))]
    talk = Talk(agent=Clock(stood))
    talk.run(QUIET * 2)
    assert SLOW not in talk.states(R)
    assert FIT in talk.states(R)


def test_one_that_stands_still_in_every_window_is_slow():
    stood = [(0.0, PPM)] + [(at, rate) for n in range(30) for at, rate in ((10.5 * n + 3, 0), (10.5 * n + 4, PPM))]
    talk = Talk(agent=Clock(stood))
    talk.run(QUIET * 2)
    assert talk.first(SLOW, R) is not None


def test_a_clock_that_was_mended_is_fit_after_three_windows():
    talk = Talk(agent=Clock(((0, 900_000), (100, PPM))))
    talk.run(QUIET * 3)
    found, mended = talk.first(SLOW, R), talk.first(FIT, R)
    assert found is not None
    assert mended is not None
    assert found < 100 < mended <= 100 + VERDICT_WITHIN_NS / NS_PER_S + 30


def test_a_minute_without_an_answer_begins_the_row_anew():
    talk = Talk(agent=Clock(((0, 900_000),)))
    talk.run([Way()] * 65 + [Way(lost=True)] * 65 + [Way()] * 40)
    assert talk.seen == []
    assert talk.meter.bounds() is None


def test_a_ping_that_comes_twice_counts_from_the_first_time():
    """Each second time comes a little later than the one before: counted from it, the clock would be slow."""
    talk = Talk()
    talk.run([Way(doubled_after=0.011 * number) for number in range(85)])
    assert talk.seen
    assert set(talk.states(1_000)) == {FIT}


def test_the_instant_that_is_known_best_ends_a_window():
    """One fast answer within the last five seconds is enough."""
    slow, fast = Way(out=0.4, back=0.4), Way()
    ways = [fast if number % 5 == 0 else slow for number in range(150)]
    talk = Talk()
    talk.run(ways)
    assert talk.seen
    assert all(bounds.at_most_ppm - bounds.at_least_ppm < 45_000 for _, bounds in talk.seen[1:])


# -- what it keeps ------------------------------------------------------------------------------------------


def test_what_is_kept_of_a_stream_is_bounded():
    meter = RateMeter(INCARNATION)
    for number in range(100):
        meter.heard(Ping(nonce(number), number), InstantNs(number))
    assert len(meter._heard) == PINGS_KEPT
    assert not meter.heard(Ping(nonce(100), 100, PingEcho(nonce(0), 1)), InstantNs(100))


def test_sites_that_were_silent_longest_are_forgotten():
    rates = ClockRates(WitnessId("w1"))
    for number in range(SITES_MAX + 3):
        rates.pinged(SiteId(f"s{number}"), INCARNATION, Ping(nonce(number), number), InstantNs(number))
    assert len(rates._meters) == SITES_MAX
    assert SiteId("s2") not in rates._meters


def test_another_incarnation_begins_anew():
    rates, site = ClockRates(WitnessId("w1")), SiteId("dc-a")
    for number in range(120):
        earlier = PingEcho(nonce(number - 1), 1_000) if number else None
        rates.pinged(site, INCARNATION, Ping(nonce(number), number * NS_PER_S, earlier), InstantNs(number * NS_PER_S))
    assert rates.bounds(site) is not None
    other = Incarnation(b"j" * 16)
    rates.pinged(site, other, Ping(nonce(1), 1), InstantNs(121 * NS_PER_S))
    assert rates.bounds(site) is None


def test_nonsense_is_not_measured_by():
    meter = RateMeter(INCARNATION)
    assert not meter.heard(Ping(nonce(1)), InstantNs(1))
    assert not meter.heard(Ping(nonce(2), 5, PingEcho(nonce(9), 4)), InstantNs(2))
    assert not meter.heard(Ping(nonce(3), 6, PingEcho(nonce(2), -1)), InstantNs(3))
    assert meter._start is None


# -- properties ---------------------------------------------------------------------------------------------

NASTY = st.builds(
    Way,
    out=st.sampled_from([0.0, 0.0005, 0.01, 0.3, 2.5]),
    back=st.sampled_from([0.0, 0.0005, 0.01, 0.3, 2.5]),
    lost=st.sampled_from([False, False, False, True]),
    pong_lost=st.sampled_from([False, False, False, True]),
    doubled_after=st.sampled_from([None, None, None, 0.001, 4.0]),
)


def ways(length: int):
    """A few kinds of ping in any order, long enough for several rows."""
    some = st.lists(NASTY, min_size=1, max_size=12)
    return some.map(lambda few: [few[(7 * number * number + number) % len(few)] for number in range(length)])


def wandering(low: int, high: int):
    """A clock whose rate is another one every few seconds."""
    rates = st.lists(st.integers(low, high), min_size=1, max_size=12)
    return rates.map(lambda found: Clock([(17.3 * number, rate) for number, rate in enumerate(found)]))


@settings(max_examples=80)
@given(ways(200), wandering(PPM - R, PPM + R), wandering(PPM - R, PPM + R))
def test_no_clock_within_the_bound_is_ever_called_unfit(fates, agent, witness):
    talk = Talk(agent, witness)
    talk.run(fates)
    assert not {SLOW, FAST} & set(talk.states(R))


@settings(max_examples=50)
@given(
    ways(200),
    st.integers(PPM - R, PPM + R),
    st.integers(PPM - R, PPM + R),
    st.lists(st.tuples(st.floats(5, 190), st.sampled_from([0.2, 1.0, 30.0, 3_600.0])), max_size=2),
    st.booleans(),
)
def test_nor_is_one_that_was_set_ahead_twice(fates, agent_rate, witness_rate, steps, agents):
    agent = Clock(((0, agent_rate),), steps if agents else ())
    witness = Clock(((0, witness_rate),), () if agents else steps)
    talk = Talk(agent, witness)
    talk.run(fates)
    assert not {SLOW, FAST} & set(talk.states(R))


@settings(max_examples=40)
@given(ways(200), st.integers(300_000, 3_000_000), st.integers(PPM - R, PPM + R))
def test_the_true_rate_lies_within_the_bounds_of_every_window(fates, agent_rate, witness_rate):
    talk = Talk(Clock(((0, agent_rate),)), Clock(((0, witness_rate),)))
    talk.run(fates)
    for bounds in talk.windows:
        assert bounds.at_least_ppm * witness_rate <= PPM * agent_rate <= bounds.at_most_ppm * witness_rate


@settings(max_examples=40)
@given(
    st.lists(st.floats(0, 0.1), min_size=1, max_size=9),
    st.sampled_from([100, 1_000, R, 50_000]),
    st.booleans(),
    st.integers(20_000, 400_000),
)
def test_whoever_is_beyond_the_bound_by_more_than_what_delays_blur_is_found(delays, drift, slow, beyond):
    """Delays of a tenth of a second each way blur a window by a fiftieth at most."""
    fates = [Way(out=delays[n % len(delays)], back=delays[(n * 3) % len(delays)]) for n in range(200)]
    low, high = PPM * (PPM - drift) // (PPM + drift), PPM * (PPM + drift) // (PPM - drift)
    rate = low - beyond if slow else high + beyond + high // 40
    talk = Talk(Clock(((0, rate),)))
    talk.run(fates)
    found = talk.first(SLOW if slow else FAST, drift)
    assert found is not None
    assert found * NS_PER_S <= VERDICT_WITHIN_NS


def test_the_stated_time_is_about_a_minute_and_a_half():
    assert ROW == 3
    assert clock_rates.WINDOW_NS == 20 * NS_PER_S
    assert VERDICT_WITHIN_NS <= 90 * NS_PER_S
