"""Which life of the cluster a store belongs to: its restore lineage, and the feature level that its content has.

Rule: a restore of all witnesses begins a new lineage (16 bytes; zeros before any restore), written into each store
before the witness starts. Witnesses of two lineages never speak Raft to each other: a leftover of the life before a
restore would bring back what the restore reset. One exception: a learner that has no lineage yet, since a blank disk
cannot know it; it learns the lineage with the state that it is sent, before it may vote.
docs/adr/0009-restore-lineage.md has the reasons.
"""

from __future__ import annotations

from typing import Final, Protocol

from proto.features import FEATURE_FIRST, FEATURE_MAX, require_level
from proto.units import NO_LINEAGE

LINEAGE_MARK: Final = "lineage"
FEATURE_MARK: Final = "feature-level"


class Marks(Protocol):
    """What is needed of a store: its small marks."""

    def get_meta(self, name: str) -> bytes | None: ...
    def put_meta(self, name: str, value: bytes) -> None: ...


def lineage_of(store: Marks) -> bytes:
    return store.get_meta(LINEAGE_MARK) or NO_LINEAGE


def feature_level_of(store: Marks) -> int:
    """The highest level that this store's content was told to have."""
    return int(store.get_meta(FEATURE_MARK) or FEATURE_FIRST)


def require_readable(store: Marks, where: object) -> None:
    """Raises UpgradeRequired when the store was written at a level that this program cannot work at (a downgrade)."""
    require_level(feature_level_of(store), FEATURE_MAX, f"{where}: what is stored there")


def keep_marks(store: Marks, level: int, lineage: bytes) -> None:
    """The replicated state says both; they reach the disk with the next commit."""
    if level > feature_level_of(store):
        store.put_meta(FEATURE_MARK, str(level).encode())
    if lineage != lineage_of(store):
        store.put_meta(LINEAGE_MARK, lineage)


def lineages_fit(own: bytes, theirs: bytes, *, own_learner: bool, their_learner: bool) -> bool:
    """Whether two witnesses may speak Raft: the one that has no lineage yet must be a learner."""
    if own == theirs:
        return True
    return (own_learner and own == NO_LINEAGE) or (their_learner and theirs == NO_LINEAGE)


def lineage_words(self_id: str, own: bytes, peer: str, theirs: bytes) -> str:
    """Why two witnesses of different lineages do not speak, and what to do."""
    return (
        f"{peer} has the data of lineage {_shown(theirs)}, {self_id} of {_shown(own)}: all witnesses were restored and "
        "one of the two was not, or from another backup; run `witness restore` with the same backup there too, or "
        "`witness readmit -c FILE` on the one that is alone"
    )


def _shown(lineage: bytes) -> str:
    return "none" if lineage == NO_LINEAGE else lineage.hex()[:8]
