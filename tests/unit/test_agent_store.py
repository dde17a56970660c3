"""The agent's store: one id for ever, bounds that never go back, one agent at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.store import LOCK_NAME, STORE_ID_NAME, AgentRunsAlready, open_store
from proto.errors import LocalFault
from proto.invariants import InvariantViolation
from proto.units import Epoch, GroupId

G, H = GroupId("g"), GroupId("h")


def test_the_id_is_drawn_once(tmp_path: Path) -> None:
    first = open_store(tmp_path / "a", tmp_path / "r", [G])
    first.close()
    again = open_store(tmp_path / "a", tmp_path / "r", [G])
    again.close()
    other = open_store(tmp_path / "b", tmp_path / "r", [G])
    other.close()
    assert first.store_id == again.store_id
    assert first.store_id != other.store_id
    assert len(first.store_id) == 16


def test_bounds_outlive_the_process_and_never_go_back(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a", tmp_path / "r", [G, H])
    assert store.bounds() == {G: (0, 0), H: (0, 0)}
    store.store_bounds(G, Epoch(7), Epoch(6))
    with pytest.raises(InvariantViolation):
        store.store_bounds(G, Epoch(5), Epoch(5))
    store.close()
    again = open_store(tmp_path / "a", tmp_path / "r", [G, H])
    assert again.bounds() == {G: (7, 6), H: (0, 0)}
    again.close()


@pytest.mark.parametrize("shared", ["state", "runtime"])
def test_a_second_agent_is_refused_with_the_first_ones_pid(tmp_path: Path, shared: str) -> None:
    store = open_store(tmp_path / "state", tmp_path / "runtime", [G])
    state = tmp_path / ("state" if shared == "state" else "state2")
    runtime = tmp_path / ("runtime" if shared == "runtime" else "runtime2")
    with pytest.raises(AgentRunsAlready, match=f"pid {os.getpid()}"):
        open_store(state, runtime, [G])
    store.close()
    open_store(state, runtime, [G]).close()


def test_damage_is_told_and_never_repaired(tmp_path: Path) -> None:
    open_store(tmp_path / "a", tmp_path / "r", [G]).close()
    (tmp_path / "a" / STORE_ID_NAME).write_text("cafe\n")
    with pytest.raises(LocalFault, match="is damaged"):
        open_store(tmp_path / "a", tmp_path / "r", [G])
    (tmp_path / "a" / STORE_ID_NAME).unlink()
    (tmp_path / "a" / "g.epoch").write_text("{")
    with pytest.raises(LocalFault, match="stays inactive"):
        open_store(tmp_path / "a", tmp_path / "r", [G])


def test_a_refused_start_keeps_no_lock(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "g.epoch").write_text("{")
    with pytest.raises(LocalFault):
        open_store(tmp_path / "a", tmp_path / "r", [G])
    (tmp_path / "a" / "g.epoch").unlink()
    open_store(tmp_path / "a", tmp_path / "r", [G]).close()
    assert (tmp_path / "a" / LOCK_NAME).exists()
