"""One suite for every place where a license's key lies: memory, a file, a command, a table of a real MariaDB."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mariadb_rig import MariaDb, mariadb, needs_mariadb

from agents.license.by_command import CommandPlace
from agents.license.by_file import FilePlace
from agents.license.place import SINK_REFUSED, SOURCE_BAD_VALUE, MemoryPlace, PlaceFault, Sink, Source
from agents.license.spec import VALUE_BYTES_MAX, PlaceKind, PlaceSpec
from agents.license.sql import NO_DRIVER, SqlPlace

SECRET = "VENDOR-KEY-one-two-three"
QUERY = "SELECT value FROM google.variables WHERE var = 'fingerprint'"
UPDATE = "UPDATE google.variables SET value = %s WHERE var = 'fingerprint'"


@dataclass
class Place:
    source: Source
    sink: Sink
    empty: Callable[[], None]
    """From now on there is no key."""
    break_it: Callable[[], None]
    """From now on it cannot be reached."""


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Iterator[MariaDb]:
    with mariadb(tmp_path_factory.mktemp("db")) as server:
        yield server


def sql_spec(server: MariaDb, statement: str, **fields) -> PlaceSpec:
    return PlaceSpec(PlaceKind.SQL, 2_000, statement=statement, socket=str(server.socket), user="root", **fields)


@pytest.fixture
def sql(database) -> Iterator[Callable[..., SqlPlace]]:
    """Places that are closed when the test is over."""
    made: list[SqlPlace] = []

    def make(statement: str, **fields) -> SqlPlace:
        made.append(SqlPlace(sql_spec(database, statement, **fields)))
        return made[-1]

    yield make
    for one in made:
        one._drop()


@pytest.fixture(params=["memory", "file", "command", pytest.param("sql", marks=[needs_mariadb, pytest.mark.process])])
def place(request, tmp_path) -> Place:
    if request.param == "memory":
        memory = MemoryPlace()
        return Place(memory, memory, lambda: setattr(memory, "value", None), lambda: setattr(memory, "fault", "gone"))
    path = tmp_path / "inside" / "key"
    path.parent.mkdir()

    def away() -> None:
        path.parent.rename(tmp_path / "away")
        path.parent.write_text("a file where the directory was")

    if request.param == "file":
        file = FilePlace(path, 2_000)
        return Place(file, file, lambda: path.unlink(missing_ok=True), away)
    if request.param == "command":
        reads = CommandPlace(("/bin/sh", "-c", f"test -e {path.parent}/. || exit 3; cat {path} || true"), 2_000, {})
        writes = CommandPlace(("/bin/sh", "-c", f"cat > {path}"), 2_000, {})
        return Place(reads, writes, lambda: path.unlink(missing_ok=True), away)
    server = request.getfixturevalue("database")
    make = request.getfixturevalue("sql")
    server.run("REPLACE INTO google.variables VALUES ('fingerprint', 'KEY-0')")
    source, sink = make(QUERY), make(UPDATE)

    def empty() -> None:
        server.run("UPDATE google.variables SET value = NULL WHERE var = 'fingerprint'")

    def unreach() -> None:
        for one in (source, sink):
            one._drop()
            one._spec = replace(one._spec, socket=str(tmp_path / "nothing.sock"))

    return Place(source, sink, empty, unreach)


async def test_what_was_written_is_read(place):
    for key in (SECRET, "KEY with blanks, 'quotes' and %s", "schlüssel-é-世界", "K" * 3_000):
        await place.sink.write(key.encode())
        assert await place.source.read() == key.encode()
    await place.source.close()


async def test_no_key_is_none_and_not_an_empty_one(place):
    place.empty()
    assert await place.source.read() is None
    await place.sink.write(b"KEY-9")
    assert await place.source.read() == b"KEY-9"
    await place.source.close()


async def test_each_read_sees_what_is_there_now(place):
    for number in range(3):
        await place.sink.write(f"KEY-{number}".encode())
        assert await place.source.read() == f"KEY-{number}".encode()
    await place.source.close()
    assert await place.source.read() == b"KEY-2"
    await place.source.close()


async def test_what_is_not_reached_is_a_fault_with_a_code_and_without_the_key(place):
    await place.sink.write(SECRET.encode())
    place.break_it()
    for call in (place.source.read(), place.sink.write(SECRET.encode())):
        with pytest.raises(PlaceFault) as fault:
            await call
        assert fault.value.code
        assert SECRET not in str(fault.value)
    await place.source.close()


# -- files ------------------------------------------------------------------------------------------------


async def test_a_file_keeps_its_mode_and_owner(tmp_path):
    path = tmp_path / "key"
    path.write_text("old\n")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 4711, 4712)
    await FilePlace(path, 2_000).write(b"new")
    info = path.stat()
    assert info.st_mode & 0o777 == 0o640
    if os.geteuid() == 0:
        assert (info.st_uid, info.st_gid) == (4711, 4712)


async def test_what_is_too_long_for_a_key_is_none(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"k" * (VALUE_BYTES_MAX + 10))
    with pytest.raises(PlaceFault) as fault:
        await FilePlace(path, 2_000).read()
    assert fault.value.code == SOURCE_BAD_VALUE


async def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PlaceFault) as fault:
        await FilePlace(tmp_path / "pipe", 2_000).read()
    assert fault.value.code == SOURCE_BAD_VALUE


# -- commands ---------------------------------------------------------------------------------------------


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and " Z " not in stat.read_text()


async def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path):
    mark = tmp_path / "pid"
    place = CommandPlace(("/bin/sh", "-c", f"sleep 60 & echo $! > {mark}; wait"), 300, {})
    with pytest.raises(PlaceFault, match="timeout"):
        await place.read()
    pid, ends = int(mark.read_text()), time.monotonic() + 5
    while _runs(pid):
        assert time.monotonic() < ends
        await asyncio.sleep(0.02)


async def test_what_a_command_prints_is_never_in_its_fault():
    place = CommandPlace(("/bin/sh", "-c", f"echo {SECRET}; echo {SECRET} >&2; exit 4"), 2_000, {})
    with pytest.raises(PlaceFault) as fault:
        await place.read()
    assert "exit code 4" in str(fault.value)
    assert SECRET not in str(fault.value)


async def test_the_key_is_neither_in_the_arguments_nor_in_the_environment_of_a_sink(tmp_path):
    seen = tmp_path / "seen"
    script = f"tr '\\0' '\\n' < /proc/$$/cmdline > {seen}; env >> {seen}; cat > /dev/null"
    await CommandPlace(("/bin/sh", "-c", script), 2_000, {"THIRDSITE_LICENSE": "fingerprint"}).write(SECRET.encode())
    assert "fingerprint" in seen.read_text()
    assert SECRET not in seen.read_text()


async def test_a_command_that_prints_without_end_is_bounded():
    started = time.monotonic()
    with pytest.raises(PlaceFault):
        await CommandPlace(("/bin/sh", "-c", "yes | head -c 50000000"), 5_000, {}).read()
    assert time.monotonic() - started < 10


# -- the database -----------------------------------------------------------------------------------------


@needs_mariadb
@pytest.mark.process
async def test_a_statement_changes_one_row_or_nothing(database, sql):
    before = database.run("SELECT * FROM google.variables ORDER BY var")
    for statement in (
        "UPDATE google.variables SET value = %s",
        "UPDATE google.variables SET value = %s WHERE var = 'nothing'",
    ):
        with pytest.raises(PlaceFault) as fault:
            await sql(statement).write(SECRET.encode())
        assert fault.value.code == SINK_REFUSED
    assert database.run("SELECT * FROM google.variables ORDER BY var") == before


@needs_mariadb
@pytest.mark.process
async def test_the_same_value_again_and_an_upsert_are_one_row(database, sql):
    upsert = "INSERT INTO google.variables VALUES ('new', %s) ON DUPLICATE KEY UPDATE value = VALUES(value)"
    for _ in range(2):
        await sql(UPDATE).write(b"KEY-1")
        await sql(upsert).write(b"KEY-1")
    assert database.run("SELECT value FROM google.variables WHERE var = 'new'") == "KEY-1"
    database.run("DELETE FROM google.variables WHERE var = 'new'")


@needs_mariadb
@pytest.mark.process
async def test_an_error_of_the_server_is_told_by_number_alone(database):
    """`Duplicate entry 'VALUE' for key` holds the value."""
    database.run(
        "CREATE OR REPLACE TABLE google.u (v VARCHAR(99) UNIQUE); INSERT INTO google.u VALUES ('" + SECRET + "')"
    )
    with pytest.raises(PlaceFault) as fault:
        await SqlPlace(sql_spec(database, "INSERT INTO google.u VALUES (%s)")).write(SECRET.encode())
    assert "1062" in str(fault.value)
    assert SECRET not in str(fault.value)
    assert fault.value.__cause__ is None


@needs_mariadb
@pytest.mark.process
async def test_a_read_only_database_refuses_and_a_query_of_many_rows_is_no_key(database, sql):
    database.run("SET GLOBAL read_only = 1")
    try:
        assert await sql(QUERY).read()
    finally:
        database.run("SET GLOBAL read_only = 0")
    with pytest.raises(PlaceFault) as fault:
        await sql("SELECT value FROM google.variables").read()
    assert fault.value.code == SOURCE_BAD_VALUE


@needs_mariadb
@pytest.mark.process
async def test_a_connection_that_the_server_ended_is_opened_again(database, sql):
    place = sql(QUERY)
    assert await place.read()
    database.run(
        "KILL " + database.run("SELECT MIN(id) FROM information_schema.processlist WHERE user <> 'system user'")
    )
    with pytest.raises(PlaceFault, match="not reached"):
        await place.read()
    assert await place.read()
    await place.close()


@needs_mariadb
@pytest.mark.process
async def test_a_password_file_that_others_may_read_is_not_used(database, tmp_path, sql):
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    password.chmod(0o644)
    with pytest.raises(PlaceFault, match="chmod 600") as fault:
        await sql(QUERY, password_file=password).read()
    assert "s3cret" not in str(fault.value)
    password.chmod(0o600)
    assert await sql(QUERY, password_file=password).read()


async def test_without_the_driver_the_fault_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("agents.license.sql.driver_problem", lambda: NO_DRIVER)
    with pytest.raises(PlaceFault, match=r"thirdsite\[mysql\]"):
        await SqlPlace(PlaceSpec(PlaceKind.SQL, 1_000, statement=QUERY, socket=str(tmp_path / "s"), user="u")).read()
