"""What `site-agent --help` says of each command is a whole sentence, and fits a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from agents.cli import app


def lists(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The command lines whose --help lists commands."""
    commands = getattr(command, "commands", {})
    if commands:
        yield path
    for name, one in commands.items():
        yield from lists(one, (*path, name))


LISTS = list(lists(typer.main.get_command(app)))


def test_there_are_such_lists():
    assert {(), ("license",), ("ports",)} <= set(LISTS)


@pytest.mark.parametrize("path", LISTS, ids=[" ".join(path) or "site-agent" for path in LISTS])
def test_what_is_said_of_each_command_is_a_whole_sentence(path):
    done = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"}, terminal_width=80)
    _, _, listed = done.output.partition("Commands:\n")
    lines = [line.rstrip() for line in listed.split("\n\n")[0].splitlines() if line.strip()]
    assert lines
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []
