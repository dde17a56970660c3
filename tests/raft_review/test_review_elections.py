"""Who may stand, who is voted for, who stops leading: D-13, D-14, D-33, D-34, D-45, D-50, D-54, D-55."""

from __future__ import annotations

import msgpack
import pytest
from review_cluster import Make, judge

from proto.errors import FrameRefused
from witness.raft.peer_link import read_hello


def test_d13_a_partial_partition_starts_no_elections(make: Make) -> None:
    """The leader a and c cannot reach each other; b reaches both."""
    cluster = make()
    cluster.begin("a")
    cluster.favour("c")
    term = cluster.nodes["b"].term
    cluster.unlink("a", "c")
    cluster.step(15.0)
    highest = max(node.term for node in cluster.nodes.values())
    judge(cluster, highest > term, "unseats a leader that a majority hears, or raises its own term")


def test_d14_a_leader_without_a_majority_gives_up(make: Make) -> None:
    cluster = make()
    cluster.begin("a")
    cluster.isolate("a")
    cluster.step(5.0)
    judge(cluster, cluster.nodes["a"].leads, "leads for half a minute without hearing from anybody")


def test_d33_who_just_ceased_to_lead_does_not_stand_at_once(make: Make) -> None:
    """c stands with a newer term and an older log; the leader steps down, and its own timeout ran out long ago."""
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"1")
    cluster.step(3.0)
    term = cluster.nodes["a"].term
    before = len(cluster.sent)
    cluster.hand("c", "a", {"type": "request_vote", "term": term + 1, "last_log_index": 1, "last_log_term": 0})
    cluster.step(0.03)
    assert not cluster.nodes["a"].leads or cluster.name == "plain"
    stood = any(one == "a" and m["type"] in {"request_vote", "pre_vote"} for one, _, m in cluster.sent[before:])
    judge(cluster, stood, "stands, or asks whether it may, within three hundredths of a second")


def test_d34_a_candidate_of_an_older_term_is_told_the_newer_one(make: Make) -> None:
    """A vote request of term 0 reaches the leader's follower.

    A vote whose answer is lost is not told again either, on both bodies: that costs the candidate one more election,
    since it asks but once in a term.
    """
    cluster = make()
    cluster.begin("a")
    before = len(cluster.sent)
    cluster.hand("c", "b", {"type": "request_vote", "term": 0, "last_log_index": 9, "last_log_term": 0})
    cluster.turn("b")
    told = any((one, to) == ("b", "c") for one, to, _ in cluster.sent[before:])
    judge(cluster, not told, "leaves a candidate of an older term in the dark")


def test_d45_what_waits_is_read_before_a_timeout_is_judged(make: Make) -> None:
    """c was stopped for five seconds; the leader's heartbeats wait in its socket."""
    cluster = make()
    cluster.begin("a")
    term = cluster.nodes["c"].term
    cluster.frozen.add("c")
    cluster.step(5.0)
    before = len(cluster.sent)
    cluster.turn("c")
    cluster.frozen.clear()
    stood = any(one == "c" and m["type"] == "request_vote" for one, _, m in cluster.sent[before:])
    cluster.step(2.0)
    judge(cluster, stood and cluster.nodes["a"].term > term, "unseats a leader whose heartbeats it had not read")


def test_d50_a_forged_term_is_not_taken(make: Make) -> None:
    """One message with a term beyond all elections would leave no room for another one. Its sender is the leader."""
    cluster = make()
    cluster.begin("a")
    cluster.hand("a", "b", {"type": "request_vote", "term": (1 << 53) - 1, "last_log_index": 0, "last_log_term": 0})
    cluster.turn("b")
    judge(cluster, cluster.nodes["b"].term == (1 << 53) - 1, "takes any term from anybody")


def test_d55_an_order_to_stand_is_no_message(make: Make) -> None:
    """The library's handing over of leadership is one message without a number: a late copy of it works too."""
    cluster = make()
    cluster.begin("a")
    term = cluster.nodes["b"].term
    cluster.hand("a", "b", {"type": "timeout_now", "term": term})
    cluster.heal()
    cluster.step(2.0)
    judge(cluster, cluster.nodes["b"].term > term, "unseats the leader")


def test_d54_a_peer_that_only_reads_starts_no_election(make: Make) -> None:
    """b is cut off from the others; somebody introduces itself as "readonly", which needs no credentials."""
    cluster = make()
    cluster.begin("a")
    cluster.isolate("b")
    term = cluster.nodes["b"].term
    if cluster.name == "plain":
        cluster.nodes["b"].reader_connects()
    else:
        with pytest.raises(FrameRefused):
            read_hello(msgpack.packb("readonly"))
    cluster.step(3.0)
    judge(cluster, cluster.nodes["b"].term > term, "stands because a stranger connected")
