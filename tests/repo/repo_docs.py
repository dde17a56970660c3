"""Rules for Markdown: one title, links that lead somewhere, anchors that exist.

Only links inside the checkout are followed; an address on the network is the reader's business and would make
the tests depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from repo_tree import Violation

_FENCE = re.compile(r"^\s*(```|~~~)")
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_EXTERNAL = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)")


def prose_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines outside of fenced code, numbered."""
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, line


def headings(text: str) -> list[tuple[int, int, str]]:
    """(line, level, title) of each heading."""
    found = ((number, _HEADING.match(line)) for number, line in prose_lines(text))
    return [(number, len(match[1]), match[2]) for number, match in found if match]


def anchors(text: str) -> set[str]:
    """What a '#fragment' may name, by the rule that forges use: lower case, punctuation dropped, '-' for blanks."""
    seen: dict[str, int] = {}
    result: set[str] = set()
    for _, _, title in headings(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        result.add(f"{slug}-{count}" if count else slug)
    return result


def check_title(path: str, text: str) -> Iterator[Violation]:
    titles = [number for number, level, _ in headings(text) if level == 1]
    if len(titles) != 1:
        line = titles[1] if titles else 1
        yield Violation(path, line, f"{len(titles)} first-level headings: give a page exactly one '# Title'")


def check_links(path: str, text: str, read: Callable[[str], str | None]) -> Iterator[Violation]:
    """`read` gives the text of a file by its path in the checkout, '' for a folder, None where nothing is."""
    for number, line in prose_lines(text):
        for match in _LINK.finditer(re.sub(r"`[^`]*`", "", line)):
            if not _EXTERNAL.match(match[1]):
                says = _broken(path, text, match[1], read)
                if says is not None:
                    yield Violation(path, number, says)


def _broken(path: str, text: str, link: str, read: Callable[[str], str | None]) -> str | None:
    target, _, fragment = link.partition("#")
    if target.startswith("/"):
        return f"{link}: link relative to the page, so that it works in a checkout and on a forge"
    goal: str | None = text
    if target:
        where = _normal(PurePosixPath(path).parent / target)
        goal = None if where is None else read(where)
        if goal is None:
            return f"{link}: there is no such file; correct the link or write the page"
    if fragment and target.endswith((".md", "")) and fragment not in anchors(goal or ""):
        return f"{link}: no heading gives the anchor #{fragment}; correct it or rename the heading"
    return None


def _normal(path: PurePosixPath) -> str | None:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
