"""What witness.raft.port promises, run on both bodies through one small driver each."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest

sys.path.append(str(Path(__file__).parents[1] / "integration"))

from raft_cluster import IDS, Loopback, Recorder

from proto.features import FEATURE_MAX
from proto.units import NS_PER_MS, InstantNs, WitnessId
from witness.raft.memory import MemoryCluster
from witness.raft.port import ENTRY_BYTES_MAX, PROPOSALS_QUEUED_MAX, ConsensusPort, ProposalRefused, Role


class Body(Protocol):
    """What a test may do to a cluster, whatever is inside."""

    states: dict[WitnessId, Recorder]

    def port(self, witness: WitnessId) -> ConsensusPort: ...
    async def until(self, condition: Callable[[], bool], what: str) -> None: ...
    async def kill(self, witness: WitnessId) -> None: ...
    async def revive(self, witness: WitnessId) -> None: ...
    def force_snapshot(self, witness: WitnessId) -> None: ...


class EngineBody:
    def __init__(self, root: Path) -> None:
        self._cluster = Loopback(root)
        self.states = self._cluster.states

    async def begin(self) -> None:
        await self._cluster.start()

    async def end(self) -> None:
        await self._cluster.stop()
        self._cluster.check()

    def port(self, witness: WitnessId) -> ConsensusPort:
        return self._cluster.nodes[witness]

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = asyncio.get_running_loop().time() + 20
        while not condition():
            assert asyncio.get_running_loop().time() < deadline_s, what
            await asyncio.sleep(0.005)

    async def kill(self, witness: WitnessId) -> None:
        await self._cluster.stop(witness)

    async def revive(self, witness: WitnessId) -> None:
        await self._cluster.start(witness)

    def force_snapshot(self, witness: WitnessId) -> None:
        self._cluster.nodes[witness].force_snapshot()


class MemoryBody:
    def __init__(self, root: Path) -> None:
        self._cluster = MemoryCluster(IDS, random.Random(7))
        self._now_ns = 0
        self._ports: dict[WitnessId, ConsensusPort] = {}
        self.states: dict[WitnessId, Recorder] = {}

    async def begin(self) -> None:
        for witness in IDS:
            await self.revive(witness)

    async def end(self) -> None: ...

    def port(self, witness: WitnessId) -> ConsensusPort:
        return self._ports[witness]

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        for _ in range(20_000):
            if condition():
                return
            self._now_ns += NS_PER_MS
            self._cluster.step(InstantNs(self._now_ns))
        raise AssertionError(what)

    async def kill(self, witness: WitnessId) -> None:
        self._cluster.crash(witness)
        del self._ports[witness]

    async def revive(self, witness: WitnessId) -> None:
        state = self.states[witness] = Recorder()
        self._ports[witness] = self._cluster.attach(witness, state)

    def force_snapshot(self, witness: WitnessId) -> None:
        self._cluster.force_snapshot(witness)


@pytest.fixture(params=[EngineBody, MemoryBody], ids=["engine", "memory"])
async def body(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Body]:
    made = request.param(tmp_path)
    await made.begin()
    yield made
    await made.end()


def leader_of(body: Body, among: tuple[WitnessId, ...] = IDS) -> WitnessId | None:
    statuses = [body.port(witness).status() for witness in among]
    leaders = [status.leader for status in statuses if status.role is Role.LEADER]
    settled = all(status.has_quorum and status.caught_up for status in statuses)
    return leaders[0] if len(leaders) == 1 and settled and {s.leader for s in statuses} == set(leaders) else None


async def led(body: Body, among: tuple[WitnessId, ...] = IDS) -> WitnessId:
    await body.until(lambda: leader_of(body, among) is not None, "a leader that all agree on")
    leader = leader_of(body, among)
    assert leader is not None
    return leader


async def commit(body: Body, witness: WitnessId, data: bytes, among: tuple[WitnessId, ...] = IDS) -> None:
    body.port(witness).propose(data)
    await body.until(lambda: all(data in body.states[w].data for w in among), f"{data!r} applied everywhere")


async def test_every_node_applies_the_same_entries_in_index_order(body: Body) -> None:
    await led(body)
    for number in range(30):
        await commit(body, IDS[number % 3], b"%d" % number)
    assert len({tuple(state.data) for state in body.states.values()}) == 1
    for state in body.states.values():
        indexes = [entry.index for entry in state.entries]
        assert indexes == sorted(set(indexes))
        assert {entry.term for entry in state.entries} == {body.port(IDS[0]).status().term}


async def test_turn_synced_follows_what_was_applied(body: Body) -> None:
    """What waits for an entry is let go by the end of the turn that applied it, on every node, and by no other turn."""
    await led(body)
    released: list[tuple[WitnessId, bool]] = []
    for witness, state in body.states.items():
        state.waiting[b"two"] = lambda witness=witness, state=state: released.append((witness, b"two" in state.data))
    before = {witness: state.synced for witness, state in body.states.items()}
    await commit(body, IDS[0], b"one")
    await body.until(lambda: all(body.states[one].synced > before[one] for one in IDS), "turns ended")
    assert released == []
    await commit(body, IDS[0], b"two")
    await body.until(lambda: len(released) == len(IDS), "what waited is let go")
    assert sorted(released) == [(witness, True) for witness in sorted(IDS)]


async def test_a_fresh_entry_has_an_honest_young_age(body: Body) -> None:
    await led(body)
    for number in range(10):
        await commit(body, IDS[0], b"%d" % number)
    for state in body.states.values():
        age_ns = state.entries[-1].age_bound_ns
        assert age_ns is not None
        assert 0 <= age_ns <= 1_000 * NS_PER_MS


async def test_what_is_replayed_after_a_restart_has_no_known_age(body: Body) -> None:
    leader = await led(body)
    follower = next(witness for witness in IDS if witness != leader)
    for number in range(5):
        await commit(body, leader, b"%d" % number)
    await body.kill(follower)
    await body.revive(follower)
    await body.until(lambda: len(body.states[follower].data) == 5, "replayed")
    assert {entry.age_bound_ns for entry in body.states[follower].entries} == {None}


async def test_a_majority_goes_on_and_the_third_catches_up(body: Body) -> None:
    leader = await led(body)
    rest = tuple(witness for witness in IDS if witness != leader)
    await commit(body, leader, b"before")
    await body.kill(leader)
    assert await led(body, rest) != leader
    await commit(body, rest[0], b"after", rest)
    await body.revive(leader)
    await body.until(lambda: body.states[leader].data == [b"before", b"after"], "the third catches up")


async def test_a_minority_commits_nothing_and_loses_quorum(body: Body) -> None:
    leader = await led(body)
    for witness in IDS:
        if witness != leader:
            await body.kill(witness)
    body.port(leader).propose(b"never")
    await body.until(lambda: not body.port(leader).status().has_quorum, "quorum lost")
    await body.until(lambda: body.port(leader).status().role is not Role.LEADER, "stepped down")
    assert body.states[leader].data == []


async def test_a_restart_begins_with_the_last_snapshot(body: Body) -> None:
    leader = await led(body)
    follower = next(witness for witness in IDS if witness != leader)
    for number in range(5):
        await commit(body, leader, b"%d" % number)
    body.force_snapshot(follower)
    await commit(body, leader, b"later")
    await commit(body, leader, b"last")
    await body.kill(follower)
    await body.revive(follower)
    await body.until(lambda: len(body.states[follower].data) == 7, "all there again")
    assert body.states[follower].restores == 1
    assert body.states[follower].data == body.states[leader].data


async def test_status_changes_are_told_once_each(body: Body) -> None:
    await led(body)
    for state in body.states.values():
        shapes = [(s.role, s.leader, s.term, s.has_quorum, s.connected, s.caught_up) for s in state.statuses]
        assert all(one != other for one, other in itertools.pairwise(shapes))
        assert state.statuses[-1].leader is not None


async def test_too_large_and_too_many_proposals_are_refused_whole(body: Body) -> None:
    leader = await led(body)
    await commit(body, leader, b"x" * ENTRY_BYTES_MAX)
    with pytest.raises(ProposalRefused):
        body.port(leader).propose(b"x" * (ENTRY_BYTES_MAX + 1))
    for number in range(PROPOSALS_QUEUED_MAX):
        body.port(leader).propose(b"%d" % number)
    with pytest.raises(ProposalRefused):
        body.port(leader).propose(b"one more")
    expected = PROPOSALS_QUEUED_MAX + 1
    await body.until(lambda: len(body.states[leader].data) == expected, "the accepted ones are committed")
    assert b"one more" not in body.states[leader].data


async def test_a_proposal_is_never_committed_twice(body: Body) -> None:
    leader = await led(body)
    rest = tuple(witness for witness in IDS if witness != leader)
    for number in range(50):
        body.port(IDS[number % 3]).propose(b"%d" % number)
    await body.kill(leader)
    await led(body, rest)
    await commit(body, rest[0], b"end", rest)
    data = body.states[rest[0]].data
    assert len(set(data)) == len(data)


async def test_the_status_says_what_each_connected_witness_can_work_at(body: Body) -> None:
    leader = await led(body)
    others = {witness for witness in IDS if witness != leader}
    status = body.port(leader).status()
    assert {witness for witness, _ in status.features} == others == status.connected
    assert all(level == FEATURE_MAX for _, level in status.features)
    gone = min(others)
    await body.kill(gone)
    await body.until(lambda: gone not in dict(body.port(leader).status().features), "who left tells nothing any more")
