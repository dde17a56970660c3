"""What the rules of each feature level make of one long log, pinned: the same log must give the same state for ever.

When this fails, you changed what is applied: a rule, a text of an event, a bound. A witness of the version before
makes another state of the same entries, in a rolling upgrade and when it reads its log again after one; the two then
grant one epoch to two sites. Before a release, `python tests/unit/test_replicated_rules.py` writes the files anew.
After it, let the rule ask `state.feature_level`, raise FEATURE_MAX (proto/features.py), and write the new level's file;
those of released levels never change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from replicated_walk import Walk
from replicated_walk_2 import LaterWalk, WallRig

from proto.events import EventKind
from proto.features import FEATURE_FIRST, FEATURE_MAX
from proto.schema import members_of
from witness.core.machine import Machine

STEPS, STEPS_LATER, EVERY, IMAGE_EVERY = 4_000, 3_000, 100, 10
LEVELS = range(FEATURE_FIRST, FEATURE_MAX + 1)
OF_OTHER_LOGS = {"cluster-founded", "feature-raised", "restored"}
"""Events that this one cannot have."""
OF_LEVEL_2 = {
    *("holds-began", "holds-ended", "holds-broken", "regranted"),
    *("permit-used", "permit-ended", "permit-clash", "reconciled"),
    *("clock-too-slow", "clock-too-fast", "clock-fit"),
}


def pinned(level: int) -> tuple[str, Walk]:
    walk = Walk() if level == FEATURE_FIRST else LaterWalk(level)
    lines = []
    for step in range(1, (STEPS if level == FEATURE_FIRST else STEPS_LATER) + 1):
        walk.step()
        if step % EVERY == 0:
            state = walk.rig.machine.state
            lines.append(f"{state.applied_index}: state {walk.rig.machine.state_hash()[:16]}, events {chain(state)}")
    counts = [f"{name}: {count}" for name, count in sorted((walk.seen + walk.kinds).items())]
    return "\n".join([*lines, "", *counts]) + "\n", walk


def chain(state: Any) -> str:
    return f"{state.ledger.head_seq} {state.ledger.head_chain.hex()[:16]}"


def file_of(level: int) -> Path:
    return Path(__file__).with_name(f"replicated_rules_{level}.txt")


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_makes_of_a_log_what_it_always_did(level: int) -> None:
    text, walk = pinned(level)
    assert text == file_of(level).read_text(encoding="utf-8"), __doc__
    again = Machine()
    for index, data in enumerate(walk.rig.log, start=1):
        again.apply(index, data)
    assert again.snapshot() == walk.rig.machine.snapshot(), "nothing but the log decides"


@pytest.mark.parametrize("level", LEVELS)
def test_a_replica_that_was_installed_from_an_image_tells_the_same(level: int) -> None:
    """Images hold dicts and sets sorted; the order in which things came is on the replicas that saw them alone."""
    _, walk = pinned(level)
    replica = Machine()
    events = []
    for index, data in enumerate(walk.rig.log, start=1):
        events += replica.apply(index, data).events
        if index % IMAGE_EVERY == 0:
            replica.restore(replica.snapshot())
    assert replica.snapshot() == walk.rig.machine.snapshot()
    assert events, "the last event's hash is in the image, and so they are all the same"


def test_the_log_meets_every_event_and_most_refusals() -> None:
    _, walk = pinned(FEATURE_FIRST)
    assert {kind.value for kind in members_of(EventKind, FEATURE_FIRST)} - set(walk.kinds) == OF_OTHER_LOGS
    assert len(walk.seen) >= 20, walk.seen


def test_the_log_of_level_2_has_holds_permits_and_clocks_of_every_kind() -> None:
    _, walk = pinned(2)
    assert isinstance(walk.rig, WallRig)
    assert walk.rig.told >= OF_LEVEL_2
    assert {"clock-too-slow", "clock-too-fast"} <= set(walk.seen)


if __name__ == "__main__":
    for one in LEVELS:
        file_of(one).write_text(pinned(one)[0], encoding="utf-8")
