"""Whether each takeover was told once by every way, and how late, from the receivers' record and the ledger. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fencerig.activity import spread
from licenserig.license_receivers import WAYS

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Takeover:
    """The entry by which a site took its lease up."""

    number: int
    """Of the round."""
    entry: int
    at_ms: int
    """Wall clock, as the ledger's."""
    may_repeat: bool
    """The leader changed in that round: who tells then does not know what arrived."""


def read_told(lines: Iterable[str]) -> dict[str, dict[int, list[int]]]:
    """By way and entry when it arrived."""
    found: dict[str, dict[int, list[int]]] = {way: {} for way in WAYS}
    for line in lines:
        if line.endswith("\n") and (said := json.loads(line))["way"] in found:
            for entry in said["entries"]:
                found[said["way"]].setdefault(entry, []).append(said["at_ms"])
    return found


def judge_told(takeovers: Iterable[Takeover], told: Mapping[str, Mapping[int, list[int]]]) -> tuple[Json, list[str]]:
    """By way how often and how late, and what is wrong."""
    result, wrong = {}, []
    moves = list(takeovers)
    for way in WAYS:
        arrivals = {one: told[way].get(one.entry, []) for one in moves}
        delays = [float(at[0] - one.at_ms) for one, at in arrivals.items() if at]
        often = {one: len(at) for one, at in arrivals.items()}
        result[way] = {
            "takeovers": len(moves),
            "once": sum(count == 1 for count in often.values()),
            "missing": sum(count == 0 for count in often.values()),
            "repeated": sum(count > 1 for count in often.values()),
            "delay_ms": spread(delays),
        }
        wrong += [
            f"round {one.number}: entry {one.entry} was told {count} times by {way}"
            for one, count in often.items()
            if count == 0 or (count > 1 and not one.may_repeat)
        ]
    return result, wrong
