"""The searches are not empty: the stories that the rules are about really happen in them.

A model whose second epoch never starts would keep every promise. So each of these searches for a good state and
must find it, and every kind of move must occur.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from leasemodel.engine import Limits, search
from leasemodel.layers import LEASE
from leasemodel.moves import Move, successors
from leasemodel.report import move_words
from leasemodel.rules import Rules
from leasemodel.scenarios import BY_NAME, Bounds
from leasemodel.state import NOBODY, State

ONLY_WITH_A_REMOVED_RULE = {"grant_seen", "replica_answer", "new_incarnation_heard", "delete_group"}
ALL_MOVES = {
    "tick", "send", "answer", "forget", "stand_down", "decline", "commit_release", "cold_start",
    "commit_heartbeat", "repeat_heartbeat", "propose_grant", "commit_grant", "lose_grant", "apply", "cast_vote",
    "commit_vote", "witness_restart", "configure", "revoke", "recreate",
}  # fmt: skip


def active_under(site: int, epoch: int) -> Callable[[State], bool]:
    return lambda state: bool(state.copies[site].authority) and state.copies[site].epoch == epoch


def authority_of_the_past(state: State) -> bool:
    lease = state.machine.lease
    return lease is not None and lease.site == NOBODY and any(copy.authority for copy in state.copies)


def other_ttl(state: State) -> bool:
    return active_under(0, 1)(state) and state.machine.ttl == 1


def held_while_refused(state: State) -> bool:
    return bool(state.machine.lease and state.machine.lease.refusing and state.copies[0].authority)


STORIES: tuple[tuple[str, str, Callable[[State], bool]], ...] = (
    ("dc-b is active in the second epoch", "basic", active_under(1, 2)),
    ("dc-a comes back in the second epoch", "basic", active_under(0, 2)),
    ("an epoch outlives its first ttl", "basic", lambda s: bool(s.machine.lease and s.machine.lease.renewal == 2)),
    ("the clone has the claim", "clone", active_under(1, 1)),
    ("the third epoch is reached by the third site", "three-sites", active_under(2, 3)),
    ("an old holder is still active while the restored group is barred", "restore", authority_of_the_past),
    ("a site becomes active after a restore", "restore", lambda s: s.recreations == 1 and active_under(1, 3)(s)),
    ("a lease runs with another ttl than configured", "configure", other_ttl),
    ("a session lingers after an unclean end", "lock-delay", lambda s: bool(s.copies[0].linger)),
    ("a second incarnation is active", "crash", lambda s: s.copies[0].incarnation == 2 and bool(s.copies[0].authority)),
    ("a lease is held on while renewals are refused", "revoke", held_while_refused),
)  # fmt: skip


@pytest.mark.parametrize(("story", "scenario", "happens"), STORIES, ids=[story[0] for story in STORIES])
def test_story_happens(story: str, scenario: str, happens: Callable[[State], bool]) -> None:
    model = LEASE.model(Rules(BY_NAME[scenario]))
    found = search(replace(model, judge=lambda state: "found" if happens(state) else None))
    assert found.broken == "found", f"{story}: never within {found.states} states of {scenario}"


def kinds_in(bounds: Bounds) -> set[str]:
    rules = Rules(bounds)
    kinds: set[str] = set()

    def noting(state: State) -> Iterator[tuple[Move, State]]:
        for move, after in successors(state, rules):
            kinds.add(move[0])
            yield move, after

    search(replace(LEASE.model(rules), successors=noting), Limits(states_max=3_000))
    return kinds


def test_every_move_happens() -> None:
    seen = set().union(*(kinds_in(BY_NAME[name]) for name in ("repeats", "revoke", "restore-configure", "crash")))
    assert seen == ALL_MOVES


@pytest.mark.parametrize("kind", sorted(ALL_MOVES | ONLY_WITH_A_REMOVED_RULE))
def test_every_move_has_words(kind: str) -> None:
    assert move_words((kind, 0, 0, 0), BY_NAME["basic"]) != repr((kind, 0, 0, 0))
