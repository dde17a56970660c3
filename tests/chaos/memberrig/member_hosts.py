"""Hosts of a run: a network namespace each, on one bridge, with cables that can be cut. Nothing of it has a name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Any

from agents.fencing import kernel_calls

NET = "10.77.0"


def _new_namespace() -> int:
    """A descriptor of it; it is gone when that is closed and nothing runs in it any more."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel_calls.unshare(kernel_calls.CLONE_NEWNET)
        made = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        kernel_calls.setns(before, kernel_calls.CLONE_NEWNET)
    finally:
        os.close(before)
    return made


class Hosts:
    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._hub = _new_namespace()
        self._spaces = {name: _new_namespace() for name in names}
        self._run(self._hub, "ip link add br0 type bridge")
        self._run(self._hub, "ip link set br0 up")
        for number, (name, space) in enumerate(self._spaces.items()):
            port = f"port{number}"
            self._run(self._hub, f"ip link add {port} type veth peer name eth0 netns /proc/self/fd/{space}", also=space)
            self._run(self._hub, f"ip link set {port} master br0 up")
            for words in (f"addr add {self.address(name)}/24 dev eth0", "link set eth0 up", "link set lo up"):
                self._run(space, f"ip {words}")

    def address(self, name: str) -> str:
        return f"{NET}.{self.names.index(name) + 1}"

    def command(self, name: str, *argv: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """The command line that runs there, and the descriptor that it needs."""
        space = self._spaces[name]
        return ("nsenter", f"--net=/proc/self/fd/{space}", *argv), (space,)

    def run(self, name: str, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command, fds = self.command(name, *argv)
        return subprocess.run(command, pass_fds=fds, text=True, capture_output=True, check=False, **options)

    def cut(self, one: str, other: str) -> None:
        """Nothing that either sends reaches the other; what runs on each notices nothing else."""
        self._run(self._spaces[one], f"ip route add blackhole {self.address(other)}/32")
        self._run(self._spaces[other], f"ip route add blackhole {self.address(one)}/32")

    def mend(self, one: str, other: str) -> None:
        self._run(self._spaces[one], f"ip route del blackhole {self.address(other)}/32")
        self._run(self._spaces[other], f"ip route del blackhole {self.address(one)}/32")

    def close(self) -> None:
        for space in (*self._spaces.values(), self._hub):
            os.close(space)

    @staticmethod
    def _run(space: int, command: str, *, also: int = -1) -> None:
        fds = (space,) if also < 0 else (space, also)
        words = ["nsenter", f"--net=/proc/self/fd/{space}", *command.split()]
        subprocess.run(words, pass_fds=fds, check=True, capture_output=True)
