"""Failpoints: the table resolves, nothing is replaced while off, each acts at its count, bad orders are refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from proto.errors import BadValue, DurabilityLost
from proto.units import ClusterId, WitnessId
from witness.raft import failpoints
from witness.raft.failpoints import ACTIONS, POINTS, Order, install, read_order
from witness.raft.journal import Journal
from witness.raft.store import create_store, open_store

CLUSTER, ME = ClusterId("ab" * 16), WitnessId("w1")


@pytest.fixture
def store(tmp_path):
    create_store(tmp_path, CLUSTER, ME)
    made = open_store(tmp_path, CLUSTER, ME)
    yield made
    made.close()


@pytest.mark.parametrize("name", POINTS)
def test_every_name_stands_for_a_call_that_exists(name):
    point = POINTS[name]
    assert callable(vars(point.owner)[point.attribute])


def test_nothing_is_replaced_while_nothing_is_armed():
    assert list(failpoints.armed()) == []
    for point in POINTS.values():
        found = vars(point.owner)[point.attribute]
        assert getattr(found, "__module__", "") != failpoints.__name__, f"{point.attribute} is replaced"


def test_a_witness_without_the_variable_does_not_even_load_this_module():
    code = "import sys, witness.runtime.supervisor; sys.exit('witness.raft.failpoints' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


@pytest.mark.parametrize("name", POINTS)
def test_arming_replaces_one_call_and_removing_puts_it_back(name):
    point = POINTS[name]
    original = vars(point.owner)[point.attribute]
    remove = install(Order(name, 1, "kill"))
    try:
        assert vars(point.owner)[point.attribute] is not original
        assert list(failpoints.armed()) == [name]
    finally:
        remove()
    assert vars(point.owner)[point.attribute] is original
    assert list(failpoints.armed()) == []


def test_a_point_is_reached_once_at_its_count(store):
    hits = []
    remove = install(Order("journal-commit-before", 2, "kill"), lambda: hits.append(store.get_meta("mark")))
    for number in range(4):
        store.put_meta("mark", b"%d" % number)
        store.commit()
    remove()
    assert hits == [b"1"]


def test_a_failing_disk_ends_the_process_and_nothing_is_kept_half(tmp_path):
    """D3 at the seam: one call fails, the next would succeed, and the store is never used again."""
    for at, action in enumerate(("eio", "enospc")):
        create_store(tmp_path / action, CLUSTER, ME)
        store = open_store(tmp_path / action, CLUSTER, ME)
        journal = Journal(store, tail_entries=0)
        journal.add(b"\x01", 1, 0)
        journal.commit()
        remove = install(read_order(f"journal-commit-before:1:{action}"))
        journal.add(b"\x00lost", 2, 0)
        with pytest.raises(DurabilityLost, match="a failpoint"):
            journal.commit()
        remove()
        with pytest.raises(DurabilityLost):
            journal.commit()
        store.close()
        again = open_store(tmp_path / action, CLUSTER, ME)
        assert [entry[1] for entry in again.read_entries()] == [1], at
        again.close()


def test_the_action_by_default_is_sigkill():
    code = (
        "from witness.raft import failpoints as f; from witness.raft.node import RaftNode\n"
        "f.install(f.read_order('effects-before')); RaftNode.finish(None)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=30, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nowhere:1", "no failpoint is named 'nowhere'; choose one of journal-begin-before, "),
        ("vote-after:0", "the count must be 1 to 1000000"),
        ("vote-after:x:kill", "the count must be 1 to 1000000"),
        ("vote-after:1:explode", "no action is named 'explode'; choose one of kill, stop, eio, enospc"),
    ],
)
def test_a_wrong_order_is_refused_with_what_there_is(text, says):
    with pytest.raises(BadValue, match="THIRDSITE_FAILPOINT") as refused:
        read_order(text)
    assert says in str(refused.value)


def test_an_order_has_defaults():
    assert read_order("vote-after") == Order("vote-after", 1, "kill")
    assert read_order("vote-after:7") == Order("vote-after", 7, "kill")
    assert read_order("vote-after:7:stop") == Order("vote-after", 7, "stop")
    assert set(ACTIONS) == {"kill", "stop", "eio", "enospc"}
