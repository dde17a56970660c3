"""The command lines of a service, kept as they are written except for what has to be put in front. Pure.

Rule (systemd.service(5)): prefixes `@ - : + ! !!` in any order, then the program; `;` as a word of its own separates
commands. Quoting, specifiers and variables stay as they are, for systemd to read. Only two things change when a
program moves behind `site-agent exec`: a `$` in its path would now be a variable and is doubled, and what `@` gives
as the program's own name is said with `--argv0`.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

_PREFIXES = re.compile(r"[@\-:+!|]*")
_WORD = re.compile(r"""\s*((?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\])+)""")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of an Exec line."""

    prefixes: str
    program: str
    """Its first word, as written."""
    name: str
    """After `@`: the second word, as written; else ''."""
    arguments: str
    """The rest of the line, as written."""

    @property
    def text(self) -> str:
        return " ".join(part for part in (self.prefixes + self.program, self.name, self.arguments) if part)


def commands(value: str) -> list[Command]:
    """Of one assignment; an unreadable rest is kept as it is."""
    return [_command(part) for part in _split(value) if part.strip()]


def _split(value: str) -> list[str]:
    parts, start, at = [], 0, 0
    while (match := _WORD.match(value, at)) is not None:
        if match[1] == ";":
            parts.append(value[start : match.start(1)])
            start = match.end()
        at = match.end()
    return [*parts, value[start:]]


def _command(text: str) -> Command:
    text = text.strip()
    prefixes = _PREFIXES.match(text)
    head = prefixes[0] if prefixes is not None else ""
    program, rest = _take(text[len(head) :])
    name = ""
    if "@" in head:
        name, rest = _take(rest)
    return Command(head, program, name, rest)


def _take(text: str) -> tuple[str, str]:
    match = _WORD.match(text)
    return (text.strip(), "") if match is None else (match[1], text[match.end() :].strip())


def plain(word: str) -> str:
    """A word without its quotes, for looking at; escapes stay."""
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'" else word


def words(command: Command) -> list[str]:
    """Program and arguments without quotes, for looking at."""
    return [plain(command.program), *(plain(match[1]) for match in _WORD.finditer(command.arguments))]


def wrapped_group(command: Command) -> str | None:
    """The group of a command that is `site-agent exec --group G -- ...` already."""
    said = words(command)
    if said[0].rpartition("/")[2] != "site-agent" or said[1:2] != ["exec"] or "--" not in said:
        return None
    for word, after in itertools.pairwise(said):
        if word == "--":
            return None
        if word == "--group":
            return after
        if word.startswith("--group="):
            return word.removeprefix("--group=")
    return None


def wrap(command: Command, front: str, *, elevate: bool, before: str = "") -> str:
    """`front`: the agent's program and options, up to `--`; `before`: what drops privileges before the program.

    `elevate`: the guard keeps root (`!`), whatever User= says. What was root by its own prefix stays so.
    """
    kept = "".join(sign for sign in command.prefixes if sign in "-:")
    root = "+" if "+" in command.prefixes else "!" if elevate or "!" in command.prefixes.replace("!!", "") else ""
    program = command.program if ":" in kept else command.program.replace("$", "$$")
    argv0 = f" --argv0 {command.name}" if command.name else ""
    parts = [f"{kept}{root}{front}{argv0} --", before, program, command.arguments]
    return " ".join(part for part in parts if part)
