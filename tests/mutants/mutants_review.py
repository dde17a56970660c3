"""Findings of the Raft review (docs/internals/raft-divergences.md) whose remedies no schedule of the fuzz can miss.

They cost time and not safety, need bytes that no network of the fuzz makes, or hold a second time by another rule.
Each is killed by the scenario of the review that was written for it, on the body that ships.
"""

from __future__ import annotations

import contextlib

import pytest
from mutant import FuzzFocus, Mutant

from witness.raft import message_filter, snapshot_transfer, store_checks
from witness.raft import node as node_module
from witness.raft import store as store_module
from witness.raft.engine_adapter import Engine
from witness.raft.inbox import Inbox
from witness.raft.journal import Journal
from witness.raft.message_filter import MessageFilter, Verdict
from witness.raft.node import RaftNode
from witness.raft.pace import Pace
from witness.raft.port import Role
from witness.raft.standing import Readmission, Standing
from witness.raft.suffrage import Suffrage

NEVER = 1 << 60


def d14_leads_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pace, "leader_fallback_ms", property(lambda self: NEVER))


def d15_goes_on_after_a_raise(patch: pytest.MonkeyPatch) -> None:
    right = RaftNode.apply

    def apply(self, data, index, term):
        with contextlib.suppress(Exception):
            right(self, data, index, term)

    patch.setattr(RaftNode, "apply", apply)


def d25_learner_votes(patch: pytest.MonkeyPatch) -> None:
    for name in ("_vote_request", "_pre_vote"):
        right = getattr(MessageFilter, name)

        def as_voter(self, *rest, right=right):
            standing, self.standing = self.standing, Standing.VOTER
            try:
                return right(self, *rest)
            finally:
                self.standing = standing

        patch.setattr(MessageFilter, name, as_voter)


def d25_learner_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Suffrage, "stamps", lambda self: {"votes": True, "floor": 0})


def d25_without_newer_term(patch: pytest.MonkeyPatch) -> None:
    def fulfilled(self, *, follows_term, applied_term):
        return len(self._terms) == len(self._peers) and follows_term is not None and applied_term is not None

    patch.setattr(Readmission, "fulfilled", fulfilled)


def d25_without_all_answers(patch: pytest.MonkeyPatch) -> None:
    def fulfilled(self, *, follows_term, applied_term):
        floor = max(self._terms.values(), default=0)
        return bool(self._terms) and follows_term is not None and follows_term > floor and applied_term == follows_term

    patch.setattr(Readmission, "fulfilled", fulfilled)


def d32_next_index_goes_back(patch: pytest.MonkeyPatch) -> None:
    right = Engine.deliver

    def deliver(self, peer, message, *, counts=True):
        right(self, peer, message, counts=counts)
        if message["type"] == "next_node_idx" and message["success"] and self.role is Role.LEADER:
            self._SyncObj__raftNextIndex[self._members[peer]] = message["next_node_idx"]

    patch.setattr(Engine, "deliver", deliver)


def d34_candidate_in_the_dark(patch: pytest.MonkeyPatch) -> None:
    right = MessageFilter._vote_request

    def vote_request(self, sender, message, view, now_ns):
        return Verdict() if message["term"] < view.term else right(self, sender, message, view, now_ns)

    patch.setattr(MessageFilter, "_vote_request", vote_request)


def d35_all_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "__getitem__", lambda self, item: self._entries[item])


def d36_waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(node_module, "PROPOSAL_AGE_MAX_NS", NEVER)


def d37_ready_at_once(patch: pytest.MonkeyPatch) -> None:
    def caught_up(engine, message_filter):
        return engine.leader is not None and engine.applied_index >= engine.commit_index

    patch.setattr(node_module, "caught_up", caught_up)


def d40_transfers_begin_anew(patch: pytest.MonkeyPatch) -> None:
    right = snapshot_transfer.SnapshotTransfer.made

    def made(self, snapshot):
        self._sending.clear()
        self._started_ns.clear()
        return right(self, snapshot)

    patch.setattr(snapshot_transfer.SnapshotTransfer, "made", made)


def d42_two_processes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store_module, "take_lock", lambda disk: lambda: None)


def d43_anybodys_disk(patch: pytest.MonkeyPatch) -> None:
    right = store_checks._identity
    patch.setattr(store_checks, "_identity", lambda disk, database, expected: right(disk, database, {}))


def d44_one_entry_at_a_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RaftNode, "_first_doubtful", lambda self, index: index)


def d46_takes_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(node_module, "UNCOMMITTED_ENTRIES_MAX", NEVER)
    patch.setattr(node_module, "UNCOMMITTED_BYTES_MAX", NEVER)
    patch.setattr(message_filter, "UNCOMMITTED_ENTRIES_MAX", NEVER)


def d49_follows_another_leader(patch: pytest.MonkeyPatch) -> None:
    right = MessageFilter._append

    def append(self, sender, message, view, now_ns):
        if message["term"] == view.term:
            return self._entries(message, view, now_ns)
        return right(self, sender, message, view, now_ns)

    patch.setattr(MessageFilter, "_append", append)


def d51_connected_is_a_majority(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(node_module, "has_quorum", lambda engine, message_filter, now_ns, window_ns: True)


def d53_unread_mail_counts(patch: pytest.MonkeyPatch) -> None:
    right = RaftNode.link_down

    def link_down(self, peer):
        inbox, self._inbox = self._inbox, Inbox(self._inbox._queues)
        right(self, peer)
        self._inbox = inbox

    patch.setattr(RaftNode, "link_down", link_down)


REPLACED = ("blank-disk", "readmit", "kill")
LEARNER = frozenset({"learner"})
LIVENESS = "it costs time and no promise; a schedule that has healed gets there all the same"
TOO_SELDOM = "2 of 271 schedules with replaced disks saw it (kinds of REPLACED), which is too seldom to hunt it"
NOT_SEEN = "none of 240 schedules with replaced disks saw it (kinds of REPLACED)"
OWN_DISKS = "the fuzz gives a machine new, old and copied disks, but never another witness's"
_FILES = {
    "commands": ("d15", "d35", "d36", "d37", "d46"),
    "disk": ("d42", "d43"),
    "elections": ("d14", "d34"),
    "log": ("d32", "d44", "d49"),
    "settings": ("d51", "d53"),
    "snapshots": ("d40",),
}
_SCENARIOS = {
    "d14": "a_leader_without_a_majority_gives_up",
    "d15": "a_command_that_raises_is_not_applied_again",
    "d32": "an_acknowledgement_makes_nothing_be_sent_again",
    "d34": "a_candidate_of_an_older_term_is_told_the_newer_one",
    "d35": "one_turn_applies_a_bounded_number_of_entries",
    "d36": "a_command_does_not_wait_for_ever_for_a_leader",
    "d37": "nobody_is_ready_before_the_new_leader_has_committed",
    "d40": "a_new_snapshot_starts_no_transfer_anew",
    "d42": "one_disk_has_one_process",
    "d43": "a_disk_belongs_to_one_witness",
    "d44": "the_fork_of_two_logs_is_found_in_few_rounds",
    "d46": "without_a_majority_a_leader_takes_little",
    "d49": "an_append_of_another_leader_of_the_own_term_is_dropped",
    "d51": "a_connection_is_no_majority",
    "d53": "what_was_not_read_of_an_old_connection_is_void",
}
_LEARNER = "unit/test_raft_learner.py::test_d25_"
_READMITTED = f"{_LEARNER}a_learner_is_readmitted_in_a_newer_term_and_only_after_all_answered"
_RULE = "unit/test_raft_standing.py::test_readmission_needs_all_members_a_newer_term_and_its_committed_entry"
_HELPLESS = f"{_LEARNER}nothing_is_committed_and_nobody_elected_with_a_learners_help"


def _scenario(name: str, rule: str, patch, why: str) -> Mutant:
    """`name` begins with the finding's number."""
    number = name[:3]
    room = next(room for room, numbers in _FILES.items() if number in numbers)
    test = f"raft_review/test_review_{room}.py::test_{number}_{_SCENARIOS[number]}[ours]"
    return Mutant(name, rule, f"D-{int(number[1:])}", patch, tests=(test,), why=why)


MUTANTS = (
    _scenario("d14-leads-for-ever", "a leader without a majority gives up", d14_leads_for_ever, LIVENESS),
    _scenario(
        "d15-goes-on", "what leaves apply ends the process", d15_goes_on_after_a_raise, "the fuzz's state never raises"
    ),
    Mutant(
        "d25-learner-votes",
        "a learner votes for nobody",
        "D-25",
        d25_learner_votes,
        FuzzFocus(REPLACED, LEARNER, 10),
    ),
    Mutant(
        "d25-learner-counts",
        "what a learner acknowledges counts for nothing",
        "D-25",
        d25_learner_counts,
        FuzzFocus(REPLACED, LEARNER, 10),
    ),
    Mutant(
        "d25-no-newer-term",
        "a learner becomes a voter above every old vote",
        "D-25",
        d25_without_newer_term,
        None,
        (_READMITTED, _RULE),
        TOO_SELDOM,
    ),
    Mutant(
        "d25-not-all-answers",
        "a learner becomes a voter when all have recorded its disk",
        "D-25",
        d25_without_all_answers,
        None,
        (_READMITTED, _RULE),
        NOT_SEEN,
    ),
    _scenario("d32-next-goes-back", "what is under way is not sent again", d32_next_index_goes_back, LIVENESS),
    _scenario("d34-candidate-in-the-dark", "an older term is answered", d34_candidate_in_the_dark, LIVENESS),
    _scenario("d35-all-at-once", "a turn applies a bounded number", d35_all_at_once, LIVENESS),
    _scenario(
        "d36-waits-for-ever",
        "a command that found no leader in time is dropped",
        d36_waits_for_ever,
        "a late command is no fault of the log; only who gave it up knows",
    ),
    _scenario(
        "d37-ready-at-once",
        "a new leader is caught up when it has committed",
        d37_ready_at_once,
        "nothing of the log rests on it: it is for operators and for the leader's own decisions",
    ),
    _scenario("d40-transfers-anew", "a transfer keeps the snapshot it began with", d40_transfers_begin_anew, LIVENESS),
    _scenario("d42-two-processes", "one process on a disk", d42_two_processes, "a simulated host has one process"),
    _scenario("d43-anybodys-disk", "a disk is one witness's", d43_anybodys_disk, OWN_DISKS),
    _scenario("d44-one-at-a-time", "a fork is found in one round a term", d44_one_entry_at_a_time, LIVENESS),
    _scenario("d46-takes-everything", "a lonely leader takes little", d46_takes_everything, LIVENESS),
    _scenario(
        "d49-follows-another",
        "an append of another leader of the own term is dropped",
        d49_follows_another_leader,
        "two leaders of one term never come about while votes are right; the fuzz forges none",
    ),
    _scenario(
        "d51-connected-is-majority",
        "a majority is who answered lately",
        d51_connected_is_a_majority,
        "nothing of the log rests on it",
    ),
    _scenario(
        "d53-unread-mail-counts",
        "what is unread when a connection ends is void",
        d53_unread_mail_counts,
        "twice is allowed where the network doubles frames, and elsewhere hosts empty the inbox in the same instant",
    ),
)
