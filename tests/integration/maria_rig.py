"""Real MariaDB servers of a test's own: unprivileged, without systemd, each in a directory of its own below /tmp.

Rule: they come up as deploy/navixy wants a database to come up (read-only, following nobody); the tests change their
role by `navixy-db` alone. The data of a fresh server is made once a session and copied.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

import pytest
from free_ports import free_ports

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "navixy"
WAIT_S = 30.0
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
PASSWORD = "of-the-replication"
NAVIXY_SCHEMA = f"""
CREATE DATABASE google; CREATE DATABASE tracking;
CREATE TABLE google.variables (var VARCHAR(64) PRIMARY KEY, value VARCHAR(4096) NOT NULL);
INSERT INTO google.variables VALUES ('fingerprint', 'key-1');
CREATE TABLE tracking.messages (id BIGINT PRIMARY KEY AUTO_INCREMENT, device VARCHAR(32), body VARCHAR(256));
CREATE USER repl@'%' IDENTIFIED BY '{PASSWORD}'; GRANT REPLICATION SLAVE ON *.* TO repl@'%';
"""


def missing_mariadb() -> str:
    """'' when it can be used here."""
    for name in ("mariadbd", "mariadb", "mariadb-install-db", "my_print_defaults"):
        if shutil.which(name, path=PATH) is None:
            return f"{name} IS NOT INSTALLED (Debian: mariadb-server): nothing of Navixy's database was tested"
    if os.geteuid() == 0 and _server_user() is None:
        return "MARIADB DOES NOT RUN AS ROOT and there is no user mysql: nothing of Navixy's database was tested"
    return ""


def _server_user() -> str | None:
    try:
        return pwd.getpwnam("mysql").pw_name
    except KeyError:
        return None


needs_mariadb = pytest.mark.skipif(missing_mariadb() != "", reason=missing_mariadb() or "it is there")


def _as_server() -> dict[str, object]:
    """For subprocess: whom the servers run as."""
    if os.geteuid() != 0:
        return {}
    return {"user": "mysql", "group": "mysql", "extra_groups": []}


@contextmanager
def server_directory() -> Iterator[Path]:
    """Short, because sockets live in it, and open to the servers' user; its content is the servers' own."""
    made = Path(tempfile.mkdtemp(prefix="thirdsite-db-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@cache
def _seed(session: int) -> Path:
    """Data with Navixy's schema, a license row and the replication's user: both sites' servers start from it."""
    made = Path(tempfile.mkdtemp(prefix=f"thirdsite-db-seed-{session}-"))
    if os.geteuid() == 0:
        shutil.chown(made, "mysql", "mysql")
    done = subprocess.run(
        [
            *("mariadb-install-db", "--no-defaults", f"--datadir={made}/data", "--skip-test-db"),
            *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
        ],
        env={**os.environ, "PATH": PATH}, capture_output=True, text=True, timeout=WAIT_S, check=False, **_as_server(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    server = MariaServer(made, 1, port=0, other_port=0)
    server.start()
    server.sql(f"SET GLOBAL read_only = OFF; {NAVIXY_SCHEMA}")
    server.stop()
    return made


@pytest.fixture(scope="session", autouse=True)
def forget_seed() -> Iterator[None]:
    yield
    remove_seed()


def remove_seed() -> None:
    if _seed.cache_info().currsize:
        shutil.rmtree(_seed(os.getpid()), ignore_errors=True)
        _seed.cache_clear()


@contextmanager
def two_servers(started: int = 2) -> Iterator[tuple[MariaServer, MariaServer]]:
    """Seeded alike and started: read-only, following nobody."""
    _seed(os.getpid())
    one_port, other_port = free_ports(2)
    with server_directory() as directory:
        servers = (
            MariaServer(directory / "db1", 1, one_port, other_port),
            MariaServer(directory / "db2", 2, other_port, one_port),
        )
        try:
            for server in servers[:started]:
                server.seed()
                server.start()
            yield servers
        finally:
            for server in servers:
                server.kill()


class MariaServer:
    """One site's server. `other` is known once both have ports."""

    address = "127.0.0.1"
    other_address = "127.0.0.1"

    def __init__(self, directory: Path, number: int, port: int, other_port: int) -> None:
        self.directory = directory
        self.directory.mkdir(exist_ok=True)
        self.number = number
        self.port = port
        self.socket = self.directory / "s.sock"
        self.options = self.directory / "server.cnf"
        self.navixy_db = self.directory / "navixy-db.cnf"
        self.process: subprocess.Popen[bytes] | None = None
        self.options.write_text(self._server_options(), encoding="utf-8")
        self.navixy_db.write_text(
            f"[client]\nsocket={self.socket}\nuser=root\n[navixy-db]\nserver=mariadb\nserver_options={self.options}\n"
            f"source_host={self.other_address}\nsource_port={other_port}\nsource_user=repl\nsource_password={PASSWORD}\n",
            encoding="utf-8",
        )
        if os.geteuid() == 0:
            for path in (self.directory, self.options, self.navixy_db):
                shutil.chown(path, "mysql", "mysql")

    def seed(self) -> None:
        """What a physical backup does."""
        subprocess.run(["cp", "-a", _seed(os.getpid()) / "data", self.directory / "data"], check=True)

    def _server_options(self) -> str:
        shipped = (DEPLOY / "mysql" / "thirdsite-mariadb.cnf").read_text(encoding="utf-8")
        return shipped.replace("server_id = 1", f"server_id = {self.number}") + (
            f"datadir={self.directory}/data\nsocket={self.socket}\nport={self.port}\nbind_address={self.address}\n"
            "innodb_buffer_pool_size=16M\nskip_name_resolve\nlog_error=server.err\n"
        )

    def start(self) -> None:
        command = ["mariadbd", f"--defaults-file={self.options}"]
        with (self.directory / "out").open("ab") as out:
            self.process = self.launched(command, out)
        ends = time.monotonic() + WAIT_S
        while self._asked("SELECT 1").returncode != 0:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < ends, self.log()
            time.sleep(0.05)

    def launched(self, command: list[str], out: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, env={**os.environ, "PATH": PATH}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True, **_as_server(),  # type: ignore[call-overload]  # of a mapping
        )  # fmt: skip

    def stop(self) -> None:
        """In order, so that the next start has nothing to recover."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(WAIT_S)
        self.process = None

    def kill(self) -> None:
        """As a power cut would; idempotent."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(WAIT_S)
            self.process = None

    def log(self) -> str:
        return "".join(one.read_text(errors="replace") for one in (self.directory / "data").glob("*.err"))

    def _asked(self, statement: str) -> subprocess.CompletedProcess[str]:
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root", "--batch", "-N"]
        return subprocess.run(command, input=statement, capture_output=True, text=True, timeout=WAIT_S, check=False)

    def hold(self, statement: str) -> subprocess.Popen[str]:
        """A connection that is busy with it."""
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root", "-e", statement]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)

    def sql(self, statement: str) -> str:
        done = self._asked(statement)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def key(self) -> str:
        return self.sql("SELECT value FROM google.variables WHERE var = 'fingerprint'")

    def command(self, name: str) -> list[str]:
        """A step or look of deploy/navixy for this server."""
        return [sys.executable, str(DEPLOY / "navixy_db.py"), "-c", str(self.navixy_db), name]

    def db(self, name: str, epoch: int = 0, said: str = "") -> tuple[int, str]:
        """Exit code, and what was said; `said` is its stdin."""
        env = {**os.environ, "THIRDSITE_EPOCH": str(epoch), "THIRDSITE_SITE": f"dc-{'ab'[self.number - 1]}"}
        done = subprocess.run(
            self.command(name), input=said, capture_output=True, text=True, timeout=90, check=False, env=env
        )
        return done.returncode, (done.stdout + done.stderr).strip()


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for a condition of the outside world."""
    ends = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < ends, what
        time.sleep(0.05)
