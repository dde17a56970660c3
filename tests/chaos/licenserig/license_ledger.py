"""The proof at the end: `witnessctl license verify` over what happened; a file that was tampered with is refused.

Three copies of the exported evidence: an entry that is changed, one that is left out, two that changed places. Each
must be refused with the number of the first entry that does not follow from the one before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from licenserig.license_layout import GROUP
from licenserig.license_world import World

Json = dict[str, Any]


def _changed(entries: list[Json], at: int) -> int:
    entries[at]["text"] += " and nothing else"
    return int(entries[at]["seq"])


def _left_out(entries: list[Json], at: int) -> int:
    del entries[at]
    return int(entries[at]["seq"])


def _swapped(entries: list[Json], at: int) -> int:
    entries[at], entries[at + 1] = entries[at + 1], entries[at]
    return int(entries[at]["seq"])


TAMPERED: dict[str, Callable[[list[Json], int], int]] = {
    "changed": _changed,
    "left-out": _left_out,
    "swapped": _swapped,
}
"""Each returns the entry that has to be named."""


def tampered(evidence: Json, how: str, at: int) -> tuple[Json, int]:
    """A copy with the entry at that place tampered with, and which entry has to be named."""
    copy = deepcopy(evidence)
    return copy, TAMPERED[how](copy["events"], at)


def prove(world: World, place: float) -> tuple[Json, list[str]]:
    """What was proved, and what was not as it must be. `place` (0 to 1) chooses the entry that is tampered with."""
    wrong: list[str] = []
    code, said, complaint = world.operator("license", "verify", GROUP, "--json")
    verdict = json.loads(said.splitlines()[-1]) if said else {}
    if code != 0 or not verdict.get("ok"):
        wrong.append(f"license verify: exit code {code}: {complaint or verdict.get('findings')}")
    file = world.root / "evidence.json"
    code, _, complaint = world.operator("license", "export", GROUP, "--out", str(file), "--json")
    if code != 0:
        return verdict, [*wrong, f"license export: exit code {code}: {complaint}"]
    evidence = json.loads(file.read_text(encoding="utf-8"))
    code, _, complaint = _judged(world, file)
    if code != 0:
        wrong.append(f"the exported file: exit code {code}: {complaint}")
    at = 1 + int(place * (len(evidence["events"]) - 3))  # neither the first, nor the last, nor the one before that
    refusals = {how: _refusal(world, evidence, how, at) for how in TAMPERED}
    wrong += [words for words in (refused["wrong"] for refused in refusals.values()) if words]
    return {
        "ok": bool(verdict.get("ok")),
        "complete": verdict.get("complete"),
        "entries": len(evidence["events"]),
        "intervals": len(verdict.get("intervals", [])),
        "tampered": refusals,
    }, wrong


def _refusal(world: World, evidence: Json, how: str, at: int) -> Json:
    copy, entry = tampered(evidence, how, at)
    file = world.root / f"evidence-{how}.json"
    file.write_text(json.dumps(copy), encoding="utf-8")
    code, _, complaint = _judged(world, file)
    refused = code == 1 and f"entry {entry}" in complaint
    wrong = "" if refused else f"evidence, {how}: exit code {code}, entry {entry} has to be named: {complaint}"
    return {"entry": entry, "said": complaint.splitlines()[-1] if complaint else "", "wrong": wrong}


def _judged(world: World, file: Path) -> tuple[int, str, str]:
    return world.operator("license", "verify", GROUP, "--file", str(file), "--json")
