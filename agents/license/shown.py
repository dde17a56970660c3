"""What a site keeps of its licenses, as rows for people and programs: versions, names and words, never a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.license.keeper import LicenseKeeper
from proto.license import version_words

_HEADINGS = ("GROUP", "LICENSE", "ESCROW", "NEWEST", "HELD", "SEALED WITH", "SEEN HERE", "ACTIVATED", "PROBLEM")


def license_rows(keepers: Sequence[LicenseKeeper], said: dict[str, Any] | None) -> list[dict[str, Any]]:
    """`said`: the running agent's status, None without one."""
    return [_row(keeper, _told(keeper, said)) for keeper in keepers]


def _told(keeper: LicenseKeeper, said: dict[str, Any] | None) -> dict[str, Any]:
    for group in () if said is None else said["groups"]:
        for one in group.get("licenses", ()):
            if (group["group"], one["license"]) == (keeper.sealer.group, keeper.spec.name):
                found: dict[str, Any] = one
                return found
    return {}


def _row(keeper: LicenseKeeper, told: dict[str, Any]) -> dict[str, Any]:
    kept, escrow = keeper.kept(), keeper.escrow
    problem = told.get("problem") or ("store-damaged" if escrow.damaged else "")
    return {
        "group": keeper.sealer.group,
        "license": keeper.spec.name,
        "escrow": keeper.spec.escrow.value,
        "newest": version_words(None if kept.newest is None else kept.newest.version),
        "held": version_words(kept.held),
        "key_id": "" if kept.newest is None else kept.newest.key_id,
        "seen": version_words(escrow.seen),
        "activated": told.get("activated"),
        "problem": problem or keeper.key_problem,
    }


def rows_text(rows: Sequence[dict[str, Any]]) -> str:
    activated = {True: "yes", False: "no", None: "-"}
    cells = [
        (
            *(str(row[name]) for name in ("group", "license", "escrow", "newest", "held")),
            row["key_id"] or "-",
            row["seen"],
            activated[row["activated"]],
            row["problem"] or "-",
        )
        for row in rows
    ]
    widths = [max(len(line[at]) for line in (_HEADINGS, *cells)) for at in range(len(_HEADINGS))]
    return "\n".join(_line(line, widths) for line in (_HEADINGS, *cells))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
