"""A wrong value on the command line is wrong usage (64), by the argument's own name; what is wrong on disk is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents import cli
from proto.errors import BadValue
from witness import __main__ as witness
from witness.pki.store import create_ca


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pki")
    create_ca(made)
    return made


def witness_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["witness", *words])
    with pytest.raises(SystemExit) as ended:
        witness.main()
    return int(str(ended.value.code)), capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("witness", "W1", "--ip", "10.0.0.1"), "NAME: 'W1' is refused"),
        (("agent", "dc a", "--groups", "shop"), "NAME: 'dc a' is refused"),
        (("agent", "dc-a", "--groups", "Shop"), "--groups: 'Shop' is refused"),
        (("member", "db1", "--groups", "shop"), "NAME: 'db1' is refused"),
        (("operator", "ann", "--role", "boss"), "--role: 'boss' is refused"),
        (("operator", "Ann!", "--role", "admin"), "NAME: 'Ann!' is refused"),
        (("witness", "w1", "--ip", "not an address"), "--host: 'not an address' is refused"),
        (("witness", "w1"), "--host: '' is refused"),
        (("witness", "w1", "--ip", "10.0.0.1", "--days", "0"), "--days: 0 is refused"),
    ],
)
def test_pki_refuses_a_wrong_argument_with_64(
    ca: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    code, said = witness_says(monkeypatch, capsys, "pki", "issue", *words, "--dir", str(ca))
    assert (code, says in said) == (64, True), said


def test_pki_refuses_what_is_wrong_on_the_disk_with_78(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("pki", "issue", "operator", "ann", "--role", "admin", "--dir", str(tmp_path / "none"))
    code, said = witness_says(monkeypatch, capsys, *words)
    assert code == 78
    assert "make one with 'witness pki init" in said


@pytest.mark.parametrize(
    ("words", "says"), [(("x.service",), "--group: ''"), (("x.service", "-g", "A B"), "--group: 'A B'")]
)
def test_wrap_refuses_a_wrong_group_with_64(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    monkeypatch.setattr("sys.argv", ["site-agent", "wrap", *words])
    assert cli.main() == 64
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"x", b"hello", b"3SITES", b"PK\x03\x04 another archive"])
def test_a_file_that_is_no_backup_is_called_that_however_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    code, said = witness_says(monkeypatch, capsys, "backup", "--verify", str(file))
    assert code == 78
    assert "it is no backup of thirdsite" in said


@pytest.mark.parametrize(
    ("field", "usage"), [("--days", True), ("NAME", True), ("ttl", False), ("groups[0].group", False), ("", False)]
)
def test_a_field_says_whether_it_was_given_on_the_command_line(field: str, usage: bool) -> None:
    assert BadValue(field, 1, "rule", "remedy").usage is usage
