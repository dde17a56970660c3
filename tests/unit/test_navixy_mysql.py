"""deploy/navixy's database commands in MySQL's words, on a scripted client; MariaDB's are tried on real servers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from test_deploy_navixy import PLACE, program

SERVER = program("navixy_server")
DB = program("navixy_db")
REPLICA = """*************************** 1. row ***************************
             Replica_IO_State: Waiting for source to send event
                  Source_Host: 10.0.1.1
              Source_Log_File: binlog.000002
          Read_Source_Log_Pos: 1307
           Replica_IO_Running: Yes
          Replica_SQL_Running: Yes
        Relay_Source_Log_File: binlog.000002
          Exec_Source_Log_Pos: 1307
        Seconds_Behind_Source: 3
             Source_Server_Id: 2
"""


class Scripted(DB.Database):  # type: ignore[misc, name-defined]  # of a program that is loaded by its path
    """Answers by the beginning of a statement; keeps what was asked."""

    def __init__(self, answers: dict[str, str] | None = None) -> None:
        super().__init__(SERVER.Config.load(PLACE / "mysql" / "navixy-db.cnf"))
        self.asked: list[str] = []
        self.answers = {"SHOW REPLICA STATUS": REPLICA, "SELECT COUNT(*)": "1", "SELECT COALESCE": "6"}
        self.answers |= answers or {}
        self.read_only_now = True

    def ask(self, statement: str, *options: str, seconds: float = 0) -> str:
        del options, seconds
        self.asked.append(statement)
        if "SET GLOBAL" in statement:
            self.read_only_now = "read_only = ON" in statement
        if statement.startswith("SELECT @@global.super_read_only"):
            return "1" if self.read_only_now else "0"
        return next((text for name, text in self.answers.items() if statement.startswith(name)), "")


@pytest.fixture(autouse=True)
def step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THIRDSITE_EPOCH", "7")
    monkeypatch.setenv("THIRDSITE_SITE", "dc-a")


def test_it_is_promoted_after_everything_is_applied_and_notes_the_epoch() -> None:
    database = Scripted()
    assert DB.promote(database) == "takes writes in epoch 7"
    order = [statement for statement in database.asked if not statement.startswith(("SELECT", "SHOW"))]
    assert order[:2] == ["STOP REPLICA IO_THREAD;", "STOP REPLICA;"]
    assert order[2].endswith("SET GLOBAL read_only = OFF;"), "which takes super_read_only with it"
    assert "(1, 7, 'dc-a')" in order[3]
    assert not any("PERSIST" in statement for statement in database.asked)


@pytest.mark.parametrize(("seen", "why"), [("8", "epoch 7 is over: this database has seen 8")])
def test_a_step_that_comes_late_changes_nothing(seen: str, why: str) -> None:
    database = Scripted({"SELECT COALESCE": seen})
    with pytest.raises(SERVER.No, match=why):
        DB.promote(database)
    assert all(statement.startswith("SELECT") for statement in database.asked)


def test_what_nobody_applies_any_more_is_told_at_once() -> None:
    stuck = REPLICA.replace("Exec_Source_Log_Pos: 1307", "Exec_Source_Log_Pos: 900")
    stuck = stuck.replace("Replica_SQL_Running: Yes", "Replica_SQL_Running: No\n Last_SQL_Error: Duplicate entry")
    with pytest.raises(SERVER.No, match="what was received is not applied: Duplicate entry"):
        DB.promote(Scripted({"SHOW REPLICA STATUS": stuck}))


def test_it_is_demoted_for_everybody_and_connections_in_the_way_are_ended() -> None:
    database = Scripted()
    database.read_only_now = False
    assert DB.demote(database) == "read-only"
    assert database.asked[-1] == "SET SESSION lock_wait_timeout = 2; SET GLOBAL super_read_only = ON;"


def test_it_follows_only_whom_it_has_not_parted_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DB, "ask", lambda *_a, **_k: "u1:1-9,\nu2:1-4\n")
    database = Scripted({"SELECT @@global.gtid_executed": "u1:1-9"})
    assert DB.follow(database) == "it follows 10.0.1.1"
    assert "SELECT GTID_SUBTRACT('u1:1-9', 'u1:1-9,u2:1-4');" in database.asked
    (change,) = (statement for statement in database.asked if statement.startswith("CHANGE"))
    assert change.startswith("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '10.0.1.1', SOURCE_USER = 'repl'")
    assert change.endswith("SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1;")
    parted = Scripted({"SELECT @@global.gtid_executed": "u1:1-11", "SELECT GTID_SUBTRACT": "u1:10-11"})
    with pytest.raises(SERVER.No, match="that the other has not: u1:10-11; seed it anew"):
        DB.follow(parted)
    assert not any(statement.startswith(("STOP", "CHANGE")) for statement in parted.asked)


def test_the_lag_is_printed_in_milliseconds_and_unknown_without_contact() -> None:
    assert DB.lag_ms(Scripted()) == "3000"
    lonely = REPLICA.replace("Replica_IO_Running: Yes", "Replica_IO_Running: Connecting")
    with pytest.raises(SERVER.No, match="Replica_IO_Running is Connecting"):
        DB.lag_ms(Scripted({"SHOW REPLICA STATUS": lonely}))
    assert DB.applies(Scripted({"SHOW REPLICA STATUS": lonely})) == "it applies what it receives"
    never = lonely.replace("Source_Server_Id: 2", "Source_Server_Id: 0")
    with pytest.raises(SERVER.No, match="has not reached"):
        DB.applies(Scripted({"SHOW REPLICA STATUS": never}))


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("--super-read-only=OFF\n--skip-replica-start=ON", "super_read_only = ON is not in its option file"),
        ("--read-only=ON\n--skip-replica-start=ON", "super_read_only = ON is not in its option file"),
        ("--super_read_only=1", "a former primary would follow by itself"),
        ("--super_read_only=1\n--skip_replica_start\n--super-read-only=0", "it would come up taking writes"),
    ],
)
def test_a_next_start_in_the_wrong_role_is_found(lines: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(line.removeprefix("--").replace("_", "-").partition("=")[::2] for line in lines.splitlines())
    monkeypatch.setattr(DB, "start_options", lambda _config: options)
    with pytest.raises(SERVER.No, match=why):
        DB.standby_start(Scripted())


def test_a_persisted_role_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shipped = (PLACE / "mysql" / "thirdsite-mysql.cnf").read_text()
    options = dict(re_line.replace(" ", "").split("=", 1) for re_line in shipped.splitlines() if " = " in re_line)
    options = {name.replace("_", "-"): value for name, value in options.items()} | {"datadir": str(tmp_path)}
    monkeypatch.setattr(DB, "start_options", lambda _config: options)
    assert DB.standby_start(Scripted()) == "read-only, following nobody"
    (tmp_path / "mysqld-auto.cnf").write_text('{"mysql_dynamic_variables": {"super_read_only": {"Value": "OFF"}}}')
    with pytest.raises(SERVER.No, match="RESET PERSIST it"):
        DB.standby_start(Scripted())


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ("bind-address=127.0.0.1,10.0.0.1", "at 127.0.0.1,10.0.0.1"),
        ("bind-address=::1,fd00::7/between", "at ::1,fd00::7/between"),
        ("bind-address=db.dc-a.example.net", "at db.dc-a.example.net"),
        ("skip-networking=", "at no address"),
        ("bind-address=*", r"bind_address = \*: \* is for everybody"),
        ("bind-address=0.0.0.0", "0.0.0.0 is for everybody"),
        ("bind-address=::", ":: is for everybody"),
        ("bind-address=10.0.0.1, 8.8.8.8", "8.8.8.8 is for everybody"),
        ("datadir=/x", r"\* is for everybody"),
    ],
    ids=["two", "six", "name", "none", "star", "all", "all six", "public", "default"],
)
def test_a_server_that_would_listen_to_everybody_is_found(lines: str, answer: str, monkeypatch) -> None:
    options = dict([lines.split("=", 1)])
    monkeypatch.setattr(DB, "start_options", lambda _config: options)
    if answer.startswith("at "):
        assert DB.listens(Scripted()) == answer
    else:
        with pytest.raises(SERVER.No, match=answer):
            DB.listens(Scripted())


def test_of_a_container_the_engine_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Scripted()
    database.config = replace(database.config, data="/srv/navixy/mysql")
    monkeypatch.setattr(DB, "start_options", lambda _config: {"bind-address": "*"})
    assert DB.listens(database).startswith("in a container")


def test_what_is_shipped_listens_at_no_public_address() -> None:
    for name in ("thirdsite-mysql.cnf", "thirdsite-mariadb.cnf"):
        lines = (PLACE / "mysql" / name).read_text().splitlines()
        (bound,) = [line.partition("= ")[2] for line in lines if line.startswith("bind_address")]
        assert not any(DB._anybodys(address) for address in bound.split(","))
    compose = yaml.safe_load((PLACE / "compose.yaml").read_text())
    assert [port for port in compose["services"]["db"]["ports"] if port.count(":") != 2] == []
