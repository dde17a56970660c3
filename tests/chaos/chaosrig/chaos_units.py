"""Processes of the run's hosts, and who starts them again: what a service manager does for real ones.

A unit that ends is started again after RESTART_S, unless it is held down. A process belongs to its host from before
its first instruction: to its control group, its network, its clocks. Nothing here waits; `tend` is called by whoever
waits for something.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaosrig.chaos_cgroup import HostGroup
from chaosrig.chaos_edge import Edge
from chaosrig.chaos_net import Net

RESTART_S = 0.5
JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1"; shift; done; shift; exec "$@"'


@dataclass(slots=True)
class Host:
    name: str
    group: HostGroup
    edge: Edge


@dataclass(slots=True)
class Unit:
    """One service of one host."""

    name: str
    host: Host
    command: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    held: bool = False
    """Nobody starts it."""
    ended_at: float = 0.0
    exits: list[int] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """0 while it does not run."""
        return 0 if self.process is None or self.process.returncode is not None else self.process.pid

    def signal(self, number: int) -> None:
        if self.pid:
            os.kill(self.pid, number)


class Units:
    def __init__(self, net: Net, edge_library: Path | None) -> None:
        self.net = net
        self._library = edge_library
        self.all: dict[str, Unit] = {}
        self.helpers: list[subprocess.Popen[bytes]] = []

    def add(self, name: str, host: Host, command: Sequence[str], log: Path) -> Unit:
        unit = Unit(name, host, tuple(command), log)
        self.all[name] = unit
        return unit

    def forget(self, name: str) -> None:
        """Of a unit that was only for a while; it is dead afterwards."""
        unit = self.all.pop(name)
        self.kill(unit)

    def popen(
        self, host: Host, command: Sequence[str], output: int, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        enter, fd = self.net.enter(host.name)
        words = ["/bin/sh", "-c", JOIN, "join", *map(str, host.group.joins), "--", *enter, *command]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        if self._library is not None:
            environment |= {"LD_PRELOAD": str(self._library), "THIRDSITE_CHAOS_EDGE": str(host.edge.path)}
        return subprocess.Popen(
            words, stdin=stdin, stdout=output, stderr=subprocess.STDOUT, pass_fds=(fd,), env=environment,
            start_new_session=True,
        )  # fmt: skip

    def start(self, unit: Unit) -> None:
        """Lets it be started again, too."""
        unit.held = False
        if unit.pid:
            return
        unit.ended_at = 0.0
        with unit.log.open("ab") as log:
            unit.process = self.popen(unit.host, unit.command, log.fileno())

    def kill(self, unit: Unit) -> None:
        """SIGKILL; it stays down until it is started. What it left (a guard, a platform) lives on."""
        unit.held = True
        if unit.process is not None:
            unit.process.kill()
            unit.process.wait()

    def crash(self, unit: Unit) -> None:
        """SIGKILL; it is started again as a service manager does."""
        unit.signal(signal.SIGKILL)

    def tend(self) -> None:
        now = time.monotonic()
        for unit in self.all.values():
            process = unit.process
            if process is None:
                continue
            code = process.poll()
            if code is not None and unit.ended_at == 0.0:
                unit.ended_at = now
                unit.exits.append(code)
            if code is not None and not unit.held and now - unit.ended_at >= RESTART_S:
                unit.process = None
                self.start(unit)

    def end(self) -> None:
        for unit in list(self.all.values()):
            self.kill(unit)
        for helper in self.helpers:
            helper.kill()
            helper.wait()
