"""The two turns of an upgrade (agents/runtime/turn.py): who may take over when, and what a dead one leaves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agents.runtime import upgrade
from agents.runtime.turn import GO, READY, Turn, have_turn
from agents.runtime.upgrade import stand_by
from proto.errors import LocalFault


def pair(stand_in: int | None = None) -> tuple[Turn, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    return Turn(ours.detach(), stand_in), theirs


def test_nobody_has_its_turn_before_the_other_one_let_go() -> None:
    turn, holder = pair()
    had: list[bool] = []
    waiting = threading.Thread(target=lambda: had.append(have_turn(turn)))
    waiting.start()
    assert holder.recv(1) == READY
    assert had == []
    holder.send(GO)
    waiting.join(10)
    assert had == [True]
    holder.close()
    turn.close()


@pytest.mark.parametrize("said", [b"", b"x"])
def test_a_stand_in_that_did_not_hear_go_has_nothing(said: bytes) -> None:
    turn, holder = pair()
    holder.send(said)
    holder.close()
    assert not have_turn(turn)
    turn.close()


def test_a_holder_that_is_silent_is_not_waited_for_without_end() -> None:
    turn, holder = pair()
    assert not turn.take(0.01)
    turn.close()
    holder.close()


def test_a_parent_whose_stand_in_did_not_let_go_ends_it_first_and_goes_on() -> None:
    words = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    turn, stand_in = pair(child.pid)
    stand_in.close()
    try:
        assert have_turn(turn)
        assert not Path(f"/proc/{child.pid}").exists(), "it was ended, and reaped"
    finally:
        child.kill()
        child.wait()


def test_a_turn_passes_through_a_command_line() -> None:
    turn, holder = pair(os.getpid())
    again = Turn.parse(f"{os.dup(turn.fileno())}:{turn.words().partition(':')[2]}")
    turn.close()
    holder.send(READY)
    assert again.asked()
    assert not again.asked()
    assert again.stand_in == os.getpid()
    assert again.give()
    assert holder.recv(1) == GO
    holder.close()
    assert not again.give()
    again.close()


def script(tmp_path: Path, body: str) -> str:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("body", "why"), [("exit 3", r"it ended.*exit code"), ("exec sleep 600", "it was not ready within")]
)
async def test_a_program_that_does_not_come_up_is_refused_and_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, why: str
) -> None:
    monkeypatch.setattr(sys, "executable", script(tmp_path, body))
    monkeypatch.setattr(upgrade, "PREPARE_S", 20.0 if body.startswith("exit") else 0.2)
    settings_fd = os.memfd_create("settings", 0)
    with pytest.raises(LocalFault, match=f"did not come up: {why}"):
        await stand_by(Path("agent.yaml"), settings_fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(settings_fd)
