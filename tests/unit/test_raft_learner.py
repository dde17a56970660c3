"""Three real nodes in lockstep: blank disks (D-25, O6), nearly full disks (D1), leaders without a majority (D-14)."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from proto.errors import DurabilityLost
from proto.units import NS_PER_MS, ClusterId, InstantNs, LogIndex, WitnessId
from witness.raft.message_filter import UNCOMMITTED_ENTRIES_MAX
from witness.raft.messages import Message
from witness.raft.node import RaftNode
from witness.raft.port import CommittedEntry, ConsensusStatus, ProposalRefused, Role
from witness.raft.space import Space
from witness.raft.space import Verdict as SpaceVerdict
from witness.raft.standing import STANDING_MARK, Standing
from witness.raft.store import Store, create_store, open_store
from witness.raft.timers import CompactionLimits, RaftTimers

CLUSTER = ClusterId("ab" * 16)
IDS = tuple(WitnessId(name) for name in ("w1", "w2", "w3"))
W1, W2, W3 = IDS
STEP_NS = 5 * NS_PER_MS


class State:
    def __init__(self) -> None:
        self.data: list[bytes] = []

    def apply(self, entry: CommittedEntry) -> None:
        self.data.append(entry.data)

    def snapshot(self) -> bytes:
        return b"|".join(self.data)

    def restore(self, image: bytes, last_index: LogIndex) -> None:
        self.data = image.split(b"|") if image else []

    def turn_synced(self) -> None: ...
    def status_changed(self, status: ConsensusStatus) -> None: ...


class Trio:
    """Every step each running node takes one turn; what it sent arrives before the next."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now_ns = 0
        self.nodes: dict[WitnessId, RaftNode] = {}
        self.stores: dict[WitnessId, Store] = {}
        self.states: dict[WitnessId, State] = {}
        self.sent: list[tuple[WitnessId, WitnessId, Message]] = []
        for witness in IDS:
            create_store(root / witness, CLUSTER, witness)

    def start(self, *witnesses: WitnessId) -> None:
        for witness in witnesses:
            store = self.stores[witness] = open_store(self.root / witness, CLUSTER, witness)
            state = self.states[witness] = State()
            self.nodes[witness] = RaftNode(
                self_id=witness,
                peers=[peer for peer in IDS if peer != witness],
                store=store,
                replicated=state,
                timers=RaftTimers(),
                compaction=CompactionLimits(entries_max=16, tail_entries=3),
                now_ns=InstantNs(self.now_ns),
                rng=random.Random(witness),
            )
        for witness in witnesses:
            for peer in self.nodes:
                if peer != witness:
                    self.nodes[witness].link_up(peer)
                    self.nodes[peer].link_up(witness)

    def lose_disk(self, witness: WitnessId, name: str) -> None:
        self.stop(witness)
        (self.root / witness).rename(self.root / name)
        create_store(self.root / witness, CLUSTER, witness)
        store = open_store(self.root / witness, CLUSTER, witness)
        store.put_meta(STANDING_MARK, Standing.LEARNER.value.encode())
        store.commit()
        store.close()

    def stop(self, witness: WitnessId) -> None:
        del self.nodes[witness]
        self.stores.pop(witness).close()
        for node in self.nodes.values():
            node.link_down(witness)

    def step(self, milliseconds: int) -> None:
        for _ in range(milliseconds * NS_PER_MS // STEP_NS):
            self.now_ns += STEP_NS
            for witness, node in self.nodes.items():
                result = node.turn(InstantNs(self.now_ns), {})
                for peer, messages in result.outbox.items():
                    self.sent += [(witness, peer, message) for message in messages]
                    for message in messages:
                        if peer in self.nodes:
                            self.nodes[peer].receive(witness, message, 100)
                node.finish()

    def leader(self) -> WitnessId:
        for _ in range(100):
            leaders = [witness for witness, node in self.nodes.items() if node.status().role is Role.LEADER]
            if len(leaders) == 1 and all(node.status().leader == leaders[0] for node in self.nodes.values()):
                return leaders[0]
            self.step(20)
        raise AssertionError("no leader")

    def commit(self, data: bytes) -> None:
        leader = self.leader()
        self.nodes[leader].propose(data)
        for _ in range(100):
            self.step(20)
            if data in self.states[leader].data:
                return
        raise AssertionError(f"{data!r} was not committed")

    def close(self) -> None:
        for store in self.stores.values():
            store.close()


@pytest.fixture
def trio(tmp_path: Path) -> object:
    made = Trio(tmp_path)
    made.start(*IDS)
    yield made
    made.close()


def test_d25_a_learner_is_readmitted_in_a_newer_term_and_only_after_all_answered(trio: Trio) -> None:
    for number in range(40):
        trio.commit(b"before%d" % number)
    term = trio.nodes[trio.leader()].status().term
    trio.lose_disk(W3, "lost")
    trio.commit(b"meanwhile")
    trio.sent.clear()
    trio.start(W3)
    assert trio.nodes[W3].standing is Standing.LEARNER
    progress = trio.nodes[W3].readmission()
    assert progress is not None
    assert progress.waiting_for == (W1, W2)
    for _ in range(100):
        trio.step(20)
        if trio.nodes[W3].standing is Standing.VOTER:
            break
    assert trio.nodes[W3].standing is Standing.VOTER
    assert trio.nodes[W3].readmission() is None
    assert trio.stores[W3].get_meta(STANDING_MARK) == b"voter"
    assert trio.nodes[trio.leader()].status().term > term
    assert trio.states[W3].data == trio.states[W1].data
    trio.commit(b"after")
    trio.stop(W1)
    trio.commit(b"with w3 in the majority")
    assert trio.states[W3].data == trio.states[W2].data


def test_d25_nothing_is_committed_and_nobody_elected_with_a_learners_help(trio: Trio) -> None:
    trio.commit(b"before")
    trio.lose_disk(W3, "lost")
    leader = trio.leader()
    other = next(witness for witness in (W1, W2) if witness != leader)
    trio.stop(other)
    trio.sent.clear()
    trio.start(W3)
    trio.nodes[leader].propose(b"alone")
    trio.step(10_000)
    assert b"alone" not in trio.states[leader].data
    assert trio.nodes[leader].status().role is not Role.LEADER, "a learner is no majority"
    assert not trio.nodes[leader].status().has_quorum
    assert trio.nodes[W3].standing is Standing.LEARNER
    progress = trio.nodes[W3].readmission()
    assert progress is not None
    assert progress.waiting_for == (other,)
    assert not [m for w, _, m in trio.sent if w == W3 and m["type"] in {"response_vote", "request_vote", "pre_vote"}]
    trio.start(other)
    trio.commit(b"again")
    for _ in range(200):
        trio.step(20)
    assert trio.nodes[W3].standing is Standing.VOTER
    assert trio.states[W3].data == trio.states[W1].data


def test_d14_a_leader_without_a_majority_gives_up_within_two_election_timeouts(trio: Trio) -> None:
    leader = trio.leader()
    for witness in IDS:
        if witness != leader:
            trio.stop(witness)
    timers = RaftTimers()
    trio.step(2 * timers.election_max_ms + timers.append_period_ms)
    assert trio.nodes[leader].status().role is not Role.LEADER
    term = trio.nodes[leader].status().term
    trio.step(10_000)
    assert trio.nodes[leader].status().term == term, "alone it asks and does not stand (D-13)"


def test_d13_a_cut_off_follower_does_not_unseat_the_leader(trio: Trio) -> None:
    """N3: it sees one peer, but not the leader."""
    leader = trio.leader()
    cut, other = (witness for witness in IDS if witness != leader)
    trio.nodes[cut].link_down(leader)
    trio.nodes[leader].link_down(cut)
    term = trio.nodes[leader].status().term
    trio.sent.clear()
    trio.step(10_000)
    assert any(m["type"] == "pre_vote" and (w, p) == (cut, other) for w, p, m in trio.sent)
    assert trio.nodes[leader].status().term == term
    assert trio.nodes[leader].status().role is Role.LEADER
    trio.nodes[cut].link_up(leader)
    trio.nodes[leader].link_up(cut)
    trio.commit(b"together again")
    assert trio.nodes[leader].status().term == term


def test_d1_a_leader_without_room_hands_over_and_a_follower_without_room_takes_nothing(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    trio.commit(b"before")
    low = trio.leader()
    told = Space(1, SpaceVerdict.LOW)
    monkeypatch.setattr(trio.stores[low], "space", lambda _now_ns: told)
    trio.step(3_000)
    leader = trio.leader()
    assert leader != low
    trio.commit(b"while low")
    assert b"while low" not in trio.states[low].data
    other = next(witness for witness in IDS if witness not in {low, leader})
    trio.stop(other)
    trio.nodes[leader].propose(b"needs the low one")
    trio.step(1_000)
    assert b"needs the low one" not in trio.states[leader].data, "it was acknowledged without room"
    monkeypatch.undo()
    trio.commit(b"room again")
    trio.step(1_000)
    assert trio.states[low].data == trio.states[leader].data


def test_d1_a_witness_ends_before_its_disk_is_full(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio.stores[W1], "space", lambda _now_ns: Space(1, SpaceVerdict.CRITICAL))
    with pytest.raises(DurabilityLost, match="make room"):
        trio.step(10)


def test_d46_a_leader_alone_holds_a_bounded_backlog(trio: Trio) -> None:
    leader = trio.leader()
    for witness in IDS:
        if witness != leader:
            trio.stop(witness)
    for number in range(4 * UNCOMMITTED_ENTRIES_MAX):
        if number % 100 == 0:
            trio.step(5)
        with contextlib.suppress(ProposalRefused):
            trio.nodes[leader].propose(b"%d" % number)
    status = trio.nodes[leader].status()
    backlog = trio.stores[leader].read_state().last_index - status.commit_index
    assert UNCOMMITTED_ENTRIES_MAX // 2 < backlog <= UNCOMMITTED_ENTRIES_MAX
    assert not trio.nodes[leader].wants_turn(), "a full leader must not spin"


def test_d44_a_divergent_tail_is_found_in_one_step_a_term(trio: Trio) -> None:
    trio.commit(b"common")
    trio.step(200)
    old = trio.leader()
    others = [witness for witness in IDS if witness != old]
    for witness in others:
        trio.nodes[witness].link_down(old)
        trio.nodes[old].link_down(witness)
    for number in range(200):
        trio.nodes[old].propose(b"lost%d" % number)
    trio.step(3_000)
    leader = next(w for w in others if trio.nodes[w].status().role is Role.LEADER)
    for number in range(250):
        trio.nodes[leader].propose(b"kept%d" % number)
        trio.step(5)
    trio.step(200)
    for witness in others:
        trio.nodes[witness].link_up(old)
        trio.nodes[old].link_up(witness)
    trio.step(500)
    assert trio.states[old].data == trio.states[leader].data
    assert b"kept249" in trio.states[old].data
