"""What a peer with a valid certificate may say within the schema, however absurd, neither ends nor spoils a witness."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from trio_rig import CLUSTER, W1, W2, W3, State

from proto.errors import FrameRefused
from proto.units import NS_PER_MS, InstantNs, WitnessId
from witness.raft.age import AgeBook
from witness.raft.messages import NUMBER_MAX, PACE_MS_MAX, STAMP_MAX, Message, check_message
from witness.raft.node import RaftNode
from witness.raft.pace import CEILING, Pace
from witness.raft.snapshot_file import SNAPSHOT_NAME, Snapshot, encode_snapshot
from witness.raft.stamps import Stamps
from witness.raft.store import create_store, open_store
from witness.raft.timers import CompactionLimits, RaftTimers

TURNS = 120


class Absurd:
    """Messages that pass the schema, around the places where a node looks."""

    def __init__(self, rng: random.Random, node: RaftNode, incarnation: bytes) -> None:
        self.rng, self.node, self.incarnation = rng, node, incarnation
        self.kinds = (self.append, self.append, self.chunk, self.answer, self.vote, self.other)

    def number(self, near: int, highest: int = NUMBER_MAX) -> int:
        picked = self.rng.choice((0, 1, 2, highest, highest - 1, near - 1, near, near + 1, near + 40))
        return max(0, min(highest, picked))

    def term(self) -> int:
        now = self.node.status().term
        return self.rng.choice((now, now, now + 1, self.number(now)))

    def message(self) -> Message:
        return self.rng.choice(self.kinds)()

    def stamps(self) -> Message:
        status = self.node.status()
        told = {name: self.number(status.applied_index, STAMP_MAX) for name in ("sent", "echo")}
        return {**told, "last": self.number(status.applied_index), "pace": self.number(300, PACE_MS_MAX)}

    def append(self) -> Message:
        status, term = self.node.status(), self.term()
        previous = self.number(self.rng.choice((status.commit_index, status.applied_index)))
        entry_term = self.rng.choice((0, status.term, term))
        places = range(previous + 1, previous + self.rng.randrange(4))
        command = self.rng.choice((b"\1", b"\0x", b"\0y"))  # other bytes under an index and term that are known, too
        entries = [[command, index, min(entry_term, term)] for index in places]
        more = {"prevLogIdx": previous, "prevLogTerm": min(entry_term, term), "entries": entries}
        commit = self.number(status.commit_index)
        return {"type": "append_entries", "term": term, "commit_index": commit, **more, **self.stamps()}

    def chunk(self) -> Message:
        status, chunk = self.node.status(), None
        if self.rng.random() < 0.5:
            last, term = max(2, self.number(status.applied_index, 1_000_000)), self.number(status.term, 1_000_000)
            data = encode_snapshot(Snapshot((b"\1", last - 1, term), (b"\1", last, term), b"a|b"), CLUSTER)
            chunk = [data, True, True, hashlib.sha256(data).digest(), 0, len(data)]
        commit = self.number(status.commit_index)
        more: dict[str, Any] = {"commit_index": commit, "serialized": chunk}
        return {"type": "append_entries", "term": self.term(), **more, **self.stamps()}

    def answer(self) -> Message:
        status, success = self.node.status(), self.rng.random() < 0.5
        return {
            "type": "next_node_idx",
            "term": self.term(),
            "next_node_idx": self.number(status.applied_index + 1),
            "success": success,
            "reset": not success and self.rng.random() < 0.7,
            "heard": self.number(status.applied_index, STAMP_MAX),
            "stamp": self.number(status.applied_index, STAMP_MAX),
            "votes": self.rng.random() < 0.7,
            "floor": self.number(status.term),
        }

    def vote(self) -> Message:
        status = self.node.status()
        last = {"last_log_index": self.number(status.applied_index), "last_log_term": self.number(status.term)}
        kind = self.rng.choice(("request_vote", "pre_vote", "response_vote"))
        return {"type": kind, "term": self.term(), **({} if kind == "response_vote" else last)}

    def other(self) -> Message:
        current = self.number(self.node.status().term)
        return self.rng.choice(
            (
                {"type": "apply_command", "command": b"\0x"},
                {"type": "pre_vote_answer", "term": self.term(), "granted": True, "current": current},
                {"type": "readmission_ask", "disk": b"d" * 16},
                {"type": "readmission_answer", "disk": self.incarnation, "current": current},
            )
        )


@pytest.mark.parametrize("seed", range(12))
def test_no_message_within_the_schema_ends_a_witness(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    create_store(tmp_path / "w1", CLUSTER, W1, learner=seed % 3 == 0)
    store = open_store(tmp_path / "w1", CLUSTER, W1)
    node = RaftNode(
        self_id=W1,
        peers=[W2, W3],
        store=store,
        replicated=State(),
        timers=RaftTimers(),
        compaction=CompactionLimits(entries_max=16, tail_entries=3),
        now_ns=InstantNs(0),
        rng=rng,
    )
    said = Absurd(rng, node, store.incarnation)
    now_ns, taken = 0, 0
    node.link_up(W2)
    node.link_up(W3)
    for _ in range(TURNS):
        now_ns += rng.choice((1, 5, 50, 400)) * NS_PER_MS
        if rng.random() < 0.05:
            node.link_down(W2)
            node.link_up(W2)
        for _ in range(rng.randrange(4)):
            message = said.message()
            try:
                check_message(message)
            except FrameRefused:
                continue
            taken += 1
            node.receive(rng.choice((W2, W3)), message, 100)
        node.turn(InstantNs(now_ns), {})
        node.finish()
    store.close()
    assert taken > TURNS // 3


# -- ages ----------------------------------------------------------------------------------------------------


def append_of(last: int, echo: int) -> Message:
    return {"last": last, "echo": echo, "sent": 1, "pace": 300}


def test_an_echo_from_the_future_does_not_make_all_that_follows_of_unknown_age() -> None:
    stamps = Stamps([W2, W3], Pace(RaftTimers()))
    stamps.took_append(W2, append_of(10, STAMP_MAX), 1_000)
    assert stamps.age_bound(11, 1, 1_000) is None
    stamps.took_append(W2, append_of(10, 900), 1_000)
    assert stamps.age_bound(11, 1, 1_000) == 100


def test_an_end_of_the_log_that_cannot_be_is_forgotten_with_the_next_honest_word() -> None:
    stamps = Stamps([W2, W3], Pace(RaftTimers()))
    stamps.took_append(W2, append_of(NUMBER_MAX, 900), 1_000)
    stamps.took_append(W3, append_of(10, 950), 1_000)
    assert stamps.age_bound(11, 1, 1_000) == 50


def test_a_later_leaders_shorter_log_dates_what_follows_it() -> None:
    book = AgeBook()
    for last, instant in ((10, 100), (20, 110), (30, 120)):
        book.confirmed(last, instant)
    book.confirmed(15, 130)
    assert book.bound(12, 2, 150) == 50
    assert book.bound(16, 2, 150) == 20
    book.confirmed(40, 125)
    assert book.bound(41, 2, 150) == 20, "an older word says less than what is known"


def test_a_leaders_pace_slows_elections_down_within_a_bound_and_until_the_next_leader() -> None:
    pace, floor = Pace(RaftTimers()), RaftTimers()
    pace.told(PACE_MS_MAX)
    assert pace.election_min_ms == CEILING * floor.election_min_ms
    assert pace.leader_fallback_ms <= 2 * pace.election_max_ms
    pace.told(0)
    assert pace.election_min_ms == floor.election_min_ms


# -- what a full disk leaves ------------------------------------------------------------------------------------


def test_d11_what_was_left_of_an_unfinished_snapshot_goes_at_the_start(tmp_path: Path) -> None:
    """It may be what fills the disk: the witness would end again and again for lack of room."""
    witness = WitnessId("w1")
    create_store(tmp_path / "w1", CLUSTER, witness)
    unfinished = tmp_path / "w1" / f"{SNAPSHOT_NAME}.tmp"
    unfinished.write_bytes(b"half of it")
    open_store(tmp_path / "w1", CLUSTER, witness).close()
    assert not unfinished.exists()
