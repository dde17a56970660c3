"""Doors that stay shut: what settings, strangers and other parts of the library could do: D-21, D-29 to D-31, D-51 on.

Where a finding is about a way to use the library, the test shows it on the library, and on ours that there is no way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import plain_library as library
import pytest
from plain_node import PlainSettings, State
from raft_cluster import Loopback
from review_cluster import FIVE, Make, judge

from proto.errors import FrameRefused
from witness.raft.engine_parts import engine_settings
from witness.raft.messages import check_command, check_message
from witness.raft.timers import CompactionLimits, RaftTimers

ROOT = Path(__file__).parents[2]
_fired: list[str] = []


def _fire() -> None:
    _fired.append("fired")


class Gadget:
    def __reduce__(self) -> Any:
        return _fire, ()


def _frame(value: object) -> bytes:
    """As the library's connections frame a message."""
    packed = zlib.compress(pickle.dumps(value), 3)
    return struct.pack("i", len(packed)) + packed


def test_d21_a_stranger_is_served_by_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody who can connect gets the status, may remove members, and has what he sends unpickled."""
    _fired.clear()
    conf = library.config.SyncObjConf(autoTick=False, bindAddress="127.0.0.1:0", dynamicMembershipChange=True)
    engine = library.syncobj.SyncObj("127.0.0.1:1", ["127.0.0.1:2"], conf)
    address = engine._SyncObj__transport._server._TcpServer__socket.getsockname()
    with socket.create_connection(address, timeout=10) as stranger:
        stranger.sendall(_frame(["status"]) + _frame(Gadget()))
        stranger.setblocking(False)
        said = b""
        for _ in range(200):
            with library.importable():
                engine.doTick(0.01)
            with contextlib.suppress(BlockingIOError):
                said += stranger.recv(65536)
            if _fired:
                break
    engine.destroy()
    assert b"raft_term" in zlib.decompress(said[4:])
    assert _fired == ["fired"]


async def test_d21_a_stranger_is_shown_the_door_by_ours(tmp_path: Path) -> None:
    _fired.clear()
    cluster = Loopback(tmp_path)
    await cluster.start()
    reader, writer = await asyncio.open_connection(*cluster.address[cluster.ids[0]])
    writer.write(_frame(["status"]) + _frame(Gadget()))
    heard = b""
    while part := await asyncio.wait_for(reader.read(65536), 20):
        heard += part
    writer.close()
    await cluster.stop()
    assert b"raft_term" not in heard
    assert _fired == []


ORDER = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from our_body import OurCluster
from plain_body import PlainCluster
for cluster in (PlainCluster(Path("files"), {ids}), OurCluster({ids})):
    cluster.begin("a")
    print([to for sender, to, message in cluster.sent if sender == "a" and message["type"] == "request_vote"])
"""


def test_d29_the_order_of_peers_is_the_same_in_every_process(tmp_path: Path) -> None:
    """A seed would else replay another schedule in the next process."""
    paths = [str(ROOT / "tests" / name) for name in ("raft_plain", "raft_review")] + [str(ROOT)]
    script = ORDER.format(paths=paths, ids=FIVE)
    plain, ours = set(), set()
    for seed in range(3):
        (here := tmp_path / str(seed)).mkdir()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            cwd=here,
            check=True,
            capture_output=True,
            text=True,
        )
        of_plain, of_ours = done.stdout.splitlines()
        plain.add(of_plain)
        ours.add(of_ours)
    assert len(plain) > 1
    assert len(ours) == 1


def test_d30_the_librarys_lock_trusts_its_clients_clocks() -> None:
    """A holds the lock by its own clock; B's clock is a minute ahead. No part of the project imports that module."""
    lock = library.batteries._ReplLockManagerImpl(autoUnlockTime=10)
    assert lock.acquire("lock", "A", 1_000, _doApply=True)
    assert lock.acquire("lock", "B", 1_061, _doApply=True)
    assert lock.isAcquired("lock", "B", 1_061)
    shipped = [path for folder in ("witness", "proto", "agents") for path in (ROOT / folder).rglob("*.py")]
    assert shipped
    assert not [path for path in shipped if "batteries" in path.read_text(encoding="utf-8")]


def test_d31_a_dump_overrules_the_configured_members(plain: Make) -> None:
    """With dynamic membership, a restart with another list of members is overruled by the dump."""
    cluster = plain(settings=PlainSettings(membership=True))
    cluster.begin("a")
    cluster.commit("a", b"1", b"2")
    cluster.compact("a")
    cluster.crash("a")
    cluster.ids = ("a", "b")
    cluster.nodes["a"] = cluster.open("a")
    node = cluster.nodes["a"].engine
    assert {peer.id for peer in node.otherNodes} == {"b"}
    cluster.turn("a")
    assert {peer.id for peer in node.otherNodes} == {"b", "c"}


def test_d31_our_members_are_the_configured_ones() -> None:
    settings = engine_settings(RaftTimers(), CompactionLimits(), None)  # type: ignore[arg-type]  # not used here
    assert settings.dynamicMembershipChange is False
    with pytest.raises(FrameRefused):
        check_command(b"\x02" + pickle.dumps(["add", "x", "x"]))


def test_d51_a_connection_is_no_majority(make: Make) -> None:
    """The leader's connections stand, and nothing comes through them any more."""
    cluster = make()
    cluster.begin("a")
    cluster.cut |= {wire for wire in cluster.wires if "a" in wire}
    cluster.step(5.0)
    node = cluster.nodes["a"]
    says = node.engine.hasQuorum if cluster.name == "plain" else node.node.status().has_quorum
    judge(cluster, bool(says), "claims a majority because its connections are open")


class Versioned(State):
    @library.syncobj.replicated(ver=1)
    def put(self, data: bytes) -> None:
        self.data.append(b"new " + data)


def test_d52_a_code_version_is_forgotten_with_a_snapshot(plain: Make) -> None:
    """After a restart from a dump the node says version 1 and proposes the methods of version 0."""
    cluster = plain()
    cluster.state = Versioned
    cluster.begin("a")
    cluster.nodes["a"].engine.setCodeVersion(1)
    cluster.step(1.0)
    assert cluster.nodes["a"].engine._getFuncName("put") == "put_v1"
    cluster.commit("a")
    cluster.nodes["a"].propose(b"x")
    cluster.until(lambda: cluster.nodes["a"].data == [b"new x"], "applied by the new code")
    cluster.compact("a")
    cluster.crash("a")
    cluster.start("a")
    cluster.turn("a")
    engine = cluster.nodes["a"].engine
    assert engine.getCodeVersion() == 1
    assert engine._getFuncName("put") == "put_v0"


def test_d52_our_log_knows_no_versions_of_the_library() -> None:
    with pytest.raises(FrameRefused):
        check_command(b"\x03" + pickle.dumps(1))


def test_d53_what_was_not_read_of_an_old_connection_is_void(make: Make) -> None:
    """A proposal is applied as often as it arrives, on both: so nothing of an old connection may arrive.

    TLS keeps a connection's bytes from being doubled; what is left of it when it ends is dropped.
    """
    cluster = make()
    cluster.begin("a")
    cluster.nodes["b"].propose(b"x")
    cluster.turn("b")
    proposal = cluster.seen("b", "a", "apply_command")[-1]
    cluster.hand("b", "a", proposal)
    cluster.unlink("a", "b")
    cluster.link("a", "b")
    cluster.nodes["b"].propose(b"x")
    cluster.step(2.0)
    judge(cluster, cluster.nodes["a"].data == [b"x", b"x"], "takes what came over a connection that is gone")
    if cluster.name == "ours":
        with pytest.raises(FrameRefused):
            check_message({**proposal, "request_id": 1})
