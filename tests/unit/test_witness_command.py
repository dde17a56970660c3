"""`witness`: how it ends. The codes are those that docs/operating/troubleshooting.md promises."""

from __future__ import annotations

import sys

import pytest

from proto.errors import BadValue, LocalFault
from witness import __main__ as command


def ended(monkeypatch: pytest.MonkeyPatch, *argv: str) -> object:
    monkeypatch.setattr(sys, "argv", ["witness", *argv])
    with pytest.raises(SystemExit) as caught:
        command.main()
    return caught.value.code


@pytest.mark.parametrize("argv", [("nothing",), ("check",), ("check", "-c", "x", "--colour")])
def test_wrong_usage_is_64(monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]) -> None:
    assert ended(monkeypatch, *argv) == 64


@pytest.mark.parametrize("error", [BadValue("tls.key", "k", "mode 0644", "chmod 600 k"), LocalFault("no store")])
def test_what_cannot_be_used_is_78(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(command, "app", refuse)
    assert ended(monkeypatch) == 78


def test_help_tells_the_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, "--help") in {0, None}
    assert "78 configuration" in " ".join(capsys.readouterr().out.split())
