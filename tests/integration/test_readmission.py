"""Disks that forgot something, three real engines on loopback: none of them votes or counts until it is safe."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from raft_cluster import CLUSTER, IDS, Loopback, until

from proto.units import WitnessId
from witness.raft.standing import Standing
from witness.raft.store import create_store, move_aside
from witness.raft.timers import CompactionLimits

SMALL = CompactionLimits(entries_max=200, tail_entries=20)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Loopback]:
    made = Loopback(tmp_path, compaction=SMALL)
    await made.start()
    yield made
    await made.stop_copies()
    await made.stop()
    made.check()


async def fill(cluster: Loopback, witness: WitnessId, count: int, prefix: str = "e") -> None:
    for number in range(count):
        await cluster.committed(witness, f"{prefix}{number}".encode())


async def follower(cluster: Loopback) -> tuple[WitnessId, list[WitnessId]]:
    """A witness that does not lead, and the others."""
    leader = await cluster.elected()
    found = next(witness for witness in IDS if witness != leader)
    return found, [witness for witness in IDS if witness != found]


def says(cluster: Loopback, witness: WitnessId, peer: WitnessId, words: str) -> bool:
    return words in cluster.nodes[witness].peer_faults().get(peer, "")


async def refused_by_all(cluster: Loopback, witness: WitnessId, words: str) -> None:
    """Both ends say why."""
    others = [peer for peer in cluster.nodes if peer != witness]
    await until(lambda: all(says(cluster, peer, witness, words) for peer in others), "refused")
    await until(lambda: all(says(cluster, witness, peer, words) for peer in others), "told that it is refused")
    assert not any(witness in cluster.nodes[peer].status().connected for peer in others)


def make_learner(cluster: Loopback, witness: WitnessId) -> None:
    move_aside(cluster.root / witness)
    create_store(cluster.root / witness, CLUSTER, witness, learner=True)


async def known_to_all(cluster: Loopback, witness: WitnessId) -> None:
    """The others have seen how far its disk is."""
    turn = cluster.stores[witness].durable.turn

    def seen(peer: WitnessId) -> bool:
        mark = cluster.nodes[peer].known(witness)
        return mark is not None and mark.position.turn >= turn

    await until(lambda: all(seen(peer) for peer in cluster.nodes if peer != witness), "its position was seen")


async def voter(cluster: Loopback, witness: WitnessId) -> None:
    await until(lambda: cluster.nodes[witness].standing is Standing.VOTER, f"{witness} votes again")


async def test_o6_a_blank_disk_counts_for_nothing_until_it_is_readmitted(cluster: Loopback) -> None:
    blank, others = await follower(cluster)
    await fill(cluster, others[0], 300)
    await cluster.stop(blank)
    shutil.rmtree(cluster.root / blank)
    create_store(cluster.root / blank, CLUSTER, blank)
    await cluster.start(blank)
    await refused_by_all(cluster, blank, "another disk")
    assert cluster.states[blank].data == []
    await cluster.stop(blank)
    make_learner(cluster, blank)
    await cluster.start(blank)
    assert cluster.nodes[blank].standing is Standing.LEARNER
    await voter(cluster, blank)
    await fill(cluster, blank, 5, "later")
    await cluster.equal()


async def test_o5_a_restored_older_copy_is_refused_until_it_is_readmitted(cluster: Loopback) -> None:
    restored, others = await follower(cluster)
    await fill(cluster, others[0], 20)
    await cluster.stop(restored)
    shutil.copytree(cluster.root / restored, cluster.root / "backup")
    await cluster.start(restored)
    await fill(cluster, restored, 20, "more")
    await known_to_all(cluster, restored)
    await cluster.stop(restored)
    shutil.rmtree(cluster.root / restored)
    shutil.copytree(cluster.root / "backup", cluster.root / restored)
    await cluster.start(restored)
    await refused_by_all(cluster, restored, "older state of its disk")
    await cluster.stop(restored)
    make_learner(cluster, restored)
    await cluster.start(restored)
    await voter(cluster, restored)
    await cluster.equal()
    assert len(cluster.states[restored].data) == 40


# -- copies of one disk --------------------------------------------------------------------------------------

W1, W2, W3 = IDS
NOWHERE = ("127.0.0.1", 1)
"""Nobody listens there."""


def copy(cluster: Loopback, source: str, name: str) -> str:
    shutil.copytree(cluster.root / source, cluster.root / name, ignore=shutil.ignore_patterns("lock"))
    return name


async def test_o4_a_copy_beside_the_living_original_is_refused_and_counted(cluster: Loopback) -> None:
    await cluster.elected()
    await fill(cluster, W1, 5)
    await known_to_all(cluster, W1)
    twin = await cluster.start_copy(copy(cluster, W1, "twin"), W1, cluster.address)
    await until(lambda: all("refuses this witness" in twin.peer_faults().get(p, "") for p in (W2, W3)), "refused")
    assert twin.status().connected == frozenset()
    assert all(cluster.nodes[peer].counters()["second_process"] for peer in (W2, W3))
    await fill(cluster, W1, 5, "later")
    assert cluster.nodes[W1].status().connected == {W2, W3}


async def test_o4_the_original_is_refused_for_good_after_its_copy_counted(cluster: Loopback) -> None:
    await cluster.elected()
    await fill(cluster, W1, 5)
    await cluster.stop(W1)
    twin = await cluster.start_copy(copy(cluster, W1, "twin"), W1, cluster.address)
    await until(lambda: twin.status().connected == {W2, W3}, "the copy is taken for the original after a restart")
    await cluster.stop_copies()
    await cluster.start(W1)
    await refused_by_all(cluster, W1, "a copy of its disk")


async def test_o4_two_copies_that_each_reach_another_peer_first_never_both_count(cluster: Loopback) -> None:
    await cluster.elected()
    await fill(cluster, W1, 5)
    await cluster.stop(W1)
    left, right = copy(cluster, W1, "left"), copy(cluster, W1, "right")
    await until(lambda: cluster.leader() is not None, "w2 and w3 go on")
    both: list[bool] = []

    def watch() -> bool:
        counts = [W1 in cluster.nodes[peer].status().connected for peer in (W2, W3)]
        both.append(all(counts))
        return any(counts)

    one = await cluster.start_copy(left, W1, {**cluster.address, W3: NOWHERE})
    two = await cluster.start_copy(right, W1, {**cluster.address, W2: NOWHERE})
    await until(watch, "one of them counts")
    loser = (W3, two) if one.status().connected else (W2, one)
    await until(lambda: watch() and "refuses this witness" in loser[1].peer_faults().get(loser[0], ""), "one is told")
    for _ in range(200):
        await cluster.committed(W2, b"x")
        watch()
    assert not any(both)
    assert sum(len(node.status().connected) for node in (one, two)) == 1


async def test_o4_a_copy_of_a_running_disk_may_not_vote_while_the_original_is_reached_by_one_member(
    cluster: Loopback,
) -> None:
    """The original has lost one connection; its copy, which knows the original's last start, gets exactly that one."""
    await cluster.elected()
    await cluster.stop(W1)
    one = await cluster.start_copy(copy(cluster, W1, "first"), W1, {**cluster.address, W3: NOWHERE})
    await until(lambda: one.status().connected == {W2}, "the original is connected with w2 alone")
    two = await cluster.start_copy(copy(cluster, "first", "second"), W1, {**cluster.address, W2: NOWHERE})
    await until(lambda: "(as w2 says)" in two.peer_faults().get(W3, ""), "refused by w3 because of w2")
    assert "another one is connected and alive" in two.peer_faults()[W3] or "copy" in two.peer_faults()[W3]
    assert one.status().connected == {W2}
    assert W1 not in cluster.nodes[W3].status().connected
