"""Real nodes in lockstep: learners counted as members, answers that outlive their connection, renewals in flight."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from trio_rig import State

from proto.units import NS_PER_MS, ClusterId, InstantNs, WitnessId
from witness.raft.messages import NUMBER_MAX, TERM_JUMP_MAX, Message
from witness.raft.node import RaftNode
from witness.raft.outbox import Outbox
from witness.raft.port import Role
from witness.raft.space import Space
from witness.raft.space import Verdict as SpaceVerdict
from witness.raft.standing import Standing
from witness.raft.store import Store, create_store, open_store
from witness.raft.timers import CompactionLimits, RaftTimers

CLUSTER = ClusterId("ab" * 16)
STEP_NS = 5 * NS_PER_MS
SNAPSHOT_ROOM_BYTES = 64 * 1024 * 1024


class Members:
    """`count` witnesses; those in `learners` begin on a blank disk. What is sent arrives before the next step."""

    def __init__(self, root: Path, count: int, learners: tuple[int, ...] = ()) -> None:
        self.root = root
        self.ids = [WitnessId(f"w{number}") for number in range(1, count + 1)]
        self.now_ns = 0
        self.nodes: dict[WitnessId, RaftNode] = {}
        self.stores: dict[WitnessId, Store] = {}
        self.states: dict[WitnessId, State] = {}
        self.leaders: dict[int, set[WitnessId]] = {}
        for number, witness in enumerate(self.ids, start=1):
            create_store(root / witness, CLUSTER, witness, learner=number in learners)

    def start(self, *witnesses: WitnessId) -> None:
        for witness in witnesses:
            store = self.stores[witness] = open_store(self.root / witness, CLUSTER, witness)
            self.states[witness] = State()
            self.nodes[witness] = RaftNode(
                self_id=witness,
                peers=[peer for peer in self.ids if peer != witness],
                store=store,
                replicated=self.states[witness],
                timers=RaftTimers(),
                compaction=CompactionLimits(entries_max=16, tail_entries=3),
                now_ns=InstantNs(self.now_ns),
                rng=random.Random(witness),
            )
            for peer in self.nodes:
                if peer != witness:
                    self.link(peer, witness)

    def link(self, one: WitnessId, other: WitnessId) -> None:
        self.nodes[one].link_up(other)
        self.nodes[other].link_up(one)

    def stop(self, witness: WitnessId) -> None:
        del self.nodes[witness]
        self.stores.pop(witness).close()
        for node in self.nodes.values():
            node.link_down(witness)

    def step(self, milliseconds: int, early: bool = False) -> None:
        for _ in range(milliseconds * NS_PER_MS // STEP_NS):
            self.now_ns += STEP_NS
            for witness, node in self.nodes.items():
                sent: list[Outbox] = []
                result = node.turn(InstantNs(self.now_ns), {}, sent.append if early else None)
                for outbox in (*sent, result.outbox):
                    self.deliver(witness, outbox)
                node.finish()
                if node.status().role is Role.LEADER:
                    self.leaders.setdefault(node.status().term, set()).add(witness)

    def deliver(self, witness: WitnessId, outbox: Outbox) -> None:
        for peer, messages in outbox.items():
            for message in messages:
                if peer in self.nodes:
                    self.nodes[peer].receive(witness, message, 100)

    def leader(self) -> WitnessId:
        for _ in range(200):
            leaders = [witness for witness, node in self.nodes.items() if node.status().role is Role.LEADER]
            if len(leaders) == 1 and all(node.status().leader == leaders[0] for node in self.nodes.values()):
                return leaders[0]
            self.step(20)
        raise AssertionError("no leader")

    def voters(self) -> set[WitnessId]:
        return {witness for witness, node in self.nodes.items() if node.standing is Standing.VOTER}

    def close(self) -> None:
        for store in self.stores.values():
            store.close()


@pytest.fixture
def made() -> Iterator[list[Members]]:
    kept: list[Members] = []
    yield kept
    for members in kept:
        members.close()


def test_five_members_with_two_learners_are_led_by_their_three_voters_and_by_no_fewer(
    tmp_path: Path, made: list[Members]
) -> None:
    five = Members(tmp_path, 5, learners=(4, 5))
    made.append(five)
    w1, w2, w3, w4, w5 = five.ids
    five.start(w1, w2, w4, w5)  # two voters and two learners: four of five, and no majority that forgot nothing
    five.nodes[w1].propose(b"too few")
    five.step(8_000)
    assert five.leaders == {}
    assert five.voters() == {w1, w2}
    five.start(w3)
    assert five.leader() in {w1, w2, w3}
    five.step(6_000)
    assert five.voters() == set(five.ids), "all members answered both learners"
    leader = five.leader()
    five.nodes[leader].propose(b"all")
    five.step(500)
    assert all(state.data == five.states[w1].data for state in five.states.values())
    for old in [witness for witness in (w1, w2, w3) if witness != leader][:2]:
        five.stop(old)
    five.nodes[five.leader()].propose(b"with both that were readmitted")
    five.step(1_000)
    assert b"with both that were readmitted" in five.states[w4].data
    assert all(len(who) == 1 for who in five.leaders.values()), "two leaders of one term"


def test_an_acknowledgement_of_two_learners_and_one_follower_commits_nothing_in_a_cluster_of_five(
    tmp_path: Path, made: list[Members]
) -> None:
    five = Members(tmp_path, 5, learners=(4, 5))
    made.append(five)
    w1, w2, w3, w4, w5 = five.ids
    five.start(w1, w2, w3, w5)  # w4 is away, so that w5 stays what it is
    leader = five.leader()
    five.start(w4)
    gone = next(witness for witness in (w1, w2, w3) if witness != leader)
    five.stop(gone)
    five.nodes[leader].propose(b"three of five have it, two of them forgot something")
    five.step(400)
    assert five.nodes[leader].status().commit_index < five.stores[leader].read_state().last_index
    assert all(b"three of five have it" not in b"|".join(state.data) for state in five.states.values())


def test_a_term_is_renewed_for_a_learner_while_entries_are_under_way_and_none_is_lost(
    tmp_path: Path, made: list[Members]
) -> None:
    three = Members(tmp_path, 3, learners=(3,))
    made.append(three)
    w1, w2, w3 = three.ids
    three.start(w1, w2)
    three.leader()
    three.start(w3)
    applied: list[bytes] = []
    for number in range(200):
        for node in three.nodes.values():
            if node.status().role is Role.LEADER:
                node.propose(b"%d" % number)
        three.step(10, early=True)
        longest = max((state.data for state in three.states.values()), key=len)
        assert longest[: len(applied)] == applied, "what was applied somewhere is gone"
        applied = list(longest)
    three.step(1_000, early=True)
    assert three.voters() == set(three.ids)
    assert len(three.leaders) >= 2, "no term was renewed"
    assert all(len(who) == 1 for who in three.leaders.values())
    assert all(state.data == three.states[w1].data for state in three.states.values())
    assert len(three.states[w1].data) > 150


def test_d25_an_answer_to_a_learner_is_void_when_its_connection_ends(tmp_path: Path, made: list[Members]) -> None:
    """What answered may have been a copy of that member's disk, which the others refuse as soon as they are met."""
    three = Members(tmp_path, 3, learners=(3,))
    made.append(three)
    w1, w2, w3 = three.ids
    three.start(w3)
    learner = three.nodes[w3]
    learner.link_up(w2)
    answer: Message = {"type": "readmission_answer", "disk": three.stores[w3].incarnation, "current": 1}
    learner.receive(w2, answer, 100)
    three.step(5)
    assert waiting_for(learner) == (w1,)
    learner.link_down(w2)
    assert waiting_for(learner) == (w1, w2)
    three.start(w1)
    three.step(500)
    assert waiting_for(learner) == (w2,)
    assert learner.standing is Standing.LEARNER


def test_d25_an_absurd_term_in_an_answer_does_not_keep_a_learner_for_ever(tmp_path: Path, made: list[Members]) -> None:
    three = Members(tmp_path, 3, learners=(3,))
    made.append(three)
    _, w2, w3 = three.ids
    three.start(w3)
    learner = three.nodes[w3]
    learner.link_up(w2)
    for current in (NUMBER_MAX, TERM_JUMP_MAX + 1):
        learner.receive(
            w2, {"type": "readmission_answer", "disk": three.stores[w3].incarnation, "current": current}, 100
        )
    three.step(5)
    assert w2 in waiting_for(learner)


def waiting_for(node: RaftNode) -> tuple[WitnessId, ...]:
    progress = node.readmission()
    assert progress is not None
    return progress.waiting_for


def test_nothing_leaves_early_for_a_peer_whose_admission_is_not_on_disk(tmp_path: Path, made: list[Members]) -> None:
    three = Members(tmp_path, 3)
    made.append(three)
    three.start(*three.ids)
    leader = three.leader()
    node, peers = three.nodes[leader], [witness for witness in three.ids if witness != leader]
    fresh, known = peers
    node.link_down(fresh)
    node.link_up(fresh)
    early: list[Outbox] = []
    node.propose(b"one")
    three.now_ns += STEP_NS
    result = node.turn(InstantNs(three.now_ns), {}, early.append)
    assert [sorted(outbox) for outbox in early] == [[known]]
    assert any(message["type"] == "append_entries" for message in result.outbox[fresh])
    node.propose(b"two")
    three.now_ns += STEP_NS
    node.turn(InstantNs(three.now_ns), {}, early.append)
    assert sorted(early[-1]) == sorted(peers)


def test_a_witness_without_room_for_entries_still_takes_a_snapshot_and_what_follows_once_there_is_room(
    tmp_path: Path, made: list[Members], monkeypatch: pytest.MonkeyPatch
) -> None:
    three = Members(tmp_path, 3)
    made.append(three)
    three.start(*three.ids)
    leader = three.leader()
    low = next(witness for witness in three.ids if witness != leader)
    three.stop(low)
    for number in range(60):
        three.nodes[three.leader()].propose(b"%d" % number)
        three.step(20)
    three.start(low)
    with monkeypatch.context() as patched:
        patched.setattr(three.stores[low], "space", lambda _now_ns: Space(SNAPSHOT_ROOM_BYTES, SpaceVerdict.LOW))
        three.step(3_000)
        assert three.states[low].data[:16] == three.states[leader].data[:16], "the snapshot was not installed"
    three.step(1_000)
    assert three.states[low].data == three.states[leader].data


def test_all_without_room_stop_deciding_and_go_on_when_there_is_room(
    tmp_path: Path, made: list[Members], monkeypatch: pytest.MonkeyPatch
) -> None:
    three = Members(tmp_path, 3)
    made.append(three)
    three.start(*three.ids)
    leader = three.leader()
    with monkeypatch.context() as patched:
        for store in three.stores.values():
            patched.setattr(store, "space", lambda _now_ns: Space(1, SpaceVerdict.LOW))
        three.step(10)
        three.leaders.clear()
        three.nodes[leader].propose(b"no room")
        three.step(5_000)
        assert three.leaders == {}
        assert not any(node.status().has_quorum for node in three.nodes.values())
    again = three.leader()
    three.nodes[again].propose(b"room")
    three.step(500)
    assert all(b"room" in state.data for state in three.states.values())
