"""A site's MySQL or MariaDB server, asked through its own client: what navixy_db.py stands on.

Rule: no answer is never taken for a dead server; a server that lives holds a lock on its data, and that is looked at.
Standard library only. Nothing secret is in an argument, in the environment or in an error's text; what a client would
find in its environment (MYSQL_HOST, MYSQL_PWD ...) is taken out, or it would ask another server than the file's.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import os
import re
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECTION = "navixy-db"
ASK_S = 8.0
LOCK_S = 2
FLOCK = "hhqqi0q"
"""struct flock of Linux."""
SCHEMA = """CREATE DATABASE IF NOT EXISTS thirdsite;
CREATE TABLE IF NOT EXISTS thirdsite.epoch (id TINYINT PRIMARY KEY, epoch BIGINT UNSIGNED NOT NULL, site VARCHAR(64));
CREATE TABLE IF NOT EXISTS thirdsite.ports (epoch BIGINT UNSIGNED PRIMARY KEY, said MEDIUMTEXT NOT NULL);
"""


class No(Exception):
    """The answer is no, or it could not be done; the text says why."""


class Refused(No):
    """The server, or its client, said why not."""


class Silent(No):
    """No answer: there is no server, or it hangs."""


@dataclass(frozen=True, slots=True)
class Config:
    """`file` is also the client's own option file: it names socket, user and password in [client]."""

    file: Path
    mariadb: bool
    client: str
    server_options: str
    data: str
    source_host: str
    source_port: int
    source_user: str
    source_password: str

    @classmethod
    def load(cls, file: Path) -> Config:
        try:
            mine = _section(file)
            server = mine.get("server", "mysql")
            if server not in ("mysql", "mariadb"):
                raise No(f"{file}: server = {server}: it is mysql or mariadb")
            for name, value in mine.items():
                if any(char in (value or "") for char in "'\\\n"):
                    raise No(f"{file}: {name} has a quote or a backslash: choose another value")
            mariadb = server == "mariadb"
            return cls(
                file=file,
                mariadb=mariadb,
                client=mine.get("client", "mariadb" if mariadb else "mysql"),
                server_options=mine.get("server_options", ""),
                data=mine.get("data", ""),
                source_host=mine["source_host"],
                source_port=_port(mine.get("source_port", "3306")),
                source_user=mine["source_user"],
                source_password=mine["source_password"],
            )
        except KeyError as error:
            raise No(f"{file} cannot be used: {error} is not in it; see docs/operating/navixy.md") from error
        except Unusable as error:
            raise No(f"{file} cannot be used: {error}; see docs/operating/navixy.md") from None


class Unusable(Exception):
    """Of an option file; the text quotes nothing of it: the line that is wrong may be the one with a password."""


def _section(file: Path) -> dict[str, str]:
    """Raises Unusable, and KeyError without the section."""
    parser = configparser.RawConfigParser(allow_no_value=True, strict=False)
    try:
        with file.open(encoding="utf-8") as lines:
            parser.read_file(lines)
    except OSError as error:
        raise Unusable(error.strerror or "it cannot be read") from None
    except UnicodeDecodeError:
        raise Unusable("it is no UTF-8 text") from None
    except configparser.MissingSectionHeaderError as error:
        raise Unusable(f"line {error.lineno} stands before the first [section]") from None
    except configparser.ParsingError as error:
        raise Unusable(f"line {error.errors[0][0]} is neither a [section] nor `name = value`") from None
    mine = parser[SECTION]
    empty = [name for name, value in mine.items() if value is None]
    if empty:
        raise Unusable(f"{empty[0]} has no value")
    return dict(mine.items())


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65_536):
        raise Unusable("source_port is no port")
    return int(text)


class Database:
    """This site's server, asked through its own client."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def ask(self, statement: str, *options: str, seconds: float = ASK_S) -> str:
        """What it printed. Raises Silent when nobody answered, No for what was refused."""
        return ask(self.config.client, (f"--defaults-file={self.config.file}", *options), statement, seconds)

    def value(self, expression: str) -> str:
        return self.ask(f"SELECT {expression};", "--skip-column-names").strip()

    def read_only(self) -> bool:
        return self.value("@@global.read_only" if self.config.mariadb else "@@global.super_read_only") in ("1", "ON")

    def replica(self) -> dict[str, str]:
        """{} when it is not set up to follow. Both products' words are brought to the newer ones."""
        found = {}
        for line in self.ask("SHOW REPLICA STATUS;", "--vertical").splitlines():
            name, colon, value = line.partition(":")
            if colon and not line.startswith("*"):
                found[name.strip().replace("Master", "Source").replace("Slave", "Replica")] = value.strip()
        return found

    def set_read_only(self, *, on: bool) -> None:
        name = "read_only" if self.config.mariadb or not on else "super_read_only"
        self.ask(f"SET SESSION lock_wait_timeout = {LOCK_S}; SET GLOBAL {name} = {'ON' if on else 'OFF'};")

    def highest_epoch(self) -> int:
        known = self.value(
            "COUNT(*) FROM information_schema.tables WHERE table_schema='thirdsite' AND table_name='epoch'"
        )
        return int(self.value("COALESCE(MAX(epoch), 0) FROM thirdsite.epoch")) if known == "1" else 0

    def note_ports(self, epoch: int, said: str) -> None:
        text = f"CONVERT(X'{said.encode().hex()}' USING utf8mb4)"
        self.ask(f"{SCHEMA}REPLACE INTO thirdsite.ports VALUES ({epoch}, {text});")

    def note_epoch(self, epoch: int, site: str) -> None:
        row = f"(1, {epoch}, '{site}')"
        self.ask(
            f"{SCHEMA}INSERT INTO thirdsite.epoch VALUES {row}"
            f" ON DUPLICATE KEY UPDATE site = IF(epoch <= {epoch}, '{site}', site), epoch = GREATEST(epoch, {epoch});"
        )

    def drop_connections(self) -> None:
        """Everybody's but ours and the server's own threads, other sites' replicas included: they come back."""
        own = "id <> CONNECTION_ID() AND user NOT IN ('system user', 'event_scheduler')"
        kills = self.value(f"CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE {own}")
        with contextlib.suppress(Refused):  # of one that has ended meanwhile
            self.ask(kills, "--force")


def ask(client: str, options: tuple[str, ...], statement: str, seconds: float, *, password: str = "") -> str:
    """The statement goes in by stdin, and a password by an option file that is a pipe (`--defaults-file`, once)."""
    first, *rest = options
    with contextlib.ExitStack() as open_here:
        fds: tuple[int, ...] = ()
        if password:
            fds = (open_here.enter_context(_piped(f"[client]\npassword='{password}'\n")),)
            first = f"--defaults-file=/dev/fd/{fds[0]}"
        argv = [client, first, "--batch", "--raw", "--connect-timeout=3", *rest]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_THEIRS)}
        try:
            done = subprocess.run(
                argv,
                input=statement,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
                env=environment,
                pass_fds=fds,
            )
        except FileNotFoundError as error:
            raise No(f"the client {client} is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise Silent(f"no answer within {seconds} s") from error
    if done.returncode == 0:
        return done.stdout
    words = without_passwords(" ".join(done.stderr.split()))[:300] or f"the client ended with {done.returncode}"
    raise (Silent if re.search(r"ERROR 20\d\d ", words) else Refused)(words)


_THEIRS = ("MYSQL_", "MARIADB_")


@contextlib.contextmanager
def _piped(text: str) -> Iterator[int]:
    """For reading, with all of it inside: a password is far shorter than a pipe."""
    inside, outside = os.pipe()
    try:
        with os.fdopen(outside, "w", encoding="utf-8") as writing:
            writing.write(text)
        yield inside
    finally:
        os.close(inside)


def without_passwords(words: str) -> str:
    """A server's complaint about a statement quotes it from where it stumbled, cut anywhere."""
    return re.sub(r"(PASSWORD\s*=\s*)('[^']*'?)", r"\1(not shown)", words, flags=re.IGNORECASE)


def start_options(config: Config) -> dict[str, str]:
    """What the server's next start reads, with `-` for `_`; the last one of a name counts."""
    groups = ("mysqld", "server", "mariadb", "mariadbd") if config.mariadb else ("mysqld", "server", "mysqld-8.0")
    where = [f"--defaults-file={config.server_options}"] if config.server_options else []
    command = ["my_print_defaults", *where, *groups]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise No(f"cannot tell what the next start reads: {error}") from error
    said = [line.removeprefix("--").partition("=") for line in done.stdout.splitlines()]
    return {name.replace("_", "-"): value for name, _, value in said}


def data_directory(config: Config, options: dict[str, str]) -> Path:
    """On this host: what the server sees may be a container's."""
    return Path(config.data or options.get("datadir", "/var/lib/mysql"))


def require_dead(config: Config, silent: Silent) -> str:
    """A server that lives has a lock on its data, whether it answers or not. Raises `silent` with it."""
    data = data_directory(config, start_options(config)) / "ibdata1"
    try:
        with data.open("rb") as file:
            asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))[0]
    except OSError as error:
        raise No(f"cannot tell whether it runs: {data}: {error.strerror}; {silent}") from silent
    if kind != fcntl.F_UNLCK:
        raise silent
    return f"dead: nobody uses {data}"
