"""The message filter: each remedy of the review, on values alone; and the schema before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.errors import FrameRefused
from proto.units import NS_PER_MS, WitnessId
from witness.raft.message_filter import UNCOMMITTED_ENTRIES_MAX, MessageFilter, Verdict
from witness.raft.messages import (
    COMMAND_BYTES_MAX,
    ENTRIES_PER_MESSAGE_MAX,
    NUMBER_MAX,
    Message,
    check_message,
)
from witness.raft.port import Role
from witness.raft.standing import Standing

W1, W2, W3 = (WitnessId(name) for name in ("w1", "w2", "w3"))
ELECTION_NS = 300 * NS_PER_MS


@dataclass
class View:
    role: Role = Role.FOLLOWER
    term: int = 5
    leader: WitnessId | None = W2
    commit_index: int = 8
    first_index: int = 1
    terms: list[int] = field(default_factory=lambda: [0, 1, 1, 2, 2, 3, 3, 4, 4, 5])
    commands: dict[int, bytes] = field(default_factory=dict)
    """Of the entries that are not plain ones."""

    @property
    def last_index(self) -> int:
        return self.first_index + len(self.terms) - 1

    def term_at(self, index: int) -> int | None:
        at = index - self.first_index
        return self.terms[at] if 0 <= at < len(self.terms) else None

    def command_at(self, index: int) -> bytes | None:
        return None if self.term_at(index) is None else self.commands.get(index, b"\0x")


def make() -> MessageFilter:
    return MessageFilter([W2, W3], ELECTION_NS)


def append(previous: int, entries: list[tuple[bytes, int, int]], **changes: Any) -> Message:
    base = {"type": "append_entries", "term": 5, "commit_index": 10, "entries": entries, "prevLogIdx": previous}
    return {**base, "prevLogTerm": 1, "last": 10, "sent": 1, "echo": 0, "pace": 300, **changes}


def chunk(value: object, **changes: Any) -> Message:
    base = {"type": "append_entries", "term": 5, "commit_index": 99, "serialized": value, "last": 10, "sent": 1}
    return {**base, "echo": 0, "pace": 300, **changes}


def ack(next_index: int, **changes: Any) -> Message:
    base = {"type": "next_node_idx", "term": 5, "next_node_idx": next_index, "reset": False, "success": False}
    return {**base, "heard": 0, "stamp": 0, "votes": True, "floor": 0, **changes}


def vote_request(term: int) -> Message:
    return {"type": "request_vote", "term": term, "last_log_index": 10, "last_log_term": 5}


def delivered(verdict: Verdict) -> Message:
    assert verdict.deliver is not None
    return verdict.deliver


# -- appends: D-1, D-3, D-4, D-28 ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, (b"x", True, False, b"i" * 32, 0, 9)])
def test_a_snapshot_message_commits_nothing(value: object) -> None:
    verdict = make().inbound(W2, chunk(value), View(), 0)
    assert delivered(verdict)["commit_index"] == 8
    assert verdict.reply is not None
    assert not verdict.reply["success"]


def test_the_commit_index_ends_with_what_the_message_matches() -> None:
    filter_ = make()
    message = delivered(filter_.inbound(W2, append(8, [(b"\0x", 9, 5)], commit_index=50), View(), 0))
    assert message["commit_index"] == 9
    assert filter_.leader_commit == 50


def test_an_older_leader_is_told_our_term() -> None:
    verdict = make().inbound(W2, append(8, [], term=4), View(), 0)
    assert verdict.deliver is None
    assert verdict.reply is not None
    assert verdict.reply["type"] == "next_node_idx"


def test_a_prefix_below_our_snapshot_counts_as_matching() -> None:
    view = View(first_index=7, terms=[3, 4, 5], commands={7: b"\0b", 8: b"\0c"})
    entries = [(b"\0a", 6, 3), (b"\0b", 7, 3), (b"\0c", 8, 4)]
    message = delivered(make().inbound(W2, append(5, entries), view, 0))
    assert (message["prevLogIdx"], message["prevLogTerm"]) == (7, 3)
    assert message["entries"] == [(b"\0c", 8, 4)]
    message = delivered(make().inbound(W2, append(2, []), view, 0))
    assert (message["prevLogIdx"], message["entries"]) == (7, [])


# -- acknowledgements: D-4, D-11 -----------------------------------------------------------------------------


def leading(**changes: Any) -> View:
    return View(role=Role.LEADER, leader=W1, **changes)


def test_an_ack_of_an_older_term_moves_nothing() -> None:
    assert make().inbound(W2, ack(11, term=4, success=True), leading(), 0) == Verdict()


def test_a_higher_term_makes_the_leader_step_down_without_a_vote() -> None:
    message = delivered(make().inbound(W2, ack(11, term=6), leading(), 0))
    assert message == {"type": "request_vote", "term": 6, "last_log_index": -1, "last_log_term": -1}


def test_an_ack_beyond_the_own_log_is_dropped() -> None:
    assert make().inbound(W2, ack(12, success=True), leading(), 0) == Verdict()
    assert delivered(make().inbound(W2, ack(11, success=True), leading(), 0))["next_node_idx"] == 11


def test_the_lowest_reset_wins_until_a_success() -> None:
    filter_, view = make(), leading()
    assert delivered(filter_.inbound(W2, ack(4, reset=True), view, 0))["next_node_idx"] == 4
    assert delivered(filter_.inbound(W2, ack(9, reset=True), view, 0))["next_node_idx"] == 4
    assert delivered(filter_.inbound(W3, ack(9, reset=True), view, 0))["next_node_idx"] == 9
    filter_.inbound(W2, ack(5, success=True), view, 0)
    assert delivered(filter_.inbound(W2, ack(9, reset=True), view, 0))["next_node_idx"] == 9


def test_a_reset_is_forgotten_with_its_term_and_its_connection() -> None:
    filter_ = make()
    filter_.inbound(W2, ack(4, reset=True), leading(), 0)
    later = delivered(filter_.inbound(W2, ack(9, reset=True, term=6), leading(term=6), 0))
    assert later["next_node_idx"] == 9
    filter_.disconnected(W2)
    assert delivered(filter_.inbound(W2, ack(10, reset=True, term=6), leading(term=6), 0))["next_node_idx"] == 10


def test_a_reset_stays_within_the_log() -> None:
    assert delivered(make().inbound(W2, ack(900, reset=True), leading(), 0))["next_node_idx"] == 11
    assert delivered(make().inbound(W2, ack(0, reset=True), leading(), 0))["next_node_idx"] == 2


# -- votes and proposals: D-13, D-19 -------------------------------------------------------------------------


def test_a_vote_counts_once_per_sender_and_only_for_this_candidacy() -> None:
    filter_, view = make(), View(role=Role.CANDIDATE, leader=None)
    vote = {"type": "response_vote", "term": 5}
    assert filter_.inbound(W2, vote, view, 0).deliver is not None
    assert filter_.inbound(W2, vote, view, 0) == Verdict()
    assert filter_.inbound(W3, vote, view, 0).deliver is not None
    assert filter_.inbound(W3, {**vote, "term": 4}, view, 0) == Verdict()
    assert filter_.inbound(W2, vote, View(), 0) == Verdict()


def test_no_vote_while_a_leader_is_heard() -> None:
    filter_ = make()
    filter_.inbound(W2, append(8, []), View(), 1_000)
    assert filter_.inbound(W3, vote_request(6), View(), 1_000 + ELECTION_NS // 2) == Verdict()
    assert filter_.inbound(W3, vote_request(6), View(), 1_000 + ELECTION_NS).deliver is not None


def test_a_candidate_of_an_older_term_is_told_ours() -> None:
    verdict = make().inbound(W3, vote_request(4), View(), 0)
    assert verdict.deliver is None
    assert verdict.reply is not None


def pre_vote(term: int = 6, last: tuple[int, int] = (5, 10)) -> Message:
    return {"type": "pre_vote", "term": term, "last_log_index": last[1], "last_log_term": last[0]}


@pytest.mark.parametrize(
    ("message", "view", "granted"),
    [
        (pre_vote(), View(leader=None), True),
        (pre_vote(last=(6, 1)), View(leader=None), True),
        (pre_vote(last=(5, 9)), View(leader=None), False),
        (pre_vote(last=(4, 99)), View(leader=None), False),
        (pre_vote(term=5), View(leader=None), False),
        (pre_vote(), View(role=Role.CANDIDATE, leader=None), True),
        (pre_vote(), View(role=Role.LEADER, leader=W1), False),
    ],
)
def test_d13_leave_to_stand_is_given_like_a_vote_and_changes_nothing(
    message: Message, view: View, granted: bool
) -> None:
    verdict = make().inbound(W2, message, view, 0)
    assert verdict.deliver is None
    assert verdict.reply == {"type": "pre_vote_answer", "term": message["term"], "granted": granted, "current": 5}


def test_d13_no_leave_to_stand_while_a_leader_is_heard() -> None:
    filter_ = make()
    filter_.inbound(W2, append(8, []), View(), 1_000)
    for after_ns, granted in ((ELECTION_NS // 2, False), (ELECTION_NS, True)):
        reply = filter_.inbound(W3, pre_vote(), View(), 1_000 + after_ns).reply
        assert reply is not None
        assert reply["granted"] is granted


def test_d13_an_answer_counts_towards_the_round_and_tells_a_higher_term() -> None:
    filter_, view = make(), View(leader=None)
    filter_.pre_votes.begin(6, 100)
    answer = {"type": "pre_vote_answer", "term": 6, "granted": True, "current": 5}
    assert filter_.inbound(W2, {**answer, "granted": False}, view, 200) == Verdict()
    assert not filter_.pre_votes.take_win(5, None)
    assert delivered(filter_.inbound(W2, {**answer, "granted": False, "current": 9}, view, 200))["term"] == 9
    assert filter_.inbound(W2, answer, view, 200) == Verdict()
    assert filter_.pre_votes.take_win(5, 99)
    assert not filter_.pre_votes.take_win(5, 99)


# -- a disk that may have forgotten something: D-25 ----------------------------------------------------------


def test_d25_a_learner_votes_for_nobody() -> None:
    filter_ = MessageFilter([W2, W3], ELECTION_NS, Standing.LEARNER)
    view = View(leader=None)
    assert filter_.inbound(W2, vote_request(6), view, 0) == Verdict()
    assert filter_.inbound(W2, pre_vote(), view, 0) == Verdict()
    assert filter_.counters["vote_of_learner"] == 2


def test_d25_what_a_learner_acknowledges_is_no_success() -> None:
    filter_ = make()
    message = delivered(filter_.inbound(W2, ack(11, success=True, votes=False, floor=5), leading(), 0))
    assert message["success"] is False
    assert W2 in filter_.learners
    assert delivered(filter_.inbound(W2, ack(11, success=True), leading(), 0))["success"] is True
    assert W2 not in filter_.learners


def test_proposals_go_to_a_leader_only() -> None:
    message = {"type": "apply_command", "command": b"\0x"}
    assert make().inbound(W2, message, View(), 0) == Verdict()
    assert make().inbound(W2, message, leading(), 0).deliver == message


def test_d46_a_leader_that_nobody_acknowledges_takes_no_more() -> None:
    message = {"type": "apply_command", "command": b"\0x"}
    full = leading(terms=[5] * (8 + UNCOMMITTED_ENTRIES_MAX + 1), commit_index=8)
    assert make().inbound(W2, message, full, 0) == Verdict()
    full.terms.pop()
    assert make().inbound(W2, message, full, 0) == Verdict()
    full.terms.pop()
    assert make().inbound(W2, message, full, 0).deliver == message


def test_foreign_senders_are_dropped() -> None:
    assert make().inbound(WitnessId("w9"), vote_request(6), View(), 0) == Verdict()


# -- schema: D-20, D-22, S3, S4 ------------------------------------------------------------------------------

GOOD: list[Message] = [
    append(8, [(b"\0x", 9, 5), (b"\1", 10, 5)]),
    chunk(None),
    chunk((b"abc", True, True, b"i" * 32, 0, 3)),
    ack(3),
    vote_request(7),
    {"type": "response_vote", "term": 1},
    {"type": "apply_command", "command": b"\0x"},
    {"type": "pre_vote", "term": 6, "last_log_index": 3, "last_log_term": 2},
    {"type": "pre_vote_answer", "term": 6, "granted": True, "current": 5},
]
ANSWERED_BEFORE_THE_FILTER: list[Message] = [
    {"type": "readmission_ask", "disk": b"d" * 16},
    {"type": "readmission_answer", "disk": b"d" * 16, "current": 5},
]

BAD: list[object] = [
    None,
    [],
    b"x",
    {},
    {"type": "timeout_now", "term": 5},
    {"type": "status"},
    {"type": ["append_entries"]},
    {"type": "apply_command_response", "request_id": 1, "log_idx": 1, "log_term": 1},
    {"type": "apply_command", "command": b"\0x", "request_id": 1},
    {"type": "apply_command", "command": b""},
    {"type": "apply_command", "command": b"\1"},
    {"type": "apply_command", "command": b"\2membership"},
    {"type": "apply_command", "command": b"\3version"},
    {"type": "apply_command", "command": b"\0" * (COMMAND_BYTES_MAX + 1)},
    {"type": "apply_command", "command": "text"},
    vote_request(-1),
    vote_request(2**63),
    vote_request(True),
    {**vote_request(1), "last_log_index": 1.5},
    {"type": "response_vote", "term": NUMBER_MAX + 1},
    append(8, [(b"\2m", 9, 5)]),
    append(8, [(b"\0x", 10, 5)]),
    append(8, [(b"\0x", 9, 6)]),
    append(8, [(b"\0x", 9, 5), (b"\0y", 10, 4)]),
    append(8, [(b"\0x", 9)]),
    append(8, [(b"\0x", n, 5) for n in range(9, 11 + ENTRIES_PER_MESSAGE_MAX)]),
    {**append(8, []), "transmission": "start", "data": b""},
    append(8, [], prevLogIdx=None),
    chunk((b"abc", True, False, b"i" * 32, 0, 3)),
    chunk((b"abc", False, True, b"i" * 32, 0, 3)),
    chunk((b"abc", True, True, b"i", 0, 3)),
    chunk((b"abc", True, True, b"i" * 32, 0, 2)),
    chunk([b"abc", True, True]),
    ack(3, reset=True, success=True),
    ack(3, success=1),
    ack(3, votes=1),
    ack(3, floor=-1),
    {**ack(3), "more": 1},
    {"type": "pre_vote", "term": -1, "last_log_index": 3, "last_log_term": 2},
    {"type": "pre_vote_answer", "term": 6, "granted": 1, "current": 5},
    {"type": "readmission_ask", "disk": b"short"},
    {"type": "readmission_answer", "disk": "text" * 4, "current": 5},
    {"type": "readmission_answer", "disk": b"d" * 16, "current": None},
]


@pytest.mark.parametrize("message", [*GOOD, *ANSWERED_BEFORE_THE_FILTER], ids=lambda m: m["type"])
def test_good_messages_pass(message: Message) -> None:
    assert check_message(message) is message


@pytest.mark.parametrize("message", BAD, ids=range(len(BAD)))
def test_bad_messages_are_refused(message: object) -> None:
    with pytest.raises(FrameRefused):
        check_message(message)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=8) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(_ANY, st.sampled_from(GOOD), st.data())
def test_whatever_comes_is_refused_in_order_or_well_formed(value: object, good: Message, data: st.DataObject) -> None:
    """A field of a good message replaced by anything: FrameRefused, or the filter takes it without an exception."""
    name = data.draw(st.sampled_from(sorted(good)))
    for candidate in (value, {**good, name: value}):
        try:
            message = check_message(candidate)
        except FrameRefused:
            continue
        for view in (View(), leading(), View(role=Role.CANDIDATE, leader=None)):
            make().inbound(W2, message, view, 10)


# -- a disk that is nearly full: D1 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "taken"),
    [
        (append(10, []), True),
        (append(10, [], prevLogTerm=5), True),
        (append(10, [(b"\0x", 11, 5)], prevLogTerm=5), False),
        (append(11, [], prevLogTerm=5), False),
    ],
)
def test_d1_without_room_no_entry_is_taken_and_the_leader_is_still_followed(message: Message, taken: bool) -> None:
    filter_, view = make(), View(terms=[1] * 10)
    view.terms[-1] = message["prevLogTerm"]
    filter_.disk_low = True
    verdict = filter_.inbound(W2, message, view, 7)
    assert filter_.leader_heard_ns == 7
    assert ("entries" in delivered(verdict)) is taken
    if not taken:
        assert verdict.reply is not None
        assert verdict.reply["success"] is False
        assert verdict.reply["reset"] is False
        assert delivered(verdict)["serialized"] is None
        assert delivered(verdict)["commit_index"] == view.commit_index
