"""What a guard does when the kernel refuses, is late or tells half: never "proven", and never its own end."""

from __future__ import annotations

import errno
import os
import signal
import struct
from pathlib import Path

import pytest

from agents.actions.guard_setup import OutsideEnded
from agents.fencing import cgroup, netlink
from agents.fencing.authority import Rungs
from agents.fencing.cgroup import Cgroup
from agents.fencing.guard_options import GuardOptions
from agents.fencing.keeper_link import KeeperLink
from agents.fencing.ladder import WATCHDOG, Ladder
from agents.fencing.memory_resources import Grain, MemoryResource
from agents.fencing.netlink import DONE, INTERRUPTED, Netlink, Request

ENTRY = 20


class Answers:
    """A socket that answers each request with the next of its lists: kind, flags and payload of each message."""

    def __init__(self, *answers: list[tuple[int, int, bytes]]) -> None:
        self._answers = list(answers)
        self._sequence = 0

    def send(self, data: bytes) -> None:
        self._sequence = netlink.HEADER.unpack_from(data)[3]

    def recv(self, _size: int) -> bytes:
        return b"".join(
            netlink.HEADER.pack(netlink.HEADER.size + len(payload), kind, flags, self._sequence, 0) + payload
            for kind, flags, payload in self._answers.pop(0)
        )


def asking(*answers: list[tuple[int, int, bytes]]) -> Netlink:
    link = Netlink.__new__(Netlink)
    link._sequence = 0
    link._sock = Answers(*answers)
    return link


def number(value: int) -> bytes:
    return struct.pack("=i", value)


def test_a_list_that_changed_while_it_was_read_is_read_again() -> None:
    half = [(ENTRY, INTERRUPTED, b"one."), (DONE, INTERRUPTED, number(0))]
    whole = [(ENTRY, 0, b"one."), (ENTRY, 0, b"two."), (DONE, 0, number(0))]
    assert asking(half, whole).dump(Request("looking", 1, 0, b"")) == [b"one.", b"two."]


def test_a_list_that_never_holds_still_is_not_known() -> None:
    half = [(DONE, INTERRUPTED, number(0))]
    with pytest.raises(OSError, match="looking: it changed during each"):
        asking(*[half] * netlink.DUMP_TRIES).dump(Request("looking", 1, 0, b""))


def test_the_end_of_a_list_may_tell_that_it_is_not_whole() -> None:
    with pytest.raises(FileNotFoundError, match="looking"):
        asking([(ENTRY, 0, b"one."), (DONE, 0, number(-errno.ENOENT))]).dump(Request("looking", 1, 0, b""))


def refuse(*_arguments: object) -> int:
    raise BlockingIOError(errno.EAGAIN, "no more processes")


def test_a_keeper_that_cannot_be_forked_costs_its_resources_and_no_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = KeeperLink([MemoryResource(lambda: 0, Grain.SECONDS)])
    monkeypatch.setattr(os, "fork", refuse)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert link.prepare() == ["simulated, seconds: its keeper cannot be started: no more processes"]
    link.extend(1, 2, 3)
    assert link.troubles() == ["simulated, seconds: its keeper cannot be started: no more processes"]
    link.close()
    link.finish()
    assert (link.closed, link.finished, link.pid) == (False, False, 0)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_keeper_that_is_gone_already_is_not_killed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    assert not KeeperLink([]).read()
    assert killed == []  # a kill of pid 0 would be one of the guard's own group


def test_a_keeper_lost_while_the_first_deadline_waits_for_it_is_watched_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched: set[int] = set()
    options = GuardOptions(f'{{"watchdog": "/nowhere/watchdog", "required": ["{WATCHDOG}"]}}')
    ladder = Ladder(options, "shop")
    ladder.before_namespace(lambda fd, _handler: watched.add(fd), watched.discard)
    keeper = ladder.keeper
    assert keeper is not None
    assert watched == {keeper.event_fd}
    os.kill(keeper.pid, signal.SIGKILL)
    assert ladder.renewed(Rungs(1, 1, 2, 3)).endswith("its keeper does not answer")
    assert (watched, keeper.lost) == (set(), 1)


class Unreadable(Cgroup):
    def populated(self) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_control_group_that_cannot_be_looked_at_is_not_proven_empty() -> None:
    ladder = Ladder()
    ladder._outside = [Unreadable("/nowhere")]
    assert not ladder.settled()
    assert [(name, found) for name, _at, found in ladder.climbed] == [("outside", "Permission denied")]


def test_a_control_group_that_goes_while_it_is_read_has_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_arguments: object, **_keywords: object) -> object:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr("builtins.open", gone)
    assert not Cgroup("/sys/fs/cgroup/unit").populated()


class Hierarchy:
    """A directory with the files of a control group; `kill` empties it when it obeys."""

    def __init__(self, path: Path, *, populated: bool) -> None:
        self.path = path / "unit.service"
        self.path.mkdir()
        for name, text in (
            ("cgroup.events", f"populated {int(populated)}\n"),
            ("cgroup.freeze", ""),
            ("cgroup.kill", ""),
        ):
            (self.path / name).write_text(text)

    def text(self, name: str) -> str:
        return (self.path / f"cgroup.{name}").read_text()


@pytest.mark.parametrize("populated", [False, True])
async def test_down_is_proven_only_when_the_units_outside_are_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, populated: bool
) -> None:
    unit = Hierarchy(tmp_path, populated=populated)
    monkeypatch.setattr(cgroup, "mount_point", lambda: str(tmp_path))
    words = await OutsideEnded(("unit.service", "never/was.service")).still_up()
    assert words == ("unit.service: a process in it is alive" if populated else "")
    assert (unit.text("kill"), unit.text("freeze")) == (("1", "1") if populated else ("", "0"))
