"""O5: the snapshot of a running machine is rolled back. The disk that comes up is behind, of the same last process."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from raft_cluster import IDS, Loopback, until

from proto.units import WitnessId
from witness.raft.syncobj import PySyncObjConsensus


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Loopback]:
    made = Loopback(tmp_path)
    await made.start()
    yield made
    await made.stop()
    made.check()


async def rolled_back(cluster: Loopback, forgotten: int) -> tuple[WitnessId, list[WitnessId]]:
    """A follower's disk goes back to a moment of its last run, `forgotten` acknowledged entries ago; it is stopped."""
    leader = await cluster.elected()
    victim = next(witness for witness in IDS if witness != leader)
    others = [witness for witness in IDS if witness != victim]
    await cluster.committed(victim, b"before")
    # Nothing of this process is under way between two of its steps: the copy is what a snapshot of the machine is.
    shutil.copytree(cluster.root / victim, cluster.root / "snapshot", ignore=shutil.ignore_patterns("lock"))
    for number in range(forgotten):
        await cluster.committed(victim, f"forgotten{number}".encode())
    reached = cluster.stores[victim].durable.raft_turn

    def seen(peer: WitnessId) -> bool:
        mark = cluster.nodes[peer].known(victim)
        return mark is not None and mark.position.turn >= reached

    await until(lambda: all(seen(peer) for peer in others), "the others saw how far it was")
    await cluster.stop(victim)
    shutil.rmtree(cluster.root / victim)
    shutil.copytree(cluster.root / "snapshot", cluster.root / victim)
    return victim, others


async def test_o5_a_rolled_back_disk_never_catches_up_by_knocking(
    cluster: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, it still writes: its starts, and what it sees of its peers at each attempt. None of it may count.

    Of one that does not heed what it is told: the others must hold without its help.
    """
    monkeypatch.setattr(PySyncObjConsensus, "told_forgot", lambda *_: None)
    victim, others = await rolled_back(cluster, forgotten=5)
    reached = cluster.nodes[others[0]].known(victim)
    assert reached is not None
    number = 0
    for _ in range(3):
        await cluster.start(victim)
        store = cluster.stores[victim]
        behind, goal = store.durable.raft_turn, max(reached.position.turn, store.durable.turn) + 6
        while cluster.stores[victim].durable.turn < goal:
            await cluster.committed(others[0], f"later{number}".encode())
            number += 1
            assert not any(victim in cluster.nodes[peer].status().connected for peer in others)
        assert store.durable.raft_turn == behind < reached.position.turn
        assert all("older state of its disk" in cluster.nodes[peer].peer_faults()[victim] for peer in others)
        await cluster.stop(victim)
