"""From a wish to timers: what comes out is sound and keeps the wish; a refusal's numbers are true."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import limits
from proto.errors import BadValue
from proto.histogram import Histogram
from proto.lease import LeaseConstants
from proto.takeover import ASSUMED, Delays
from proto.timing import SiteBudgets, check_addresses, check_constants, check_ladder, check_site
from proto.units import NS_PER_MS, DurationNs
from witness.timing.compiler import TTL_STEP_MS, Compiled, Refusal, compile_wish, judge
from witness.timing.estimate import chance_max, estimate
from witness.timing.measurements import SAMPLES_MIN, Measurements, delays_of
from witness.timing.reality import warnings
from witness.timing.timers import derive
from witness.timing.wish import Wish, parse_wish

wishes = st.builds(
    Wish,
    takeover_ms=st.none() | st.integers(500, 60_000),
    silence_ms=st.none() | st.integers(0, 20_000),
    activation_ms=st.integers(0, 5_000),
    stop_ms=st.none() | st.integers(0, 5_000),
    kill_ms=st.none() | st.integers(0, 2_000),
    reset_ms=st.none() | st.integers(0, 500),
    watchdog=st.booleans(),
    addresses=st.booleans(),
    drift_max_ppm=st.integers(limits.DRIFT_MAX_PPM_MIN, limits.DRIFT_MAX_PPM_MAX),
    lock_delay_ms=st.integers(0, 5_000),
)
FAST = Delays(*(DurationNs(ms * NS_PER_MS) for ms in (3, 2, 5, 5, 250)))


@settings(max_examples=60)
@given(wishes, st.sampled_from((ASSUMED, FAST)))
def test_what_is_compiled_is_sound_keeps_the_wish_and_passes_every_check_of_the_product(wish, delays):
    found = compile_wish(wish, delays)
    if isinstance(found, Refusal):
        return
    timers = found.timers
    assert found.sound
    assert wish.takeover_ms is None or found.takeover_max_ms <= wish.takeover_ms
    budgets = SiteBudgets(timers.stop_budget_ms, timers.kill_budget_ms)
    assert list(check_constants(timers.constants)) == []
    assert list(check_site(timers.constants, budgets)) == []
    assert list(check_ladder(budgets, watchdog=wish.watchdog, reset_before_ms=wish.reset_ms)) == []
    assert not wish.addresses or list(check_addresses(timers.constants)) == []


@settings(max_examples=60)
@given(wishes, st.sampled_from((ASSUMED, FAST)))
def test_a_refusal_names_both_numbers_and_its_nearest_wishes_can_be_met(wish, delays):
    found = compile_wish(wish, delays)
    if isinstance(found, Compiled):
        return
    for number in (found.least_ttl_ms, found.most_ttl_ms if wish.takeover_ms is not None else None):
        assert number is None or f"{number} ms" in found.words()
    for nearest in found.nearest:
        assert isinstance(compile_wish(nearest, delays), Compiled)
    if found.least_ttl_ms is not None and found.most_ttl_ms is not None and found.least_ttl_ms > found.most_ttl_ms:
        rest = replace(wish, takeover_ms=None)
        assert not judge(rest, found.least_ttl_ms - TTL_STEP_MS, delays).sound
        assert not judge(wish, found.most_ttl_ms + TTL_STEP_MS, delays).sound


def test_the_wish_of_the_readme_can_be_met_and_the_longest_lease_is_taken():
    found = compile_wish(parse_wish("takeover=10s silence=2s"))
    assert isinstance(found, Compiled)
    assert found.takeover_max_ms <= 10_000 < judge(found.wish, found.timers.ttl_ms + TTL_STEP_MS).takeover_max_ms


def test_without_a_takeover_the_shortest_lease_is_taken():
    found = compile_wish(Wish(silence_ms=2_000))
    assert isinstance(found, Compiled)
    assert not judge(found.wish, found.timers.ttl_ms - TTL_STEP_MS).sound


def test_an_impossible_wish_is_refused_with_both_numbers_and_what_can_be_met():
    found = compile_wish(parse_wish("takeover=3s silence=2s"))
    assert isinstance(found, Refusal)
    assert found.least_ttl_ms > found.most_ttl_ms
    quieter, slower = found.nearest[1], found.nearest[0]
    assert (slower.silence_ms, quieter.takeover_ms) == (2_000, 3_000)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("takeover=10", "for example takeover=2s"),
        ("takeover=1s takeover=2s", "said twice"),
        ("drift=50%", "must lie between"),
        ("soon", "names: takeover"),
        ("silence=2h", "DURATION"),
        ("silence=61m", "at most 60 minutes"),
    ],
)
def test_a_wish_that_is_none_is_refused_with_what_to_write(text, says):
    with pytest.raises(BadValue, match=says):
        parse_wish(text)


@given(wishes)
def test_a_wish_is_read_as_it_is_written(wish):
    exact = replace(wish, drift_max_ppm=wish.drift_max_ppm // 100 * 100)
    read = parse_wish(exact.words())
    zero_is_none = {name: getattr(exact, name) or None for name in ("takeover_ms", "silence_ms", "stop_ms", "kill_ms")}
    assert read == replace(exact, **zero_is_none, reset_ms=exact.reset_ms or None)


# -- what was measured ------------------------------------------------------------------------------------


def seen(count: int, ms: float) -> Histogram:
    made = Histogram()
    for _ in range(count):
        made.add(round(ms * NS_PER_MS))
    return made


def said(**parts: object) -> dict[str, object]:
    empty = Histogram().to_json()
    return {"commits": empty, "peers": empty, "election_max_ns": 0, "leader_changes": 0, "sites": {}, **parts}


def test_measured_delays_count_only_when_there_are_enough_of_them():
    few, many = Measurements(), Measurements()
    few.take("w1", said(commits=seen(10, 1).to_json()))
    many.take("w1", said(commits=seen(SAMPLES_MIN, 1).to_json(), election_max_ns=250 * NS_PER_MS))
    assert delays_of(few).commit_ns == ASSUMED.commit_ns
    assert delays_of(many).commit_ns == 2 * NS_PER_MS
    assert delays_of(many).election_ns == 250 * NS_PER_MS
    slow = Measurements()
    slow.take("w1", said(commits=seen(3, 400).to_json()))
    assert delays_of(slow).commit_ns == 400 * NS_PER_MS
    assert delays_of(None) == ASSUMED


def test_of_a_sites_lateness_the_longest_account_counts_and_not_the_sum_of_all_witnesses():
    measured = Measurements()
    for witness, count in (("w1", 5), ("w2", 9), ("w3", 7)):
        site = {"late": seen(count, 1).to_json()}
        measured.take(witness, said(sites={"dc-a": site}))
    assert measured.late["dc-a"].total == 9


def test_reality_is_told_with_both_numbers_where_it_is_worse_than_assumed():
    timers = derive(Wish(), 3_000, ASSUMED)
    calm, bad = Measurements(), Measurements()
    late = {"late": seen(100, 1_500).to_json()}
    calm.take("w1", said(commits=seen(100, 1).to_json(), election_max_ns=600 * NS_PER_MS))
    bad.take("w1", said(commits=seen(100, 80).to_json(), election_max_ns=900 * NS_PER_MS, sites={"dc-a": late}))
    assert list(warnings(calm, ASSUMED, timers)) == []
    told = {one.name: (one.assumed, one.measured) for one in warnings(bad, ASSUMED, timers)}
    assert told["election timeout"] == (600, 900)
    assert set(told) == {"commit (p99)", "election timeout", "dc-a: lateness (p99)"}
    assert all(str(int(pair[0])) in one.words() for one in warnings(bad, ASSUMED, timers) for pair in [told[one.name]])


# -- false takeovers --------------------------------------------------------------------------------------


def test_of_none_seen_three_in_n_is_said():
    assert chance_max(0, 10_000) == pytest.approx(3 / 10_000, rel=0.01)
    assert chance_max(0, 0) == 1.0
    assert chance_max(5, 5) == 1.0


@pytest.mark.parametrize(("k", "n", "bound"), [(1, 100, 0.04656), (5, 100, 0.10225), (10, 1_000, 0.01690)])
def test_the_bound_is_the_one_of_clopper_and_pearson(k, n, bound):
    assert chance_max(k, n) == pytest.approx(bound, rel=2e-3)


@given(st.integers(0, 50), st.integers(100, 10_000))
def test_the_bound_is_above_the_share_that_was_seen(k, n):
    assert k / n <= chance_max(k, n) <= 1


def test_what_is_late_is_counted_against_the_room_that_the_lease_leaves():
    delays = FAST
    timers = derive(Wish(), 3_000, delays)  # interval 1 s, stop 750 ms, one answer 8 ms: 1242 ms of room
    late = seen(997, 1)
    late.merge(seen(3, 1_600))
    found = estimate("dc-a", late, timers, delays)
    assert (found.renewals, found.too_late, found.allowed_late_ms) == (1_000, 3, 1_242)
    assert "3 of 1000" in found.words()
    none = estimate("dc-a", seen(1_000, 1), timers, delays)
    assert "fewer than 3/N" in none.words()
    assert "no renewal was measured" in estimate("dc-a", Histogram(), timers, delays).words()


def test_the_compilers_default_budgets_are_the_agents():
    lease = LeaseConstants(10_000, 10_000, 0)
    timers = derive(Wish(), lease.ttl_ms, ASSUMED)
    assert (timers.stop_budget_ms, timers.kill_budget_ms) == (2_500, 1_000)
