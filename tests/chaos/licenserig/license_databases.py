"""The two sites' MariaDB servers, each on its host, and how a former primary becomes a replica again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from chaosrig.chaos_ground import Missing
from chaosrig.chaos_units import Host, Units
from licenserig.license_layout import DATABASE
from maria_rig import WAIT_S, MariaServer

OF_A_REPLICA = ("master.info", "multi-master.info", "relay-log*", "*relay-bin*", "*.err", "*.pid")


class SiteServer(MariaServer):
    """On a host of the run, as the databases' own user."""

    def __init__(self, directory: Path, number: int, host: Host, units: Units, other: str) -> None:
        self.host, self.units = host, units
        self.address, self.other_address = units.net.address(host.name), units.net.address(other)
        super().__init__(directory, number, DATABASE, DATABASE)

    def launched(self, command: list[str], out: IO[bytes]) -> subprocess.Popen[bytes]:
        return self.units.popen(self.host, [*command, "--user=mysql"], out.fileno())

    def db(self, name: str, epoch: int = 0, said: str = "") -> tuple[int, str]:
        with self.units.net.inside(self.host.name):  # what is started now lives there
            return super().db(name, epoch, said)

    def seed_from(self, source: MariaServer) -> None:
        """As an operator does with a snapshot: this one has parted, and begins anew from the one that is active."""
        self.kill()
        shutil.rmtree(self.directory / "data")
        with _standing_still(source):
            subprocess.run(["cp", "-a", source.directory / "data", self.directory / "data"], check=True)
        for pattern in OF_A_REPLICA:
            for path in (self.directory / "data").glob(pattern):
                path.unlink()
        self.start()

    def rejoin(self, active: MariaServer) -> bool:
        """Follows the active one again; whether it had to be seeded anew, because it had parted. Raises Missing."""
        code, said = self.db("follow")
        if code == 0:
            return False
        if "seed it anew" not in said:
            raise Missing(f"{self.host.name}: follow: {said}")
        self.seed_from(active)
        code, said = self.db("follow")
        if code != 0:
            raise Missing(f"{self.host.name}: follow after it was seeded anew: {said}")
        return True

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


@contextlib.contextmanager
def _standing_still(server: MariaServer) -> Iterator[None]:
    """What is on the disk is a state that the server recovers from, as a snapshot of a volume is."""
    assert server.process is not None
    pid = server.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        _until_stopped(pid)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _until_stopped(pid: int) -> None:
    """All of its threads."""
    ends = time.monotonic() + WAIT_S
    while any(_state(task) not in "TtZX" for task in Path(f"/proc/{pid}/task").iterdir()):
        if time.monotonic() > ends:
            raise Missing(f"the server {pid} does not stand still")
        time.sleep(0.01)


def _state(task: Path) -> str:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
