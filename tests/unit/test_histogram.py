"""A histogram tells upper bounds: never less than what it was given, and never more than a bucket above."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proto.errors import BadValue
from proto.histogram import BUCKETS_MAX, Histogram, bucket_of, edge_ns

durations = st.integers(0, 1 << 42)


def of(values):
    made = Histogram()
    for value in values:
        made.add(value)
    return made


@given(durations)
def test_a_bucket_holds_what_falls_into_it(ns):
    bucket = bucket_of(ns)
    assert 0 <= bucket < BUCKETS_MAX
    assert bucket == BUCKETS_MAX - 1 or ns <= edge_ns(bucket)
    assert bucket == 0 or ns > edge_ns(bucket - 1)


@given(st.lists(st.integers(1_000, 10**12), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_is_never_below_the_true_one_and_at_most_a_fifth_above(values, share):
    true = sorted(values)[math.ceil(share * len(values)) - 1]
    told = of(values).quantile_ns(share)
    assert true <= told <= max(true * 1.2, edge_ns(0))


@given(st.lists(durations, max_size=40), st.lists(durations, max_size=40))
def test_merged_is_as_if_all_had_been_counted_in_one(one, other):
    merged = of(one)
    merged.merge(of(other))
    assert merged == of(one + other)


@given(st.lists(durations, max_size=40), durations)
@example([2_147_483_648_001], 2_147_483_648_000)
def test_above_never_overlooks_one_that_took_longer(values, limit):
    assert of(values).above(limit) >= sum(value > limit for value in values)


@given(st.lists(durations, max_size=40))
def test_it_survives_json(values):
    assert Histogram.from_json(json.loads(json.dumps(of(values).to_json())), "x") == of(values)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        {"counts": {"a": 1}, "total": 1, "longest_ns": 1},
        {"counts": {"1": -1}, "total": -1, "longest_ns": 1},
        {"counts": {"500": 1}, "total": 1, "longest_ns": 1},
        {"counts": {"1": 1}, "total": 2, "longest_ns": 1},
        {"counts": {"1": 1}, "total": 1, "longest_ns": "long"},
    ],
)
def test_what_it_did_not_write_is_refused_with_its_name(raw):
    with pytest.raises(BadValue, match=r"w1\.commits"):
        Histogram.from_json(raw, "w1.commits")


def test_nothing_measured_has_no_quantile():
    assert Histogram().quantile_ns(0.5) is None
    assert Histogram().above(0) == 0
