"""The search itself: known graphs, limits, and that the reductions of reduce.py change no verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from leasemodel.checks import check_removed, check_rules
from leasemodel.engine import Limits, Model, dead_ends, search
from leasemodel.removed import REMOVED_RULES, Removed
from leasemodel.report import trace_words
from leasemodel.rules import EVERYTHING, Rules
from leasemodel.scenarios import Bounds

TINY = Bounds("tiny", "", ttls=(1,), attempts=1, renewals=1, restarts=True)
"""Small enough to be searched with every reduction off."""


def jugs(state: tuple[int, int]) -> Iterator[tuple[str, tuple[int, int]]]:
    """A jug of three and one of five: known to reach four in six pours."""
    small, big = state
    yield "fill small", (3, big)
    yield "fill big", (small, 5)
    yield "empty small", (0, big)
    yield "empty big", (small, 0)
    poured = min(small, 5 - big)
    yield "small to big", (small - poured, big + poured)
    poured = min(big, 3 - small)
    yield "big to small", (small + poured, big - poured)


def jug_model(goal: int | None) -> Model[tuple[int, int], str]:
    return Model((0, 0), jugs, lambda s: s, lambda s: "found" if s[1] == goal else None)


def test_search_finds_a_shortest_trace() -> None:
    found = search(jug_model(4))
    assert found.broken == "found"
    assert not found.exhausted
    assert [move for move, _ in found.trace][1:] == [
        "fill big",
        "big to small",
        "empty small",
        "big to small",
        "fill big",
        "big to small",
    ]


def test_search_visits_every_state_once() -> None:
    found = search(jug_model(None))
    assert found.exhausted
    assert found.states == 16
    assert found.transitions == 16 * 6


def test_a_search_that_gave_up_says_so() -> None:
    found = search(jug_model(None), Limits(states_max=5))
    assert not found.exhausted
    assert found.broken is None


def test_a_start_that_is_broken_is_found() -> None:
    found = search(jug_model(0))
    assert found.broken == "found"
    assert len(found.trace) == 1


def test_dead_ends_are_found_and_ways_out_by_fault_do_not_count() -> None:
    def line(state: int) -> Iterator[tuple[str, int]]:
        if state < 3:
            yield "step", state + 1
        if state == 3:
            yield "repair", 0
        if state == 1:
            yield "break", 9

    model: Model[int, str] = Model(0, line, lambda s: s, lambda _s: None)
    ends = dead_ends(model, lambda s: s == 2, lambda _s: True, lambda _s, move, _after: move == "repair")
    assert ends.stuck == 2
    assert [state for _, state in ends.trace] in ([0, 1, 9], [0, 1, 2, 3])
    assert dead_ends(model, lambda s: s == 2, lambda s: s < 3, lambda _s, _move, _after: False).stuck == 0


@pytest.mark.parametrize("kind", sorted(EVERYTHING))
def test_forgetting_changes_no_verdict_of_the_full_rules(kind: str) -> None:
    """One kind of stale thing is kept at a time: all of them at once make millions of states of this.

    Stale votes multiply fastest; one epoch with renewals has them too.
    """
    if kind == "votes":
        compare(replace(TINY, ttls=(2,), epochs=1, renewals=2), kind)
    else:
        compare(replace(TINY, grants=2 if kind == "grants" else 0), kind)


@pytest.mark.parametrize("kind", ["answers", "grants", "releases"])
def test_dead_heartbeats_change_no_verdict_either(kind: str) -> None:
    compare(replace(TINY, dead_heartbeats=True, restarts=False, grants=1 if kind == "grants" else 0), kind)


def compare(bounds: Bounds, kind: str) -> None:
    keeping = type("Keeping", (Rules,), {"remembers": frozenset({kind})})
    reduced = check_rules(bounds)
    unreduced = check_rules(bounds, Limits(seconds_max=100.0), rules=keeping)
    assert reduced.broken is None
    assert unreduced.broken is None, trace_words(unreduced.trace, bounds)
    assert reduced.exhausted
    assert unreduced.exhausted
    assert unreduced.states >= reduced.states


QUICK = ("minority-expires", "release-before-down", "deleted-while-held", "revoke-vacates", "no-tombstone")


@pytest.mark.parametrize("removed", [r for r in REMOVED_RULES if r.name in QUICK], ids=lambda removed: removed.name)
def test_forgetting_hides_no_removed_rule(removed: Removed) -> None:
    """A wrong rule that is caught with the reductions is caught at the same depth without forgetting."""
    whole = type("Whole", (removed.rules,), {"remembers": EVERYTHING})
    forgetful = check_removed(removed)
    complete = check_removed(replace(removed, rules=whole))
    assert complete.broken == forgetful.broken
    assert len(complete.trace) == len(forgetful.trace)
