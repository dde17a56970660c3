"""Each checker of the Raft fuzz on traces made by hand: the good one passes, the bad one is named."""

from __future__ import annotations

import pytest

from proto.units import NS_PER_MS
from witness.sim.raft.checkers import (
    VIOLATIONS_KEPT,
    AgeChecker,
    Findings,
    KeepsTermChecker,
    LeaderChecker,
    Leading,
    LogChecker,
    StandingChecker,
    SyncChecker,
    VoteChecker,
    WorkChecker,
)


@pytest.fixture
def findings():
    return Findings(lambda: 7 * NS_PER_MS)


def kinds(findings):
    return [violation.kind for violation in findings.violations]


def append(term, entries=()):
    return {"type": "append_entries", "term": term, "entries": list(entries)}


def vote(term):
    return {"type": "response_vote", "term": term}


def stand(term):
    return {"type": "request_vote", "term": term}


# -- the log -------------------------------------------------------------------------------------------------


@pytest.fixture
def log(findings):
    log = LogChecker(findings.found)
    log.applied("w1", 2, b"a", 0, b"A")
    log.applied("w1", 3, b"b", 2, b"AB")
    log.applied("w1", 5, b"c", 3, b"ABC")
    return log


def test_equal_sequences_are_fine(log, findings):
    for index, data, before, digest in ((2, b"a", 0, b"A"), (3, b"b", 2, b"AB"), (5, b"c", 3, b"ABC")):
        log.applied("w2", index, data, before, digest)
    log.restored("w3", 3, b"AB")
    log.acknowledged("w2", b"c")
    log.ends("w3", 5, b"ABC")
    assert kinds(findings) == []
    assert log.has(b"b")
    assert log.acknowledgements == 1


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ((3, b"x", 2, b"AX"), "agreement"),
        ((4, b"x", 3, b"ABX"), "agreement"),
        ((3, b"b", 0, b"B"), "prefix"),
        ((3, b"b", 2, b"??"), "state"),
        ((2, b"a", 2, b"A"), "order"),
        ((6, b"a", 5, b"ABCA"), "twice"),
    ],
)
def test_a_wrong_apply_is_seen(log, findings, entry, kind):
    log.applied("w2", *entry)
    assert kind in kinds(findings)


def test_twice_is_allowed_where_the_network_doubles(log, findings):
    log.allow_twice()
    log.applied("w1", 6, b"a", 5, b"ABCA")
    assert kinds(findings) == []


def test_an_image_of_another_history_is_seen(log, findings):
    log.restored("w2", 3, b"??")
    log.restored("w2", 4, b"AB")
    assert kinds(findings) == ["state", "agreement"]


def test_an_acknowledgement_of_nothing_is_seen(log, findings):
    log.acknowledged("w2", b"never")
    assert kinds(findings) == ["durable"]


def test_who_ends_with_less_than_was_applied_is_seen(log, findings):
    log.ends("w2", 3, b"AB")
    log.ends("w3", 5, b"??")
    assert kinds(findings) == ["durable", "state"]


# -- leaders -------------------------------------------------------------------------------------------------


def test_one_leader_a_term(log, findings):
    leaders = LeaderChecker(findings.found, log)
    assert leaders.leads("w1", 3)
    assert not leaders.leads("w1", 3)
    assert leaders.leads("w2", 4)
    assert leaders.elections == 2
    assert kinds(findings) == []
    leaders.leads("w3", 4)
    assert kinds(findings) == ["leaders"]


def test_a_leader_has_all_that_was_applied(log, findings):
    leaders = LeaderChecker(findings.found, log)
    log.committed(5, 3)
    log.committed(3, 2)
    leaders.complete("w1", 3, 3)
    leaders.complete("w1", 4, 5)
    assert kinds(findings) == []
    leaders.complete("w2", 4, 4)
    assert kinds(findings) == ["completeness"]


# -- a leader that is heard -----------------------------------------------------------------------------------

HEARS_NS = 300
LEADS = Leading("w1", 5, 0)


class Heard:
    """Three members; w1 leads term 5 since 0, and w2's way to it is calm."""

    def __init__(self, findings, members=3):
        self.now_ns = 0
        self.keeps = KeepsTermChecker(findings.found, lambda: self.now_ns, members, HEARS_NS)

    def looks(self, now_ns, leading=LEADS, **ways):
        self.now_ns = now_ns
        self.keeps.look(leading, ways or {"w2": 1, "w3": None})

    def sent(self, who, to, kind, term=6, **more):
        self.keeps.sent(who, [(to, [{"type": kind, "term": term, **more}])])


def test_nobody_stands_against_a_leader_that_a_majority_hears(findings):
    heard = Heard(findings)
    heard.looks(0)
    heard.looks(HEARS_NS)
    heard.sent("w3", "w2", "pre_vote")
    heard.sent("w2", "w3", "pre_vote_answer", granted=False)
    heard.sent("w1", "w2", "request_vote")  # for a learner
    heard.sent("w3", "w2", "request_vote", term=5)  # of the term that w1 won
    assert kinds(findings) == []
    assert (heard.keeps.asked, heard.keeps.looks) == (1, 1)
    heard.sent("w3", "w2", "request_vote")
    assert kinds(findings) == ["unseated"]


def test_leave_that_was_given_to_its_rival_after_a_leader_was_heard_is_no_excuse(findings):
    heard = Heard(findings)
    heard.looks(0)
    heard.looks(HEARS_NS)
    heard.sent("w2", "w3", "pre_vote_answer", granted=True)
    heard.sent("w3", "w2", "request_vote")
    assert kinds(findings) == ["unseated"]


def test_leave_of_the_time_before_may_come_late(findings):
    heard = Heard(findings)
    heard.looks(0)
    heard.looks(HEARS_NS - 1)
    heard.sent("w2", "w3", "pre_vote_answer", granted=True)
    heard.looks(9 * HEARS_NS)
    heard.sent("w2", "w3", "pre_vote_answer", granted=True)
    heard.sent("w3", "w2", "request_vote")
    assert kinds(findings) == []


@pytest.mark.parametrize(
    "between",
    [
        lambda heard: heard.looks(200, w2=2, w3=None),  # another process or connection
        lambda heard: heard.looks(200, w2=None, w3=None),  # cut
        lambda heard: heard.looks(200, Leading("w1", 5, 1)),  # the leader is another process
        lambda heard: heard.looks(200, None),  # it leads no longer
        lambda heard: heard.keeps.slow("w2"),
        lambda heard: heard.keeps.slow("w1"),
    ],
)
def test_what_disturbs_the_leader_or_its_majority_begins_the_time_anew(findings, between):
    heard = Heard(findings)
    heard.looks(0)
    between(heard)
    heard.looks(250)
    heard.looks(200 + HEARS_NS - 1)
    heard.sent("w3", "w2", "request_vote")
    assert kinds(findings) == []
    heard.looks(250 + HEARS_NS)
    heard.sent("w3", "w2", "request_vote")
    assert kinds(findings) == ["unseated"]


def test_a_minority_that_hears_a_leader_is_not_enough(findings):
    heard = Heard(findings, members=5)
    heard.looks(0, w2=1, w3=None, w4=None, w5=None)
    heard.looks(HEARS_NS, w2=1, w3=1, w4=None, w5=None)
    heard.sent("w4", "w5", "request_vote")
    assert kinds(findings) == []
    heard.looks(2 * HEARS_NS, w2=1, w3=1, w4=None, w5=None)
    heard.sent("w4", "w5", "request_vote")
    assert kinds(findings) == ["unseated"]


# -- terms and votes -----------------------------------------------------------------------------------------


def test_terms_and_votes_in_order(findings):
    votes = VoteChecker(findings.found)
    votes.sent("w1", [("w2", [vote(3)]), ("w3", [append(3), append(4)])])
    votes.sent("w1", [("w2", [vote(4)])])
    votes.sent("w2", [("w1", [stand(5)]), ("w3", [stand(5)])])
    votes.starts("w1", 4)
    assert kinds(findings) == []
    assert votes.votes == 4


@pytest.mark.parametrize("second", [("w3", [vote(3)]), ("w3", [stand(3)])])
def test_a_second_vote_is_seen_also_after_a_restart(findings, second):
    votes = VoteChecker(findings.found)
    votes.sent("w1", [("w2", [vote(3)])])
    votes.starts("w1", 3)
    votes.sent("w1", [second])
    assert kinds(findings) == ["votes"]


@pytest.mark.parametrize("message", [append(2), vote(2), stand(2), {"type": "next_node_idx", "term": 2}])
def test_a_term_that_falls_is_seen(findings, message):
    votes = VoteChecker(findings.found)
    votes.sent("w1", [("w2", [append(3)])])
    votes.sent("w1", [("w2", [message])])
    assert "term" in kinds(findings)


def test_a_start_below_a_term_that_was_sent_is_seen(findings):
    votes = VoteChecker(findings.found)
    votes.sent("w1", [("w2", [append(3)])])
    votes.starts("w1", 2)
    assert kinds(findings) == ["term"]


def test_questions_before_an_election_are_no_votes(findings):
    votes = VoteChecker(findings.found)
    votes.sent("w1", [("w2", [append(3)])])
    votes.sent("w1", [("w2", [{"type": "pre_vote", "term": 1}, {"type": "apply_command"}])])
    assert kinds(findings) == []


# -- syncs, ages, work ---------------------------------------------------------------------------------------


def test_nothing_leaves_before_the_sync(findings):
    sync = SyncChecker(findings.found)
    sync.sent("w1", [("w2", [vote(3)])], unsynced=False)
    sync.sent("w1", [], unsynced=True)
    sync.sent_early("w1", [("w2", [append(3)])])
    assert kinds(findings) == []
    sync.sent("w1", [("w2", [vote(3)])], unsynced=True)
    sync.sent_early("w1", [("w2", [append(3), vote(3)])])
    assert kinds(findings) == ["unsynced", "unsynced"]


def test_an_age_is_never_understated(findings):
    now_ns = 1_000 * NS_PER_MS
    ages = AgeChecker(findings.found, lambda: now_ns)
    ages.sent([("w2", [append(3, [(b"x", 9, 3)])])], 900 * NS_PER_MS)
    ages.sent([("w2", [append(3, [(b"x", 9, 3)])])], 990 * NS_PER_MS)
    ages.applied("w2", 9, 3, None, 0)
    ages.applied("w2", 9, 3, 100 * NS_PER_MS, 0)
    ages.applied("w2", 9, 3, 110 * NS_PER_MS, 100_000)
    assert kinds(findings) == []
    assert ages.dated == 2
    ages.applied("w2", 9, 3, 99 * NS_PER_MS, 0)
    ages.applied("w2", 9, 3, 105 * NS_PER_MS, 100_000)
    assert kinds(findings) == ["age", "age"]


def test_more_messages_than_there_is_to_say_are_seen(findings):
    work = WorkChecker(findings.found)
    work.sent("w1", 100, 100)
    assert kinds(findings) == []
    work.sent("w1", 14_747, 100)
    assert kinds(findings) == ["work"]
    assert work.most == 14_747


def test_more_bytes_than_a_queue_takes_are_seen(findings):
    work = WorkChecker(findings.found)
    image = {"type": "append_entries", "serialized": (b"x" * 60, True, False, b"", 0, 0)}
    work.payload("w1", [("w2", [append(3, [(b"y" * 40, 1, 3)]), image])], 100)
    assert kinds(findings) == []
    work.payload(
        "w1", [("w2", [append(3, [(b"y" * 41, 1, 3)]), image, {"type": "append_entries", "serialized": None}])], 100
    )
    assert kinds(findings) == ["work"]


def test_findings_are_bounded_and_say_when(findings):
    for number in range(100):
        findings.found("age", f"{number}")
    assert len(findings.violations) == VIOLATIONS_KEPT
    assert str(findings.violations[0]) == "age at 0.007000 s: 0"


def test_a_learner_neither_votes_nor_counts(findings):
    standing = StandingChecker(findings.found)
    ack = {"type": "next_node_idx", "term": 1, "votes": False}
    standing.sent("w1", [("w2", [ack, {"type": "pre_vote_answer", "granted": False}, {"type": "readmission_ask"}])])
    assert kinds(findings) == []
    bad = (
        {**ack, "votes": True},
        vote(1),
        stand(2),
        {"type": "pre_vote"},
        {"type": "pre_vote_answer", "granted": True},
    )
    for message in bad:
        standing.sent("w1", [("w2", [message])])
    assert kinds(findings) == ["learner"] * len(bad)


def test_another_disk_may_have_a_lower_term_and_no_second_vote(findings):
    votes = VoteChecker(findings.found)
    votes.sent("w1", [("w2", [vote(3)])])
    votes.forgets("w1")
    votes.starts("w1", 0)
    votes.sent("w1", [("w2", [append(1)])])
    assert kinds(findings) == []
    votes.sent("w1", [("w3", [vote(3)])])
    assert kinds(findings) == ["votes"]
