"""A MariaDB of the test's own, on a socket in its directory, with the table of a license."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_S = 60.0
SERVER, CLIENT = shutil.which("mariadbd"), shutil.which("mariadb")
needs_mariadb = pytest.mark.skipif(SERVER is None or CLIENT is None, reason="no mariadbd on this machine")
NAMES = ("--no-defaults", "--skip-networking", "--skip-grant-tables", "--innodb-buffer-pool-size=8M")
SCHEMA = (
    "CREATE DATABASE google; USE google;"
    "CREATE TABLE variables (var VARCHAR(64) PRIMARY KEY, value VARCHAR(4000)) ENGINE=InnoDB CHARSET=utf8mb4;"
    "INSERT INTO variables VALUES ('fingerprint', 'KEY-0'), ('other', 'x');"
)


class MariaDb:
    def __init__(self, root: Path) -> None:
        self.socket = root / "m.sock"
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(SERVER), *NAMES, f"--datadir={self._root}/data", f"--socket={self.socket}", "--user=root"]
        log = (self._root / "log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        ends = time.monotonic() + START_S
        while time.monotonic() < ends:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.run("SELECT 1")
                return
            assert self._process.poll() is None, (self._root / "log").read_text()
            time.sleep(0.05)
        raise AssertionError((self._root / "log").read_text())

    def run(self, statement: str) -> str:
        command = [str(CLIENT), "--no-defaults", "-S", str(self.socket), "-u", "root", "-N", "-B", "-e", statement]
        return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout.decode().strip()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait(30)


@contextlib.contextmanager
def mariadb(root: Path) -> Iterator[MariaDb]:
    (root / "data").mkdir(parents=True)
    server = MariaDb(root)
    try:
        server.start()
        server.run(SCHEMA)
        yield server
    finally:
        server.stop()
