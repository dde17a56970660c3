"""Raft's messages: votes, terms, acknowledgements, what commits (witness/raft, without its disk)."""

from __future__ import annotations

import pytest
from mutant import FuzzFocus, Mutant, raft_broken
from raft_broken_rules import CRASHES, DIVERGED

from proto.units import WitnessId
from witness.raft import node as node_module
from witness.raft.age import LeaderRounds
from witness.raft.elections import PreVotes
from witness.raft.engine_adapter import Engine
from witness.raft.journal import Journal
from witness.raft.message_filter import MessageFilter, Verdict
from witness.raft.outbox import TurnOutbox
from witness.raft.stamps import Stamps

FIVE = ("witnesses", tuple(WitnessId(f"w{number}") for number in range(1, 6)))
BROKEN = DIVERGED | {"durable", "prefix", "state", "order"}


def acks_without_term(patch: pytest.MonkeyPatch) -> None:
    """D-4: an acknowledgement of an older term counts in this one."""
    right = MessageFilter._acknowledgement

    def acknowledgement(self, sender, message, view):
        if message["term"] < view.term:
            next_index = min(message["next_node_idx"], view.last_index + 1)
            message = {**message, "term": view.term, "next_node_idx": next_index}
        return right(self, sender, message, view)

    patch.setattr(MessageFilter, "_acknowledgement", acknowledgement)


def commit_beyond_the_proof(patch: pytest.MonkeyPatch) -> None:
    """D-1, D-3: the leader's commit index counts over entries that the message did not compare."""
    right = MessageFilter._entries

    def entries(self, sender, message, view, now_ns):
        verdict = right(self, sender, message, view, now_ns)
        if verdict.deliver is None or "entries" not in verdict.deliver:
            return verdict
        return Verdict({**verdict.deliver, "commit_index": message["commit_index"]}, verdict.reply)

    patch.setattr(MessageFilter, "_entries", entries)


def votes_are_counted_not_voters(patch: pytest.MonkeyPatch) -> None:
    """D-19."""
    right = MessageFilter._vote

    def vote(self, sender, message, view):
        self._votes = (-1, set())
        return right(self, sender, message, view)

    patch.setattr(MessageFilter, "_vote", vote)


def acks_beyond_the_log(patch: pytest.MonkeyPatch) -> None:
    right = MessageFilter._acknowledgement

    def acknowledgement(self, sender, message, view):
        if message["success"] and message["term"] == view.term:
            return Verdict({**message, "next_node_idx": view.last_index + 1})
        return right(self, sender, message, view)

    patch.setattr(MessageFilter, "_acknowledgement", acknowledgement)


def a_remembered_commit_index(patch: pytest.MonkeyPatch) -> None:
    """D-5: after a start all that is in the log counts as committed."""
    patch.setattr(Journal, "getRaftCommitIndex", lambda self: self._entries[-1][1])


def everything_leaves_early(patch: pytest.MonkeyPatch) -> None:
    """Not only a leader's appends, and not only when its term is on disk."""

    def send_early(self, early_send):
        early = self._outbox.take()
        if early:
            early_send(early)

    patch.setattr(node_module.RaftNode, "_send_early", send_early)


def followers_send_early(patch: pytest.MonkeyPatch) -> None:
    """A follower's acknowledgement leaves beside its own sync."""
    right = TurnOutbox.take_appends

    def take_appends(self, peers):
        early = right(self, peers)
        for peer, messages in self._messages.items():
            acks = [message for message in messages if message["type"] == "next_node_idx"]
            if acks:
                early.setdefault(peer, []).extend(acks)
                self._messages[peer] = [message for message in messages if message["type"] != "next_node_idx"]
        return early

    def send_early(self, early_send):
        early = self._outbox.take_appends(self._linked)
        if early:
            early_send(early)

    patch.setattr(TurnOutbox, "take_appends", take_appends)
    patch.setattr(node_module.RaftNode, "_send_early", send_early)


def echoes_of_an_uncertain_leader(patch: pytest.MonkeyPatch) -> None:
    """A leader that nobody heard lately still says how young its log's end is."""
    patch.setattr(LeaderRounds, "certain_ns", lambda self, now_ns: now_ns)


def ages_by_the_sending(patch: pytest.MonkeyPatch) -> None:
    """The echo is the newest stamp, taken at the arrival of the append."""
    right = Stamps.took_append

    def took_append(self, peer, message, now_ns):
        later_ns = min(message["echo"] + 40_000_000, now_ns)
        right(self, peer, {**message, "echo": later_ns if message["echo"] else 0}, now_ns)

    patch.setattr(Stamps, "took_append", took_append)


def older_snapshots_are_installed(patch: pytest.MonkeyPatch) -> None:
    """D-10: what is applied already is replaced by what is older, and the log with it."""
    right = Engine._SyncObj__loadDumpFile

    def load(self, clearJournal):  # noqa: N803  # the library's name
        received = self._SyncObj__serializer.received
        older = received is not None and received[0].last_index <= self.applied_index
        if older:
            self._SyncObj__raftLastApplied = received[0].last_index - 1
            self._journal.term_at = lambda index: None
        right(self, clearJournal)
        if older:
            del self._journal.term_at

    patch.setattr(Engine, "_SyncObj__loadDumpFile", load)


def prefix_below_the_snapshot_is_asked(patch: pytest.MonkeyPatch) -> None:
    """D-28: what the leader sends from below our snapshot does not match."""
    right = MessageFilter._entries

    class Whole:
        def __init__(self, view):
            self._view = view
            self.first_index = 0

        def __getattr__(self, name):
            return getattr(self._view, name)

    patch.setattr(
        MessageFilter,
        "_entries",
        lambda self, sender, message, view, now_ns: right(self, sender, message, Whole(view), now_ns),
    )


def elections_without_majority(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks may stand, and whoever stands has won."""
    right = Engine.tick

    def tick(self, held):
        right(self, held)
        for peer in self._members:
            if self.role is node_module.Role.CANDIDATE:
                self.deliver(peer, {"type": "response_vote", "term": self.term})

    def take_win(self, term_now, leader_heard_ns):
        asked, self._round = self._round, None
        return asked is not None

    patch.setattr(Engine, "tick", tick)
    patch.setattr(PreVotes, "take_win", take_win)


def a_newer_term_in_an_answer_is_not_heard(patch: pytest.MonkeyPatch) -> None:
    right = MessageFilter._acknowledgement

    def acknowledgement(self, sender, message, view):
        return right(self, sender, {**message, "term": min(message["term"], view.term)}, view)

    patch.setattr(MessageFilter, "_acknowledgement", acknowledgement)


MUTANTS = (
    raft_broken("commit by a chunk", "a snapshot's message commits nothing", "D-1"),
    raft_broken("any append truncates", "the log is cut only on a conflict of terms", "D-3"),
    raft_broken("every vote is given", "no vote for a log that is behind", "Raft 5.4.1"),
    raft_broken("leader is never heard", "no leave to stand, and no vote, while a leader is heard", "D-13"),
    raft_broken("lowest reset forgotten", "the lowest of several rejections stands", "D-11"),
    raft_broken("age from the arrival", "an entry's age is never understated", "age"),
    Mutant(
        "acks-without-term",
        "an acknowledgement counts in its own term only",
        "D-4",
        acks_without_term,
        tests=(
            "raft_review/test_review_commit.py::test_d04_an_acknowledgement_of_an_older_term_counts_for_nothing[ours]",
        ),
        why="one member must lead twice, with an answer of its first time still on the way: once in thousands",
    ),
    Mutant(
        "newer-term-not-heard",
        "a leader that is told a newer term steps down",
        "D-4",
        a_newer_term_in_an_answer_is_not_heard,
        tests=("raft_review/test_review_commit.py::test_d04_a_leader_of_an_older_term_is_told_the_newer_one[ours]",),
        why="it hears of the newer term from others too, and commits nothing meanwhile",
    ),
    Mutant(
        "commit-beyond-the-proof",
        "a message commits no more than it has compared",
        "D-1, D-3",
        commit_beyond_the_proof,
        FuzzFocus(("isolate-leader", "flap", "loss"), BROKEN, 100, (("proposals", 0.9),)),
    ),
    Mutant(
        "votes-not-distinct",
        "votes of a majority are those of different members",
        "D-19",
        votes_are_counted_not_voters,
        tests=("raft_review/test_review_commit.py::test_d19_a_repeated_vote_counts_once[ours]",),
        why="who stands has the leave of a majority already, each counted once",
    ),
    Mutant(
        "acks-beyond-the-log",
        "an acknowledgement counts as far as its sender's log goes",
        "Raft 5.3",
        acks_beyond_the_log,
        FuzzFocus(("isolate-leader", "loss"), BROKEN, 60),
    ),
    Mutant(
        "remembered-commit-index",
        "after a start nothing is committed but what a leader proves",
        "D-5",
        a_remembered_commit_index,
        FuzzFocus(("isolate-leader", "kill-all", "kill"), BROKEN, 60),
    ),
    Mutant(
        "everything-leaves-early",
        "nothing but a leader's appends leaves before the sync",
        "D-6",
        everything_leaves_early,
        FuzzFocus(("power",), frozenset({"unsynced"}), 5, (("early", True),)),
    ),
    Mutant(
        "followers-send-early",
        "what is acknowledged is synced",
        "D-6",
        followers_send_early,
        FuzzFocus(CRASHES, frozenset({"unsynced"}), 5, (("early", True),)),
    ),
    Mutant(
        "echo-of-uncertain-leader",
        "only a leader that a majority has just answered dates entries",
        "age",
        echoes_of_an_uncertain_leader,
        tests=("unit/test_raft_parts.py::test_a_stamp_is_echoed_only_when_a_majority_answered_something_later",),
        why="a deposed leader must keep one follower for the very second in which ages count",
    ),
    Mutant(
        "age-understated",
        "an entry's age is counted from a stamp of one's own",
        "age",
        ages_by_the_sending,
        FuzzFocus(("pause-any", "delay"), frozenset({"age"}), 30),
    ),
    Mutant(
        "older-snapshot-installed",
        "a snapshot that is older than the state changes nothing",
        "D-10",
        older_snapshots_are_installed,
        tests=("raft_review/test_review_log.py::test_d10_an_older_snapshot_takes_nothing_away[ours]",),
        why="the log keeps what follows, by another rule (D-2), and is applied again to the same state",
    ),
    Mutant(
        "prefix-below-snapshot-asked",
        "below the own snapshot everything matches",
        "D-28",
        prefix_below_the_snapshot_is_asked,
        tests=("unit/test_raft_filter.py::test_a_prefix_below_our_snapshot_counts_as_matching",),
        why="it takes a divergent log that is longer than the leader's and ends below a snapshot: once in thousands",
    ),
    Mutant(
        "elections-without-majority",
        "a leader has the votes of a majority",
        "Raft 5.2",
        elections_without_majority,
        FuzzFocus(("isolate-leader", "cut-set"), BROKEN | {"leaders"}, 30),
    ),
)
