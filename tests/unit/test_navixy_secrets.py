"""No password of deploy/navixy's database commands is in an argument, an environment or an error's text."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_deploy_navixy import PLACE, program

SERVER = program("navixy_server")
SECRET = "s3cr3t-of-repl"
GOOD = f"[client]\nuser = root\npassword = {SECRET}\n[navixy-db]\nsource_host = 10.0.1.1\nsource_user = repl\n"


def loaded(tmp_path: Path, text: str | bytes) -> object:
    file = tmp_path / "navixy-db.cnf"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return SERVER.Config.load(file)


def test_the_shipped_file_loads() -> None:
    assert SERVER.Config.load(PLACE / "mysql" / "navixy-db.cnf").source_port == 3306


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"password = {SECRET}\n{GOOD}", "line 1 stands before the first [section]"),
        (f"{GOOD}= {SECRET}\n", "line 7 is neither a [section] nor `name = value`"),
        (f"{GOOD}source_password\n", "source_password has no value"),
        (f"{GOOD}source_password = {SECRET}\nsource_port = {SECRET}\n", "source_port is no port"),
        (f"{GOOD}source_password = '{SECRET}'\n", "source_password has a quote or a backslash"),
        (GOOD, "'source_password' is not in it"),
        (GOOD.encode() + b"\xff" + SECRET.encode(), "it is no UTF-8 text"),
        (f"[client]\npassword = {SECRET}\n", "'navixy-db' is not in it"),
    ],
    ids=["headless", "line", "empty", "port", "quote", "missing", "bytes", "section"],
)
def test_an_option_file_that_cannot_be_used_is_told_without_a_word_of_it(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SERVER.No) as refused:
        loaded(tmp_path, text)
    assert words in str(refused.value)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None or SECRET not in str(refused.value.__cause__)


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """Prints its arguments, its environment and the option file that it was given."""
    made = tmp_path / "client"
    made.write_text('#!/bin/sh\necho "$@"\nenv\ncat "${1#--defaults-file=}"\necho "said: $(cat /dev/stdin)"\n')
    made.chmod(0o755)
    return made


def test_a_password_goes_to_the_client_by_an_option_file_that_is_on_no_disk(
    client: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYSQL_PWD", "of-somebody-else")
    monkeypatch.setenv("MYSQL_HOST", "another.example.net")
    out = SERVER.ask(str(client), ("--no-defaults", "--user=repl"), "SELECT 1;", 10, password=SECRET)
    arguments, *environment = out.splitlines()
    assert arguments.startswith("--defaults-file=/dev/fd/")
    assert arguments.endswith("--batch --raw --connect-timeout=3 --user=repl")
    assert SECRET not in arguments
    assert environment[-3:] == ["[client]", f"password='{SECRET}'", "said: SELECT 1;"]
    assert [line for line in environment[:-3] if line.startswith("MYSQL") or SECRET in line] == []


@pytest.mark.parametrize(
    "shown", [f"'{SECRET}', MASTER_PORT = 3306' at line 1", f"'{SECRET[:6]}"], ids=["whole", "cut"]
)
def test_what_a_server_quotes_of_a_statement_shows_no_password(tmp_path: Path, shown: str) -> None:
    failing = tmp_path / "client"
    failing.write_text(
        f"#!/bin/sh\ncat >&2 <<'END'\nERROR 1064 near 'SOURCE_USER = 'repl', SOURCE_PASSWORD = {shown}\nEND\nexit 1\n"
    )
    failing.chmod(0o755)
    with pytest.raises(SERVER.Refused, match=r"SOURCE_PASSWORD = \(not shown\)") as refused:
        SERVER.ask(str(failing), ("--no-defaults",), "CHANGE ...", 10)
    assert SECRET[:6] not in str(refused.value)
