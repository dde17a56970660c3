"""What one bad peer or stranger may cost the others: neither their mail, nor their places, nor their leader's calm."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trio_rig import State

from proto.units import NO_LINEAGE, NS_PER_MS, ClusterId, InstantNs, WitnessId
from tests.unit.test_raft_filter import ELECTION_NS, View, append, delivered, make, vote_request
from witness.raft.admission import NOWHERE, Speaker
from witness.raft.inbox import MESSAGES_PER_TURN_MAX, PEER_BYTES_HIGH, TURN_BYTES_MAX, Inbox
from witness.raft.introduction import Hello
from witness.raft.message_filter import Verdict, step_down
from witness.raft.messages import NUMBER_MAX, TERM_JUMP_MAX, Message
from witness.raft.node import RaftNode
from witness.raft.peer_link import MESSAGE_COST, PeerLink
from witness.raft.peer_transport import INTRODUCED_WITHIN_S, Plaintext
from witness.raft.store import Store, create_store, open_store
from witness.raft.syncobj import PySyncObjConsensus
from witness.raft.timers import CompactionLimits, RaftTimers

CLUSTER = ClusterId("ab" * 16)
W1, W2, W3 = (WitnessId(name) for name in ("w1", "w2", "w3"))
FLOOD: Message = {"type": "response_vote", "term": 1}


# -- mail: one queue for each peer --------------------------------------------------------------------


def test_each_peer_is_read_by_turns_and_in_its_own_order() -> None:
    inbox = Inbox([W2, W3])
    for number in range(MESSAGES_PER_TURN_MAX * 2):
        inbox.put(W2, {"number": number}, 10)
    for number in range(3):
        inbox.put(W3, {"number": number}, 10)
    read = list(inbox.take_turn())
    assert len(read) == MESSAGES_PER_TURN_MAX
    assert [peer for peer, _ in read[:6]] == [W2, W3] * 3
    for peer in (W2, W3):
        numbers = [message["number"] for one, message in read if one == peer]
        assert numbers == list(range(len(numbers)))
    assert inbox.bytes_of(W3) == 0
    assert inbox.bytes_of(W2) == (2 * MESSAGES_PER_TURN_MAX - MESSAGES_PER_TURN_MAX + 3) * 10


def test_a_turn_reads_a_bounded_number_of_bytes_and_a_lost_connection_voids_what_is_left() -> None:
    inbox = Inbox([W2, W3])
    for _ in range(8):
        inbox.put(W2, {}, TURN_BYTES_MAX // 4)
    assert len(list(inbox.take_turn())) == 4
    inbox.put(W3, {}, 1)
    inbox.drop(W2)
    assert inbox.bytes_of(W2) == 0
    assert [peer for peer, _ in inbox.take_turn()] == [W3]
    assert not inbox


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    create_store(tmp_path / "w1", CLUSTER, W1)
    opened = open_store(tmp_path / "w1", CLUSTER, W1)
    yield opened
    opened.close()


def test_a_leader_is_heard_in_the_turn_that_it_speaks_whoever_floods(store: Store) -> None:
    node = RaftNode(
        self_id=W1,
        peers=[W2, W3],
        store=store,
        replicated=State(),
        timers=RaftTimers(),
        compaction=CompactionLimits(),
        now_ns=InstantNs(0),
        rng=random.Random(1),
    )
    node.link_up(W2)
    node.link_up(W3)
    for _ in range(MESSAGES_PER_TURN_MAX * 20):
        node.receive(W3, FLOOD, MESSAGE_COST)
    heartbeat = {"type": "append_entries", "term": 3, "commit_index": 1, "entries": [], "prevLogIdx": 1}
    node.receive(W2, {**heartbeat, "prevLogTerm": 0, "last": 1, "sent": 1, "echo": 0, "pace": 300}, MESSAGE_COST)
    node.turn(InstantNs(NS_PER_MS), {})
    assert node.status().leader == W2
    assert node.unread_bytes(W3) > 0


class Reading:
    """In the place of the transport: whose connection is read."""

    def __init__(self) -> None:
        self.paused: set[WitnessId] = set()

    def pause_reading(self, peer: WitnessId) -> None:
        self.paused.add(peer)

    def resume_reading(self, peer: WitnessId) -> None:
        self.paused.remove(peer)

    def unsent_bytes(self) -> dict[WitnessId, int]:
        return {}

    def send(self, peer: WitnessId, messages: Any) -> None: ...


def test_only_who_floods_is_not_read_and_only_until_there_is_room(store: Store) -> None:
    def fatal(error: BaseException) -> None:
        raise error

    now = [0]
    consensus = PySyncObjConsensus(
        self_id=W1,
        peers={W2: ("127.0.0.1", 1), W3: ("127.0.0.1", 2)},
        listen=("127.0.0.1", 0),
        store=store,
        replicated=State(),
        tls=Plaintext(),
        fatal=fatal,
        clock_ns=lambda: now[0],
        rng=random.Random(1),
    )
    reading: Any = Reading()
    consensus._transport, consensus._running = reading, True
    for peer in (W2, W3):
        consensus.peer_up(peer, 1)
    for _ in range(PEER_BYTES_HIGH // MESSAGE_COST + 1):
        consensus.peer_message(W3, FLOOD, MESSAGE_COST)
    consensus.peer_message(W2, FLOOD, MESSAGE_COST)
    assert reading.paused == {W3}
    for _ in range(PEER_BYTES_HIGH // MESSAGE_COST // MESSAGES_PER_TURN_MAX):
        now[0] += NS_PER_MS
        consensus._turn()
    assert reading.paused == set()


# -- places: who does not say who it is ---------------------------------------------------------------


class Wire:
    """What a link uses of an asyncio transport."""

    def __init__(self) -> None:
        self.aborted = False

    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None: ...
    def abort(self) -> None:
        self.aborted = True


class Door:
    """The owner of a link that lets everybody in."""

    def introduce(self, _link: PeerLink) -> Hello:
        speaker = Speaker(W1, b"d" * 16, learner=False, position=NOWHERE, process=b"p" * 16, starts=1, past=())
        return Hello(CLUSTER, None, speaker, NO_LINEAGE, 1)

    def introduced(self, link: PeerLink, hello: Hello) -> None: ...
    def closed(self, link: PeerLink, why: str) -> None: ...
    def broken(self, error: BaseException) -> None:
        raise error


@pytest.mark.parametrize("trickle", [b"", b"\0"])
def test_a_connection_that_does_not_introduce_itself_ends_in_time_whatever_it_trickles(trickle: bytes) -> None:
    now, wire = [100.0], Wire()
    link = PeerLink(Door(), None, lambda: now[0])  # type: ignore[arg-type]  # the part of an owner that it uses
    now[0] += 3 * INTRODUCED_WITHIN_S  # the handshake of TLS has a limit of its own
    link.connection_made(wire)  # type: ignore[arg-type]  # same
    began_s = now[0]
    while now[0] - began_s < INTRODUCED_WITHIN_S - 1:
        now[0] += 1.0
        link.data_received(trickle)
        link.check_introduction(INTRODUCED_WITHIN_S)
    assert not wire.aborted
    now[0] += 1.5
    link.data_received(trickle)
    link.check_introduction(INTRODUCED_WITHIN_S)
    assert wire.aborted
    assert link.closing


# -- terms: a liar far ahead (D-50) --------------------------------------------------------------------------

FAR_ANSWER: Message = {"type": "pre_vote_answer", "term": 6, "granted": True, "current": NUMBER_MAX}


@pytest.mark.parametrize("message", [vote_request(NUMBER_MAX), append(8, [], term=NUMBER_MAX), FAR_ANSWER])
def test_d50_a_term_far_ahead_is_not_taken_and_approached_once_an_election_timeout(message: Message) -> None:
    filter_, view = make(), View()
    assert delivered(filter_.inbound(W2, message, view, 0)) == step_down(view.term + TERM_JUMP_MAX)
    assert filter_.inbound(W2, message, view, ELECTION_NS - 1) == Verdict()
    assert filter_.inbound(W2, message, view, ELECTION_NS).deliver is not None
    assert filter_.counters["term_jump"] == 3
    assert filter_.alarms["term_jump"].startswith(f"{W2} says term ")
    assert filter_.leader_heard_ns is None


def test_d50_two_members_that_a_liar_drove_apart_find_each_other_again() -> None:
    """w1 was made to take the highest term that it may, and stands above it: to the other one that is a jump."""
    filter_, view = make(), View(leader=None)
    asks = {**vote_request(5 + TERM_JUMP_MAX + 1), "type": "pre_vote"}
    view.term = delivered(filter_.inbound(W2, asks, view, 0))["term"]
    reply = filter_.inbound(W2, asks, view, 1).reply
    assert reply is not None
    assert reply["granted"] is True
