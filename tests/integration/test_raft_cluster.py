"""Three real engines over loopback sockets: commits, failures, restarts, snapshots, strangers."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest
from raft_cluster import CLUSTER, IDS, Loopback, until
from raft_tls import make_tls

from proto.histogram import Histogram
from proto.units import NO_LINEAGE, NS_PER_S, ClusterId, WitnessId
from witness.raft.admission import Position, Speaker
from witness.raft.introduction import Hello, pack_hello
from witness.raft.peer_link import HELLO, RAFT, frame
from witness.raft.port import Role
from witness.raft.store import SNAPSHOT_NAME, STORE_NAME, StoreRefused
from witness.raft.timers import CompactionLimits

SMALL = CompactionLimits(entries_max=200, tail_entries=20)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Loopback]:
    made = Loopback(tmp_path)
    await made.start()
    yield made
    await made.stop()
    made.check()


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Loopback]:
    made = Loopback(tmp_path, compaction=SMALL)
    await made.start()
    yield made
    await made.stop()
    made.check()


async def fill(cluster: Loopback, witness: WitnessId, count: int, prefix: str = "e") -> None:
    for number in range(count):
        await cluster.committed(witness, f"{prefix}{number}".encode())


async def test_proposals_of_every_node_are_committed_on_all(cluster: Loopback) -> None:
    await cluster.elected()
    for witness in IDS:
        await fill(cluster, witness, 20, witness)
    await cluster.equal()
    assert len(cluster.states[IDS[0]].data) == 60
    for node in cluster.nodes.values():
        syncs = Histogram.from_json(node.timing()["syncs"], "syncs")
        assert syncs.total >= 3, "each wrote entries, and measured how long that took"
        assert 0 < syncs.longest_ns < 60 * NS_PER_S


async def test_mutual_tls_carries_the_same(tmp_path: Path) -> None:
    made = Loopback(tmp_path / "data", tls=make_tls(CLUSTER, IDS))
    await made.start()
    await made.elected()
    for witness in IDS:
        await fill(made, witness, 5, witness)
    await made.equal()
    assert len(made.states[IDS[0]].data) == 15
    await made.stop()
    made.check()


async def test_a_certificate_of_another_witness_is_refused(tmp_path: Path) -> None:
    tls = make_tls(CLUSTER, IDS)
    made = Loopback(tmp_path / "data", tls={**tls, IDS[2]: tls[IDS[1]]})
    await made.start()
    await until(lambda: made.nodes[IDS[0]].status().has_quorum, "w1 and w2 agree")
    refused = "certificate names w2"  # before it, w3 may not have listened yet
    await until(lambda: refused in made.nodes[IDS[0]].peer_faults().get(IDS[2], ""), "w1 refuses w3")
    assert IDS[2] not in made.nodes[IDS[0]].status().connected
    await made.stop()
    made.check()


async def test_when_the_leader_stops_another_one_goes_on(cluster: Loopback) -> None:
    leader = await cluster.elected()
    await fill(cluster, leader, 10)
    await cluster.stop(leader)
    later = await cluster.elected()
    assert later != leader
    await fill(cluster, later, 10, "later")
    await cluster.start(leader)
    await cluster.elected()
    await cluster.equal()
    assert len(cluster.states[leader].data) == 20


async def test_a_restart_of_all_keeps_everything_acknowledged(cluster: Loopback) -> None:
    leader = await cluster.elected()
    await fill(cluster, leader, 30)
    await cluster.stop()
    await cluster.start()
    await cluster.elected()
    await cluster.equal()
    assert cluster.states[IDS[0]].data == [f"e{number}".encode() for number in range(30)]
    assert {entry.age_bound_ns for entry in cluster.states[IDS[0]].entries} == {None}


async def test_the_log_is_folded_and_a_restart_begins_with_the_snapshot(small: Loopback) -> None:
    leader = await small.elected()
    await fill(small, leader, 450)
    await small.equal()
    sizes = [len(node._node._journal) for node in small.nodes.values()]
    assert max(sizes) <= SMALL.entries_max + 2
    data = list(small.states[leader].data)
    await small.stop()
    await small.start()
    await small.elected()
    await small.equal()
    assert small.states[leader].data == data
    assert all(state.restores == 1 for state in small.states.values())


async def test_a_follower_that_is_far_behind_gets_the_snapshot_and_goes_on(small: Loopback) -> None:
    leader = await small.elected()
    absent = next(witness for witness in IDS if witness != leader)
    await fill(small, leader, 10)
    await small.stop(absent)
    await fill(small, leader, 450, "missed")
    await small.start(absent)
    await small.equal()
    assert small.states[absent].restores == 1
    await fill(small, absent, 30, "after")
    await small.equal()
    await small.stop()
    await small.start()
    await small.elected()
    await small.equal()
    assert len(small.states[absent].data) == 490


async def test_a_large_snapshot_goes_over_in_chunks(small: Loopback) -> None:
    leader = await small.elected()
    absent = next(witness for witness in IDS if witness != leader)
    await small.stop(absent)
    rng = random.Random(3)
    for _ in range(60):
        await small.committed(leader, rng.randbytes(200_000))
    await fill(small, leader, 250)
    await small.start(absent)
    await small.equal()
    assert small.states[absent].restores == 1
    assert sum(len(data) for data in small.states[absent].data) > 12_000_000


async def test_a_refused_snapshot_leaves_the_old_state_and_is_counted(small: Loopback) -> None:
    leader = await small.elected()
    absent = next(witness for witness in IDS if witness != leader)
    await fill(small, leader, 10)
    await small.stop(absent)
    await fill(small, leader, 450, "missed")
    await small.start(absent)
    small.states[absent].refuse_restore = True
    await until(lambda: small.nodes[absent].counters()["snapshots_refused"] > 0, "refused")
    assert len(small.states[absent].data) <= 10
    await fill(small, leader, 10, "meanwhile")
    small.states[absent].refuse_restore = False
    await small.equal()


async def test_a_damaged_snapshot_file_keeps_the_witness_from_starting(small: Loopback) -> None:
    leader = await small.elected()
    await fill(small, leader, 250)
    await small.stop()
    path = small.root / leader / SNAPSHOT_NAME
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreRefused, match=r"damaged.*must not vote"):
        await small.start(leader)
    small.stores[leader].close()
    path.unlink()
    with pytest.raises(StoreRefused, match=r"snapshot that covers"):
        await small.start(leader)
    small.stores[leader].close()


async def test_an_older_snapshot_put_back_keeps_the_witness_from_starting(small: Loopback) -> None:
    leader = await small.elected()
    path = small.root / leader / SNAPSHOT_NAME
    await fill(small, leader, 250)
    older = path.read_bytes()
    await fill(small, leader, 450, "later")
    await small.stop()
    path.write_bytes(older)
    with pytest.raises(StoreRefused, match=r"before the log begins"):
        await small.start(leader)
    small.stores[leader].close()


async def test_an_exception_in_apply_ends_the_process(cluster: Loopback) -> None:
    leader = await cluster.elected()
    for state in cluster.states.values():
        state.poison = b"poison"
    cluster.nodes[leader].propose(b"poison")
    await until(lambda: len(cluster.faults) >= 1, "fatal was called")
    assert not cluster.nodes[leader]._running
    await asyncio.wait_for(cluster.stop(), 10)
    assert {str(fault) for fault in cluster.faults} == {"poison"}
    cluster.faults.clear()


async def test_a_failed_disk_ends_the_process_and_nothing_is_acknowledged(cluster: Loopback) -> None:
    leader = await cluster.elected()
    cluster.stores[leader]._db.execute("PRAGMA query_only=1")
    cluster.nodes[leader].propose(b"lost")
    await until(lambda: len(cluster.faults) == 1, "fatal was called")
    assert cluster.states[leader].data == []
    cluster.faults.clear()


async def test_a_missing_store_is_not_made_by_a_start(cluster: Loopback) -> None:
    await cluster.elected()
    await cluster.stop()
    (cluster.root / IDS[0] / STORE_NAME).unlink()
    with pytest.raises(StoreRefused, match="missing"):
        await cluster.start(IDS[0])


def hello(to: WitnessId | None = None, cluster: ClusterId = CLUSTER, **changes: object) -> bytes:
    fields = {"peer": IDS[0], "disk": b"d" * 16, "learner": False, "position": Position(1 << 40, 1 << 30, 1, 1)}
    speaker = Speaker(**{**fields, "process": b"p" * 16, **changes})  # type: ignore[arg-type]  # wrong on purpose
    return frame(HELLO, pack_hello(Hello(cluster, to, speaker, NO_LINEAGE, 1)))


STRANGERS = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "giant": struct.pack(">IB", 1 << 31, RAFT),
    "not introduced": frame(RAFT, msgpack.packb({"type": "response_vote", "term": 1})),
    "no msgpack": frame(HELLO, b"\xc1"),
    "other cluster": hello(cluster=ClusterId("00" * 16)),
    "unknown witness": hello(peer=WitnessId("w9")),
    "looks for another": hello(to=IDS[1]),
    "other disk": hello(),
    "second process": hello(disk=None),
}


@pytest.mark.parametrize("name", STRANGERS)
async def test_strangers_are_closed_and_change_nothing(cluster: Loopback, name: str) -> None:
    await cluster.elected()
    before = {witness: node.status() for witness, node in cluster.nodes.items()}
    payload = STRANGERS[name] if name != "second process" else hello(disk=cluster.stores[IDS[0]].incarnation)
    reader, writer = await asyncio.open_connection(*cluster.address[IDS[2]])
    writer.write(payload)
    await asyncio.wait_for(reader.read(), 10)  # ends when the witness closes
    writer.close()
    await fill(cluster, IDS[2], 3)
    for witness, node in cluster.nodes.items():
        assert node.status().term == before[witness].term
        assert node.status().connected == before[witness].connected
    if name == "second process":
        assert cluster.nodes[IDS[2]].counters()["second_process"] == 1


async def test_one_node_alone_commits_by_itself(tmp_path: Path) -> None:
    made = Loopback(tmp_path, ids=(IDS[0],))
    await made.start()
    await made.elected()
    await fill(made, IDS[0], 20)
    assert made.nodes[IDS[0]].status().role is Role.LEADER
    await made.stop()
    made.check()


async def test_five_nodes_survive_two_failures(tmp_path: Path) -> None:
    ids = tuple(WitnessId(f"w{number}") for number in range(1, 6))
    made = Loopback(tmp_path, ids=ids)
    await made.start()
    leader = await made.elected()
    await fill(made, leader, 10)
    other = next(witness for witness in ids if witness != leader)
    await made.stop(leader, other)
    later = await made.elected()
    await fill(made, later, 10, "later")
    await made.start(leader, other)
    await made.equal()
    assert len(made.states[leader].data) == 20
    await made.stop()
    made.check()
