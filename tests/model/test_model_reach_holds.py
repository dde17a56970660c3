"""The searches with holds and with permits are not empty: their stories really happen, and every move occurs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from leasemodel.engine import Limits, search
from leasemodel.layers import EVERY_BY_NAME, EVERY_REMOVED, HOLDS, PERMITS, layer_of
from leasemodel.moves import Move

HOLD_MOVES = {
    "tick", "stand_down", "cold_start", "send", "answer", "forget", "commit_heartbeat", "ask", "forget_ask", "promise",
    "hold", "hold_end", "grant", "regrant", "expire", "commit_release", "configure", "sites", "learn", "delete",
    "recreate",
}  # fmt: skip
PERMIT_MOVES = {
    "tick", "stand_down", "take_permit", "cold_start", "send", "answer", "forget", "commit_heartbeat", "grant",
    "expire", "clear", "recreate",
}  # fmt: skip
ONLY_WITH_A_REMOVED_RULE = {"warm_restart", "decline"}


def lives_after_expiry(state: Any) -> bool:
    return bool(state.machine.lease is None and state.copies[0].hold == 2)


def waits_for_its_promise(state: Any) -> bool:
    lease = state.machine.lease
    return bool(lease and lease.site == 1 and state.copies[1].promise.left and state.copies[0].hold)


def moved_in_place(state: Any) -> bool:
    lease = state.machine.lease
    return bool(lease and lease.binds == 0 and lease.proved and state.copies[0].epoch == 2)


def second_holder_lives_by_holds(state: Any) -> bool:
    return state.machine.lease is None and state.copies[1].epoch == 2 and bool(state.copies[1].hold)


def holds_of_two_sites(state: Any) -> bool:
    return state.machine.lease is None and all(state.copies[0].heard[1:]) and bool(state.copies[0].hold)


def added_site_is_active(state: Any) -> bool:
    return bool(state.copies[2].authority)


def cold_promiser(state: Any) -> bool:
    return bool(state.machine.lease is None and state.copies[0].hold and state.copies[1].up == 0)


def barred_beside_holds(state: Any) -> bool:
    lease = state.machine.lease
    return bool(lease and lease.site == -1 and lease.wait == 0 and state.copies[0].hold)


def under_permit_beside_a_lease(state: Any) -> bool:
    lease = state.machine.lease
    return bool(state.copies[1].permit and lease and lease.site == 0 and lease.claim == 0)


def taken_back(state: Any) -> bool:
    return bool(state.copies[1].authority and state.copies[1].finished == 8)


def other_site_after_the_permit(state: Any) -> bool:
    return bool(state.copies[0].authority and state.copies[0].epoch > 8)


STORIES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("dc-a lives on by holds after its lease expired", "holds", lives_after_expiry),
    ("dc-b is granted the lease while it promises", "holds", waits_for_its_promise),
    ("dc-a moves to a new epoch without a stop", "holds-regrant", moved_in_place),
    ("dc-b lives by holds in the second epoch", "holds", second_holder_lives_by_holds),
    ("dc-a lives by the holds of two sites", "holds-three-sites", holds_of_two_sites),
    ("an added site becomes active", "holds-added-site", added_site_is_active),
    ("the promiser starts cold while the holder lives on", "holds-crash", cold_promiser),
    ("a restored group could be freed while dc-a lives by holds", "holds-restore", barred_beside_holds),
    ("dc-b is under permit while the witnesses have a lease of dc-a", "permit", under_permit_beside_a_lease),
    ("dc-b is taken back without a stop", "permit", taken_back),
    ("dc-a becomes active after dc-b was under permit", "permit", other_site_after_the_permit),
)


@pytest.mark.parametrize(("story", "scenario", "happens"), STORIES, ids=[story[0] for story in STORIES])
def test_story_happens(story: str, scenario: str, happens: Callable[[Any], bool]) -> None:
    bounds = EVERY_BY_NAME[scenario]
    layer = layer_of(bounds)
    model = layer.model(layer.rules(bounds))
    found = search(replace(model, judge=lambda state: "found" if happens(state) else None))
    assert found.broken == "found", f"{story}: never within {found.states} states of {scenario}"


def kinds_in(name: str) -> set[str]:
    bounds = EVERY_BY_NAME[name]
    layer = layer_of(bounds)
    model = layer.model(layer.rules(bounds))
    kinds: set[str] = set()

    def noting(state: Any) -> Iterator[tuple[Move, Any]]:
        for move, after in model.successors(state):
            kinds.add(move[0])
            yield move, after

    search(replace(model, successors=noting), Limits(states_max=3_000))
    return kinds


def test_every_move_happens() -> None:
    names = ("holds", "holds-configure", "holds-added-site", "holds-restore")
    assert set().union(*map(kinds_in, names)) == HOLD_MOVES
    assert set().union(*map(kinds_in, ("permit", "permit-crash", "permit-outage", "permit-cleared"))) == PERMIT_MOVES


@pytest.mark.parametrize("kind", sorted(HOLD_MOVES | ONLY_WITH_A_REMOVED_RULE))
def test_every_move_with_holds_has_words(kind: str) -> None:
    move = (kind, 0, 0, 0)
    assert HOLDS.report.move_words(move, EVERY_BY_NAME["holds"]) != repr(move)


@pytest.mark.parametrize("kind", sorted(PERMIT_MOVES))
def test_every_move_with_permits_has_words(kind: str) -> None:
    move = (kind, 0, 0, 0)
    assert PERMITS.report.move_words(move, EVERY_BY_NAME["permit"]) != repr(move)


def test_rules_of_every_layer_are_removed() -> None:
    layers = [layer_of(EVERY_BY_NAME[removed.scenario]) for removed in EVERY_REMOVED]
    assert layers.count(HOLDS) >= 19
    assert layers.count(PERMITS) >= 10
