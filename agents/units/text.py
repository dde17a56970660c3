"""The syntax of systemd's unit files: sections, assignments, continued lines, comments. Pure.

Rule (systemd.syntax(7)): a line that ends in a backslash goes on in the next one, the backslash becomes a space;
comment lines between them are left out. Whitespace around `=` means nothing. What stands before the first section is
ignored.
Rejected: configparser (one value for a key, other continuation rules, its own idea of case and interpolation).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

LINE_CHARS_MAX = 1024 * 1024
TRUE = frozenset({"1", "yes", "y", "true", "t", "on"})


@dataclass(frozen=True, slots=True)
class Assignment:
    section: str
    key: str
    value: str
    file: str
    """Where it stands, as the host names the file."""


def assignments(text: str, file: str) -> Iterator[Assignment]:
    section = ""
    for line in _logical_lines(text):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
            continue
        key, equals, value = line.partition("=")
        if equals and section and key.strip():
            yield Assignment(section, key.strip(), value.strip(), file)


def _logical_lines(text: str) -> Iterator[str]:
    held = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not held):
            continue
        if _continued(line) and len(held) < LINE_CHARS_MAX:
            held += line[:-1] + " "
            continue
        whole, held = (held + line).strip(), ""
        if whole:
            yield whole
    if held.strip():
        yield held.strip()


def _continued(line: str) -> bool:
    """An even number of backslashes at the end is an escaped one."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def is_true(value: str) -> bool:
    return value.strip().lower() in TRUE
