"""Which witnesses belong to one life of the cluster, and what a store remembers of it."""

from __future__ import annotations

import pytest

from proto.features import FEATURE_MAX, UpgradeRequired
from proto.units import NO_LINEAGE
from witness.raft.lineage import feature_level_of, keep_marks, lineage_of, lineages_fit, require_readable

ONE, TWO = b"1" * 16, b"2" * 16


class Marks:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get_meta(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def put_meta(self, name: str, value: bytes) -> None:
        self.kept[name] = value


def test_a_store_without_marks_is_of_the_first_life_and_level():
    store = Marks()
    assert (lineage_of(store), feature_level_of(store)) == (NO_LINEAGE, 1)


def test_marks_are_kept_the_level_never_falls_and_nothing_is_written_twice():
    store = Marks()
    keep_marks(store, 1, NO_LINEAGE)
    assert store.kept == {}
    keep_marks(store, 2, ONE)
    assert (lineage_of(store), feature_level_of(store)) == (ONE, 2)
    keep_marks(store, 1, ONE)
    assert feature_level_of(store) == 2


def test_a_store_of_a_later_level_is_not_opened_by_an_older_program():
    store = Marks()
    require_readable(store, "/data")
    keep_marks(store, FEATURE_MAX + 1, NO_LINEAGE)
    with pytest.raises(UpgradeRequired, match=f"/data: what is stored there needs feature level {FEATURE_MAX + 1},"):
        require_readable(store, "/data")


@pytest.mark.parametrize(
    ("own", "theirs", "own_learner", "their_learner", "fit"),
    [
        (NO_LINEAGE, NO_LINEAGE, False, False, True),
        (ONE, ONE, False, False, True),
        (ONE, TWO, False, False, False),
        (ONE, NO_LINEAGE, False, False, False),
        (NO_LINEAGE, ONE, False, False, False),
        (NO_LINEAGE, ONE, True, False, True),
        (ONE, NO_LINEAGE, False, True, True),
        (NO_LINEAGE, ONE, False, True, False),  # a learner that has its lineage, and a voter of the life before
        (ONE, NO_LINEAGE, True, False, False),
        (NO_LINEAGE, ONE, True, True, True),
        (ONE, TWO, True, True, False),
    ],
)
def test_only_one_lineage_speaks_and_a_learner_may_lack_it(own, theirs, own_learner, their_learner, fit):
    assert lineages_fit(own, theirs, own_learner=own_learner, their_learner=their_learner) is fit
