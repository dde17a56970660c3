"""The text of a scenario, read and written without loss.

    # Which question does it answer?
    #
    # The answer, in two or three sentences.

    cut site-a witnesses
    run 5s
    ----
       4012 w1       what was told while these commands were done

A block is commands, a line of dashes, what was told; a blank line ends it. Lines that begin with '#' are for people.
"""

from __future__ import annotations

from dataclasses import dataclass

DASHES = "----"
COMMENT = "#"


class ScenarioError(Exception):
    """A scenario that cannot be read or done; the text says on which line, what, and what would be right."""

    def __init__(self, line: int, says: str) -> None:
        super().__init__(f"line {line}: {says}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Block:
    line: int
    """Of its first line, counted from 1."""
    asks: tuple[str, ...]
    """Commands, and comments between them."""
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    head: tuple[str, ...]
    """The comment that the file begins with."""
    blocks: tuple[Block, ...]

    @property
    def question(self) -> str:
        return " ".join(_paragraph(self.head, 0))

    @property
    def answer(self) -> str:
        return " ".join(_paragraph(self.head, 1))


def _paragraph(head: tuple[str, ...], number: int) -> list[str]:
    paragraphs: list[list[str]] = [[]]
    for line in head:
        words = line.lstrip(COMMENT).strip()
        if words:
            paragraphs[-1].append(words)
        elif paragraphs[-1]:
            paragraphs.append([])
    return paragraphs[number] if number < len(paragraphs) else []


def parse(text: str) -> Script:
    """Raises ScenarioError."""
    groups = _groups(text.splitlines())
    head: tuple[str, ...] = ()
    if groups and all(line.startswith(COMMENT) for line in groups[0][1]):
        head = tuple(groups.pop(0)[1])
    return Script(head, tuple(_block(line, lines) for line, lines in groups))


def _groups(lines: list[str]) -> list[tuple[int, list[str]]]:
    """What stands between blank lines, with the number of its first line."""
    groups: list[tuple[int, list[str]]] = []
    open_now = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            open_now = False
        elif open_now:
            groups[-1][1].append(line.rstrip())
        else:
            groups.append((number, [line.rstrip()]))
            open_now = True
    return groups


def _block(line: int, lines: list[str]) -> Block:
    if DASHES not in lines:
        raise ScenarioError(line, f"commands without a line {DASHES!r} below them, where their output begins")
    at = lines.index(DASHES)
    if all(one.startswith(COMMENT) for one in lines[:at]):
        raise ScenarioError(line, f"no command stands above {DASHES!r}")
    return Block(line, tuple(lines[:at]), tuple(lines[at + 1 :]))


def render(head: tuple[str, ...], blocks: tuple[Block, ...]) -> str:
    parts = ["\n".join(head)] if head else []
    parts += ["\n".join((*block.asks, DASHES, *block.told)) for block in blocks]
    return "\n\n".join(parts) + "\n"
