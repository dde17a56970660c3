"""Making, sending and installing snapshots: D-9, D-12, D-27, D-38 to D-40."""

from __future__ import annotations

import gzip
import os
import pickle
import random
from typing import Any

import pytest
from plain_node import PlainSettings, State
from review_cluster import Cluster, Make, Message, judge

from witness.raft import outbox, snapshot_transfer


def _behind(cluster: Cluster, count: int = 8) -> None:
    """a leads; c lacks what a has folded into a snapshot."""
    cluster.begin("a")
    cluster.commit("a", b"early")
    cluster.isolate("c")
    cluster.commit("a", *(b"%d" % number for number in range(count)), among="ab")
    cluster.compact("a")


def _damage(_sender: str, to: str, message: Message) -> Message:
    chunk = message.get("serialized")
    if to == "c" and chunk is not None and chunk[0]:
        data = bytearray(chunk[0])
        data[len(data) // 2] ^= 1
        message["serialized"] = (bytes(data), *chunk[1:])
    return message


class Slow(State):
    """A state whose pickling takes as long as the test wants: the process that writes a dump waits for a word."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.gate: Gate | None = None


class Gate:
    """Pickled only when the pipe's other end is closed."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def __reduce__(self) -> Any:
        os.close(self._write)
        os.read(self._read, 1)
        return bytes, ()

    def open(self) -> None:
        os.close(self._write)
        os.close(self._read)


def test_d09_a_damaged_snapshot_is_refused_before_anything_is_touched(make: Make) -> None:
    """One bit is another when the snapshot reaches c."""
    cluster = make()
    _behind(cluster)
    cluster.tamper = _damage
    before = len(cluster.sent)
    cluster.heal("c")
    cluster.step(1.0)
    acks = [m for one, _, m in cluster.sent[before:] if one == "c" and m["type"] == "next_node_idx" and m["success"]]
    if cluster.name == "ours":
        assert cluster.nodes["c"].node.transfer.refused > 0
        assert cluster.nodes["c"].data == [b"early"]
        cluster.tamper = None
        cluster.until(lambda: b"7" in cluster.nodes["c"].data, "the next one is good", within_s=5)
        judge(cluster, acks != [], "")
        return
    with pytest.raises((OSError, EOFError, pickle.UnpicklingError, Exception)):
        pickle.loads(gzip.decompress(cluster.files["c"].dump.read_bytes()))
    judge(cluster, acks != [], "acknowledges a snapshot that it could not read, and keeps its ruins")


def test_d12_a_snapshot_that_is_not_ready_costs_no_storm(make: Make) -> None:
    """c needs a snapshot while the leader has one in the making."""
    cluster = make(settings=PlainSettings(fork=True))
    cluster.state = Slow
    _behind(cluster)
    cluster.commit("a", b"more", among="ab")
    gate = Gate()
    if cluster.name == "plain":
        cluster.nodes["a"].engine.gate = gate
    cluster.nodes["a"].compact()
    cluster.turn("a")
    cluster.heal("c")
    most = 0
    for _ in range(12):
        before = len(cluster.sent)
        cluster.step()
        most = max(most, sum(one == "a" for one, _, _ in cluster.sent[before:]))
    gate.open()
    judge(cluster, most > 1_000, "sends thousands of messages in one tick")


def test_d27_a_hung_dump_stops_all_snapshots(plain: Make) -> None:
    """The forked child hangs: no later snapshot is made, none is sent, and nobody says so. Ours forks nothing."""
    cluster = plain(settings=PlainSettings(fork=True, compaction_entries=10))
    cluster.state = Slow
    cluster.begin("a")
    gate = cluster.nodes["a"].engine.gate = Gate()
    cluster.commit("a", *(b"%d" % number for number in range(20)))
    cluster.step(60.0)
    child = cluster.nodes["a"].dump_child
    try:
        assert child > 0
        assert cluster.nodes["a"].log[0][0] == 1
        assert not cluster.files["a"].dump.exists()
    finally:
        gate.open()
        os.waitpid(child, 0)


def test_d27_our_snapshots_fork_nothing(ours: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def forks() -> int:
        raise AssertionError("a snapshot forked")

    monkeypatch.setattr(os, "fork", forks)
    cluster = ours()
    cluster.begin("a")
    cluster.commit("a", b"1", b"2")
    cluster.compact("a")
    assert cluster.nodes["a"].log[0][0] > 1


def test_d38_a_slow_dump_never_replaces_a_newer_snapshot(plain: Make) -> None:
    """c's child still writes when the leader's newer snapshot is installed. Its older dump then takes the name.

    Ours writes a snapshot within the turn, before it reads the next message: there is no such window.
    """
    cluster = plain(settings=PlainSettings(fork=True))
    cluster.state = Slow
    cluster.begin("a")
    cluster.commit("a", b"old1", b"old2")
    gate = cluster.nodes["c"].engine.gate = Gate()
    cluster.nodes["c"].compact()
    cluster.turn("c")
    child = cluster.nodes["c"].dump_child
    assert child > 0
    cluster.isolate("c")
    cluster.commit("a", *(b"%d" % number for number in range(8)), among="ab")
    cluster.compact("a")
    cluster.heal("c")
    cluster.until(lambda: b"7" in cluster.nodes["c"].data, "c has the newer snapshot")
    acknowledged = cluster.last("c")
    gate.open()
    cluster.snapshot_done("c")
    cluster.until(lambda: cluster.nodes["c"].dump_child == 0, "the child has ended")
    cluster.crash("c")
    cluster.start("c")
    cluster.isolate("c")
    cluster.turn("c")
    assert cluster.last("c") < acknowledged


def test_d38_our_snapshot_is_never_older_than_the_one_before(ours: Make) -> None:
    cluster = ours()
    _behind(cluster)
    cluster.nodes["c"].compact()
    cluster.heal("c")
    cluster.until(lambda: b"7" in cluster.nodes["c"].data, "c has the newer snapshot")
    acknowledged = cluster.last("c")
    cluster.crash("c")
    cluster.start("c")
    assert cluster.last("c") >= acknowledged
    assert cluster.nodes["c"].data[-1] == b"7"


def _chunks_take_time(cluster: Cluster) -> None:
    """So that the library's tick has room for a few of them; ours asks the connection what it still holds."""

    def take(_sender: str, _to: str, message: Message) -> Message:
        if cluster.name == "plain" and "serialized" in message:
            cluster.clock.now_s += 0.03
        return message

    cluster.tamper = take


def test_d39_a_transfer_starts_anew_with_its_connection(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks in the middle of a snapshot and is back before the leader sends again."""
    monkeypatch.setattr(snapshot_transfer, "CHUNK_BYTES_MAX", 100)
    cluster = make(settings=PlainSettings(dump_batch_bytes=100))
    cluster.begin("a")
    cluster.commit("a", b"early", b"on")
    cluster.compact("c")
    cluster.isolate("c")
    noise = random.Random(1)
    cluster.commit("a", *(noise.randbytes(20) for _ in range(120)), among="ab")
    cluster.compact("a")
    _chunks_take_time(cluster)
    cluster.heal("c")
    wire = cluster.wires["a", "c"]

    def second_part() -> bool:
        chunks = [m["serialized"] for m in wire if m.get("serialized")]
        return bool(chunks) and not any(chunk[1] for chunk in chunks)

    cluster.until(second_part, "its second part is under way")
    before = len(cluster.sent)
    cluster.unlink("a", "c")
    cluster.link("a", "c")
    cluster.until(
        lambda: any(
            one == "c" and m["type"] == "next_node_idx" and m["success"] for one, _, m in cluster.sent[before:]
        ),
        "c says that it has it",
    )
    if cluster.name == "ours":
        assert cluster.nodes["c"].node.transfer.refused == 0  # nothing of the old connection was put together
        later = [m["serialized"] for one, to, m in cluster.sent[before:] if to == "c" and m.get("serialized")]
        assert later[0][1]  # the first chunk, not the next one
    cluster.crash("c")
    cluster.start("c")
    cluster.isolate("c")
    cluster.turn("c")
    judge(cluster, cluster.nodes["c"].data == [], "puts a snapshot with a hole over its good one")


def test_d40_a_new_snapshot_starts_no_transfer_anew(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to c takes a few chunks at a time; meanwhile the leader folds its log again and again."""
    monkeypatch.setattr(snapshot_transfer, "CHUNK_BYTES_MAX", 100)
    monkeypatch.setattr(outbox, "PEER_QUEUE_BYTES_HIGH", 600)
    cluster = make(settings=PlainSettings(dump_batch_bytes=100))
    cluster.begin("a")
    cluster.isolate("c")
    noise = random.Random(1)
    cluster.commit("a", *(noise.randbytes(200) for _ in range(99)), b"99", among="ab")
    cluster.compact("a")
    _chunks_take_time(cluster)
    cluster.heal("c")
    done = False
    for number in range(40):
        cluster.nodes["a"].propose(b"more%d" % number)
        cluster.nodes["a"].compact()
        cluster.step(0.1)
        done = done or b"99" in cluster.nodes["c"].data
    judge(cluster, not done, "never gets a snapshot to the end")
