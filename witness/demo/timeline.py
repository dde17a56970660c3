"""Who was active when, as a picture of characters that fits a terminal and a log file.

    dc-a  ######......              ####
    dc-b              ##############
          a     b     c             d

A column shows a site as active when the site was alive at any time within it; `!` marks a column in which two
instances truly overlapped, never merely one in which the one follows the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from witness.demo.referee import Life, overlaps

WIDTH_MIN = 20
_GRID_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600)
_GRID_COLUMNS_MIN = 8


def timeline(
    lives: Sequence[Life], marks: Sequence[tuple[int, str]], *, start_ns: int, end_ns: int, width: int
) -> list[str]:
    """Lines of at most `width` characters; `marks` are instants with one letter each."""
    sites = sorted({life.site for life in lives})
    label = max((len(site) for site in sites), default=0) + 2
    columns = max(WIDTH_MIN, width - label)
    scale = _Scale(start_ns, max(end_ns, start_ns + 1), columns)
    doubled: set[int] = set()
    for both in overlaps(lives):
        doubled.update(range(scale.column(both.from_ns), scale.column(both.until_ns) + 1))
    lines = []
    for site in sites:
        cells = ["."] * columns
        for life in lives:
            if life.site == site:
                for column in range(scale.column(life.first_ns), scale.column(life.last_ns) + 1):
                    cells[column] = "!" if column in doubled else "#"
        lines.append(site.ljust(label) + "".join(cells))
    lines.append(" " * label + _marks(marks, scale))
    lines.append(" " * label + _seconds(scale))
    return [line.rstrip() for line in lines]


class _Scale:
    def __init__(self, start_ns: int, end_ns: int, columns: int) -> None:
        self.start_ns = start_ns
        self.span_ns = end_ns - start_ns
        self.columns = columns

    def column(self, at_ns: int) -> int:
        place = (at_ns - self.start_ns) * self.columns // self.span_ns
        return min(max(place, 0), self.columns - 1)


def _marks(marks: Sequence[tuple[int, str]], scale: _Scale) -> str:
    """A letter that finds its column taken goes to the next free one."""
    cells = [" "] * scale.columns
    for at_ns, letter in sorted(marks):
        free = [column for column in range(scale.column(at_ns), scale.columns) if cells[column] == " "]
        if free:
            cells[free[0]] = letter
    return "".join(cells)


def _seconds(scale: _Scale) -> str:
    span_s = scale.span_ns / 1e9
    step = next((step for step in _GRID_S if scale.columns * step / span_s >= _GRID_COLUMNS_MIN), _GRID_S[-1])
    line = ""
    for second in range(0, int(span_s) + 1, step):
        column = scale.column(scale.start_ns + second * 1_000_000_000)
        text = f"{second}s"
        if column >= len(line) and column + len(text) <= scale.columns:
            line = line.ljust(column) + text
    return line
