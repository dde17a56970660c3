"""Disks that forgot something, three real engines on loopback: none of them votes or counts until it is safe."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from raft_cluster import CLUSTER, IDS, Loopback, until

from proto.units import ClusterId, WitnessId
from witness.raft.admission import MARK_PREFIX, fell
from witness.raft.lineage import LINEAGE_MARK
from witness.raft.port import ProposalRefused
from witness.raft.standing import Standing
from witness.raft.store import StoreRefused, create_store, move_aside, open_store
from witness.raft.syncobj import PySyncObjConsensus
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


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that goes on in spite of what it is told (witness.raft.heed): the others hold without its help."""
    monkeypatch.setattr(PySyncObjConsensus, "told_forgot", lambda *_: None)


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
    position = cluster.nodes[witness].position()

    def seen(peer: WitnessId) -> bool:
        mark = cluster.nodes[peer].known(witness)
        return mark is not None and not fell(position, mark.position)

    await until(lambda: all(seen(peer) for peer in cluster.nodes if peer != witness), "its position was seen")


def waits_for(cluster: Loopback, witness: WitnessId) -> tuple[WitnessId, ...] | None:
    progress = cluster.nodes[witness].readmission()
    return None if progress is None else progress.waiting_for


async def voter(cluster: Loopback, witness: WitnessId) -> None:
    await until(lambda: cluster.nodes[witness].standing is Standing.VOTER, f"{witness} votes again")


async def test_o6_a_blank_disk_counts_for_nothing_until_it_is_readmitted(cluster: Loopback) -> None:
    blank, others = await follower(cluster)
    await fill(cluster, others[0], 220)
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


async def put_back(cluster: Loopback) -> tuple[WitnessId, list[WitnessId]]:
    """A follower's disk is a copy of an earlier time; it is stopped. And the others."""
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
    return restored, others


async def test_o5_a_restored_older_copy_ends_when_it_is_told_and_stays_down_until_it_is_readmitted(
    cluster: Loopback,
) -> None:
    restored, others = await put_back(cluster)
    await cluster.start(restored)
    await until(lambda: bool(cluster.faults), "it heeds what it is told")
    [ends] = cluster.faults
    assert isinstance(ends, StoreRefused)
    assert any(f"{peer} says: {restored} comes with an older state of its disk (turn " in str(ends) for peer in others)
    with pytest.raises(ProposalRefused, match="not running"):
        cluster.nodes[restored].propose(b"x")
    await cluster.stop(restored)
    await cluster.stop(*others)  # nobody who knows is there any more
    with pytest.raises(StoreRefused, match=r"older state of its disk .*`witness readmit -c FILE`"):
        await cluster.start(restored)
    cluster.stores.pop(restored).close()
    await cluster.start(*others)
    make_learner(cluster, restored)
    await cluster.start(restored)
    await voter(cluster, restored)
    await cluster.equal()
    assert len(cluster.states[restored].data) == 40
    cluster.faults.clear()


async def test_o5_a_restored_older_copy_is_refused_until_it_is_readmitted(cluster: Loopback, deaf: None) -> None:
    restored, others = await put_back(cluster)
    await cluster.start(restored)
    await refused_by_all(cluster, restored, "older state of its disk")
    refusals = cluster.nodes[restored].peering()["refused_by"]
    assert isinstance(refusals, dict)
    assert set(refusals) == set(others)
    assert all("witness readmit -c FILE" in why for why in refusals.values())
    await cluster.stop(restored)
    make_learner(cluster, restored)
    await cluster.start(restored)
    await voter(cluster, restored)
    await cluster.equal()
    assert len(cluster.states[restored].data) == 40
    assert cluster.nodes[restored].peering()["refused_by"] == {}


async def test_o6_a_readmission_waits_until_every_other_member_has_recorded_the_disk(cluster: Loopback) -> None:
    blank, (one, other) = await follower(cluster)
    await fill(cluster, one, 20)
    await cluster.stop(blank, other)
    make_learner(cluster, blank)
    await cluster.start(blank)
    await until(lambda: cluster.nodes[one].status().connected == {blank}, "connected")
    await until(lambda: waits_for(cluster, blank) == (other,), "waits for the one that is down")
    await until(lambda: not cluster.nodes[one].status().has_quorum, "a learner makes no majority")
    await cluster.stop(blank)  # killed in the middle: it begins anew, and is a learner still
    await cluster.start(blank)
    assert cluster.nodes[blank].standing is Standing.LEARNER
    await until(lambda: waits_for(cluster, blank) == (other,), "waits again")
    assert not cluster.nodes[one].status().has_quorum
    await cluster.start(other)
    await voter(cluster, blank)
    await fill(cluster, blank, 5, "later")
    await cluster.equal()


async def test_o6_nothing_acknowledged_is_lost_by_a_readmission_under_load(cluster: Loopback) -> None:
    blank, others = await follower(cluster)
    acknowledged: list[bytes] = []
    ended = asyncio.Event()

    async def load(witness: WitnessId) -> None:
        while not ended.is_set():
            data = f"{witness}-{len(acknowledged)}".encode()
            await cluster.committed(witness, data)
            acknowledged.append(data)

    async with asyncio.TaskGroup() as group:
        for witness in others:
            group.create_task(load(witness))
        await cluster.stop(blank)
        make_learner(cluster, blank)
        before = len(acknowledged)
        await cluster.start(blank)
        await voter(cluster, blank)
        await until(lambda: len(acknowledged) > before + 20, "the load went on")
        ended.set()
    await cluster.equal()
    for witness in IDS:
        assert set(acknowledged) <= set(cluster.states[witness].data)
    await cluster.stop(others[0])  # the readmitted one is half of the majority now
    await cluster.committed(blank, b"with its vote")
    await cluster.start(others[0])
    await cluster.equal()


async def test_o6_a_member_answers_only_when_its_record_of_the_new_disk_is_on_its_own_disk(cluster: Loopback) -> None:
    blank, others = await follower(cluster)
    await cluster.stop(blank)
    answered: list[tuple[WitnessId, bytes | None]] = []

    def watch(witness: WitnessId) -> None:
        node, store = cluster.nodes[witness], cluster.stores[witness]
        send = node._send

        def watching(outbox: dict[WitnessId, list[dict[str, object]]]) -> None:
            if any(message["type"] == "readmission_answer" for message in outbox.get(blank, ())):
                waits = store._changed.get(MARK_PREFIX + blank)  # what was put and is not on the disk yet
                answered.append((witness, waits))
            send(outbox)

        node._send = watching  # type: ignore[method-assign]  # a look at what leaves

    for witness in others:
        watch(witness)
    make_learner(cluster, blank)
    await cluster.start(blank)
    await voter(cluster, blank)
    assert {witness for witness, _ in answered} == set(others)
    assert [waits for _, waits in answered if waits is not None] == []
    for witness in others:
        mark = cluster.nodes[witness].known(blank)
        assert mark is not None
        assert (mark.disk, len(mark.retired)) == (cluster.stores[blank].incarnation, 1)


async def test_o6_the_old_disk_is_refused_for_ever_once_the_new_one_was_recorded(cluster: Loopback) -> None:
    replaced, others = await follower(cluster)
    await fill(cluster, others[0], 10)
    await cluster.stop(replaced)
    shutil.copytree(cluster.root / replaced, cluster.root / "old")
    make_learner(cluster, replaced)
    await cluster.start(replaced)
    await voter(cluster, replaced)
    await cluster.stop(replaced)
    (cluster.root / replaced).rename(cluster.root / "new")
    (cluster.root / "old").rename(cluster.root / replaced)
    await cluster.start(replaced)
    await refused_by_all(cluster, replaced, "a disk that a readmission replaced")
    await fill(cluster, others[0], 5, "later")
    assert len(cluster.states[replaced].data) <= 10


async def test_o1_a_witness_of_another_cluster_is_refused_and_both_ends_say_so(cluster: Loopback) -> None:
    stranger, others = await follower(cluster)
    await cluster.stop(stranger)
    elsewhere = ClusterId("cd" * 16)
    create_store(cluster.root / "elsewhere", elsewhere, stranger)
    address = cluster.address[stranger]
    node = await cluster.start_copy("elsewhere", stranger, cluster.address, elsewhere, listen=address)
    for peer in others:
        await until(lambda peer=peer: says(cluster, peer, stranger, "is of cluster"), "it is refused")
        await until(lambda peer=peer: "is of cluster" in node.peer_faults().get(peer, ""), "it refuses, or is told")
    assert node.status().connected == frozenset()
    assert node.known(others[0]) is None
    await cluster.stop_copies()


async def test_o1_a_witness_of_another_life_of_the_cluster_is_refused_unless_it_is_blank(cluster: Loopback) -> None:
    """One that was left out of a restore of all."""
    left, others = await follower(cluster)
    await cluster.stop()
    for witness in others:
        store = open_store(cluster.root / witness, CLUSTER, witness)
        store.put_meta(LINEAGE_MARK, b"l" * 16)
        store.commit()
        store.close()
    await cluster.start(*IDS)
    await refused_by_all(cluster, left, "lineage")
    await cluster.stop(left)
    make_learner(cluster, left)
    await cluster.start(left)
    await until(lambda: left in cluster.nodes[others[0]].status().connected, "a learner without a lineage is taken")


# -- copies of one disk --------------------------------------------------------------------------------------

W1, W2, W3 = IDS
NOWHERE = ("127.0.0.1", 1)
"""Nobody listens there."""


def copy(cluster: Loopback, source: str, name: str) -> str:
    shutil.copytree(cluster.root / source, cluster.root / name, ignore=shutil.ignore_patterns("lock"))
    return name


async def test_o4_a_copy_beside_the_living_original_is_refused_and_counted(cluster: Loopback, deaf: None) -> None:
    await cluster.elected()
    await fill(cluster, W1, 5)
    await known_to_all(cluster, W1)
    twin = await cluster.start_copy(copy(cluster, W1, "twin"), W1, cluster.address)
    await until(lambda: all("refuses this witness" in twin.peer_faults().get(p, "") for p in (W2, W3)), "refused")
    assert twin.status().connected == frozenset()
    assert all(cluster.nodes[peer].counters()["second_process"] for peer in (W2, W3))
    await fill(cluster, W1, 5, "later")
    assert cluster.nodes[W1].status().connected == {W2, W3}


async def test_o4_the_original_is_refused_for_good_after_its_copy_counted(cluster: Loopback, deaf: None) -> None:
    await cluster.elected()
    await fill(cluster, W1, 5)
    await cluster.stop(W1)
    twin = await cluster.start_copy(copy(cluster, W1, "twin"), W1, cluster.address)
    await until(lambda: twin.status().connected == {W2, W3}, "the copy is taken for the original after a restart")
    await cluster.stop_copies()
    await cluster.start(W1)
    await refused_by_all(cluster, W1, "of its disk")


async def test_o4_two_copies_that_each_reach_another_peer_first_never_both_count(cluster: Loopback, deaf: None) -> None:
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
    deaf: None,
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
