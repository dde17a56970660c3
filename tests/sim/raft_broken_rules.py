"""Wrong variants of single rules of witness.raft, each with the faults that make it matter: the checkers must see them.

Each is a patch of one name in the code under test; nothing of it is in the product. `budget` is how many schedules
may pass until it is caught (about three times what it took when it was written).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from proto.units import NS_PER_MS, WitnessId
from witness.raft.age import AgeBook
from witness.raft.journal import Journal
from witness.raft.message_filter import MessageFilter, Verdict
from witness.raft.node import RaftNode, TurnResult
from witness.raft.store import Store
from witness.sim.disk.volume import SimFile
from witness.sim.raft.run import setup_of
from witness.sim.raft.setup import Setup

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Broken:
    name: str
    patch: Patch
    kinds: tuple[str, ...]
    caught_as: frozenset[str]
    budget: int
    changes: tuple[tuple[str, object], ...] = ()
    """Of the drawn setup, so that it matters more often."""


def setup_for(broken: Broken, seed: int) -> Setup:
    setup = setup_of(seed, broken.kinds)
    if len(setup.witnesses) == 1:
        setup = replace(setup, witnesses=tuple(WitnessId(name) for name in ("w1", "w2", "w3")))
    return replace(setup, **dict(broken.changes))


def commit_by_a_chunk(patch: pytest.MonkeyPatch) -> None:
    """D-1: a snapshot's chunk commits what lies in the follower's own log."""
    right = MessageFilter._append

    def append(self, sender, message, view, now_ns):
        verdict = right(self, sender, message, view, now_ns)
        if verdict.deliver is None or "serialized" not in message:
            return verdict
        return replace(verdict, deliver={**verdict.deliver, "commit_index": message["commit_index"]})

    patch.setattr(MessageFilter, "_append", append)


def any_append_truncates(patch: pytest.MonkeyPatch) -> None:
    """D-3: a late append cuts off what came after it."""

    def delete(self, entryFrom):  # noqa: N803  # the library's name
        index = self._entries[0][1] + entryFrom
        if self._entries[-1][1] >= index:
            self._truncate(index)

    patch.setattr(Journal, "deleteEntriesFrom", delete)


def vote_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    """D-7: the disk learns the term, but not for whom we voted."""
    right = Store.set_state
    patch.setattr(Store, "set_state", lambda self, state: right(self, replace(state, voted_for=None)))


def sent_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    """D-6: what a turn has to say leaves before its commit."""
    right = Journal.commit

    def turn(self, now_ns, unsent_bytes, early_send=None):
        outbox = {}

        def commit(journal):
            outbox.update(self._outbox.take())
            early_send(outbox)
            return right(journal)

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Journal, "commit", commit)
            result = whole(self, now_ns, unsent_bytes, None)
        return TurnResult({}, result.synced)

    whole = RaftNode.turn
    patch.setattr(RaftNode, "turn", turn)


def disk_that_does_not_sync(patch: pytest.MonkeyPatch) -> None:
    """D-6: the disk says that it synced, and did not."""
    patch.setattr(SimFile, "sync", lambda self: None)


def age_from_the_arrival(patch: pytest.MonkeyPatch) -> None:
    """An entry is dated by when it came, not by when it was appended."""

    def bound(self, index, term, now_ns):
        return 0

    patch.setattr(AgeBook, "bound", bound)


def every_vote_is_given(patch: pytest.MonkeyPatch) -> None:
    """A vote for whoever asks, whatever its log."""
    right = MessageFilter._vote_request

    def vote(self, sender, message, view, now_ns):
        ahead = {**message, "last_log_index": 1 << 40, "last_log_term": message["term"]}
        return right(self, sender, ahead, view, now_ns)

    def pre_vote(self, message, view, now_ns):
        answer = {"type": "pre_vote_answer", "term": message["term"], "granted": True, "current": view.term}
        return Verdict(reply=answer)

    patch.setattr(MessageFilter, "_vote_request", vote)
    patch.setattr(MessageFilter, "_pre_vote", pre_vote)


def leader_is_never_heard(patch: pytest.MonkeyPatch) -> None:
    """D-13: leave to stand, and a vote, for whoever asks, although a leader is heard."""
    patch.setattr(MessageFilter, "_leader_is_heard", lambda self, now_ns: False)


def lowest_reset_forgotten(patch: pytest.MonkeyPatch) -> None:
    """D-11: the last reset of many wins, and the search for the common prefix never ends."""
    right = MessageFilter._acknowledgement

    def acknowledgement(self, sender, message, view):
        self._lowest_reset.clear()
        return right(self, sender, message, view)

    patch.setattr(MessageFilter, "_acknowledgement", acknowledgement)


CRASHES = ("power", "power-all", "power-at-disk", "power-at-send")
SPLITS = ("isolate-leader", "cut-set", "cut-pair")
RESTLESS = (("restart_ns", 5 * NS_PER_MS), ("delay_ns", 40 * NS_PER_MS), ("proposals", 0.1))
"""Candidates that meet, and voters that are back at once."""
UNSENT = ("power-at-send", "isolate-leader")
"""Votes of which some left and some did not, in many elections."""
SPARSE = (("gap_ns", 200 * NS_PER_MS),)
"""One blow after the other, with time for a leader between them."""
DIVERGED = frozenset({"agreement", "completeness", "crash"})
BROKEN = (
    Broken("commit by a chunk", commit_by_a_chunk, ("isolate-leader", "snapshot"), DIVERGED, 60),
    Broken("any append truncates", any_append_truncates, ("reorder", "duplicate", "power"), DIVERGED, 60),
    Broken("vote is not kept", vote_is_not_kept, UNSENT, frozenset({"votes"}), 60, RESTLESS),
    Broken("sent before the sync", sent_before_the_sync, ("power",), frozenset({"unsynced"}), 10),
    Broken("disk that lies", disk_that_does_not_sync, CRASHES, frozenset({"unsynced"}), 10),
    Broken("age from the arrival", age_from_the_arrival, ("pause-any", "delay"), frozenset({"age"}), 10),
    Broken("every vote is given", every_vote_is_given, (*SPLITS, "kill"), frozenset({"completeness"}), 60),
    Broken("leader is never heard", leader_is_never_heard, ("cut-pair",), frozenset({"unseated"}), 20, SPARSE),
    Broken("lowest reset forgotten", lowest_reset_forgotten, (*SPLITS, "duplicate"), frozenset({"stuck"}), 60),
)
