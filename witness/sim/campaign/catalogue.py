"""The table of faults: which counters show that a fault was really hit, or which test shows it on real processes.

Rule: a campaign says nothing about a fault that it never hit. Every kind of fault that can be drawn stands in a row,
with the counters that rise where it bites (not where it is set); a campaign of some size fails when one of them stays
at zero. Ids are those of docs/internals/simulation.md; rows without one are what people and the system itself do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    ids: str
    """Of the catalogue of faults, by spaces."""
    what: str
    kinds: tuple[str, ...] = ()
    """What draws it; none: it follows from others."""
    counters: tuple[str, ...] = ()
    """Each must rise in a campaign."""
    shown_by: tuple[str, ...] = ()
    """Tests, for what only real processes, sockets or clocks can show."""


def drawn(ids: str, what: str, *kinds: str) -> Row:
    """Kinds that are counted under their own names."""
    return Row(ids, what, kinds, kinds)


def counters_of(rows: Iterable[Row]) -> list[str]:
    return sorted({counter for row in rows for counter in row.counters})


def kinds_of(rows: Iterable[Row]) -> list[str]:
    return sorted({kind for row in rows for kind in row.kinds})


def never_hit(rows: Iterable[Row], hits: Counter[str]) -> list[str]:
    return [counter for counter in counters_of(rows) if not hits[counter]]


def table(rows: Iterable[Row], hits: Counter[str], drawn: Counter[str]) -> list[str]:
    """Lines for people: each row, and what it came to."""
    lines = []
    for row in rows:
        lines.append(f"  {row.ids or '-':12} {row.what}")
        if row.kinds:
            lines.append(f"  {'':12}   drawn {sum(drawn[kind] for kind in row.kinds)} times: {', '.join(row.kinds)}")
        lines += [
            f"  {'':12}   {hits[counter]:9} {counter}{'' if hits[counter] else '   never hit'}"
            for counter in row.counters
        ]
        lines += [f"  {'':12}   shown by {test}" for test in row.shown_by]
    return lines
