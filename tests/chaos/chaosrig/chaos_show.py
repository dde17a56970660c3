"""The result of a run: one row for each kind, as a table of Markdown and as one object."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

from chaosrig.chaos_campaign import Campaign
from chaosrig.chaos_judge import Outcome
from chaosrig.chaos_kinds import KINDS
from fencerig.activity import spread

Json = dict[str, Any]


def told(campaign: Campaign, seed: int, replay: str) -> Json:
    """The last line of `--json`; the first five names are what others read."""
    outcomes = campaign.outcomes
    return {
        "faults": sum(len(one.step.faults) for one in outcomes),
        "dual_active_ms": round(sum(one.dual_alive_ms for one in outcomes), 3),
        "false_takeovers": sum(one.false_takeover for one in outcomes),
        "unrecovered": sum(one.unrecovered for one in outcomes),
        "by_kind": by_kind(outcomes),
        "ok": campaign.ok,
        "seed": seed,
        "ttl_ms": campaign.ttl_ms,
        "steps": len(outcomes),
        "recovery_ms": _figures(outcomes, "recovery_ms"),
        "failed": campaign.failed,
        "not_tried": campaign.not_tried,
        "referee_looks": campaign.looks,
        "load": spread([one.load for one in outcomes]),
        "cores": os.cpu_count(),
        "wall_s": campaign.wall_s,
        "kept": campaign.kept,
        "interrupted": signal.Signals(campaign.signalled).name if campaign.signalled else None,
        "replay": replay,
        "all": [one.told() for one in outcomes],
    }


def by_kind(outcomes: list[Outcome]) -> Json:
    """A step of two faults counts for both of its kinds; takeovers are those of steps that have this fault first."""
    names = [name for name in KINDS if any(name == fault.kind for one in outcomes for fault in one.step.faults)]
    return {
        name: _row([one for one in outcomes if name in [fault.kind for fault in one.step.faults]]) for name in names
    }


def _row(outcomes: list[Outcome]) -> Json:
    alone = [one for one in outcomes if len(one.step.faults) == 1]
    return {
        "faults": len(outcomes),
        "alone": len(alone),
        "dual_active_ms": round(sum(one.dual_alive_ms for one in outcomes), 3),
        "moved": sum(one.moved for one in outcomes),
        "false_takeovers": sum(one.false_takeover for one in outcomes),
        "unrecovered": sum(one.unrecovered for one in outcomes),
        "takeover_ms": _figures(alone, "takeover_ms"),
        "recovery_ms": _figures(alone, "recovery_ms"),
    }


def _figures(outcomes: list[Outcome], name: str) -> Json | None:
    return spread([value for one in outcomes if (value := getattr(one, name)) is not None])


def table(result: Json) -> Iterator[str]:
    run = f"ttl {result['ttl_ms']} ms, seed {result['seed']}; {result['wall_s']:.0f} s"
    yield f"{result['cores']} cores, load {three(result['load'])}; {run}"
    yield f"referee: {result['referee_looks']}"
    yield ""
    yield "| kind | what | faults | two at once | moved | false | takeover | recovery | not recovered |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, row in result["by_kind"].items():
        figures = f"{three(row['takeover_ms'])} | {three(row['recovery_ms'])}"
        counts = f"{row['faults']} | {row['dual_active_ms']:g} ms | {row['moved']} | {row['false_takeovers']}"
        yield f"| `{name}` | {KINDS[name].says} | {counts} | {figures} | {row['unrecovered']} |"
    for name, why in result["not_tried"].items():
        yield f"| `{name}` | not tried: {why} | 0 | | | | | | |"
    yield ""
    yield "least / median / greatest in ms, of steps with this fault alone; takeover: from it to the next first sign"
    yield (
        f"{result['faults']} faults in {result['steps']} steps: {result['dual_active_ms']:g} ms dual-active, "
        f"{result['false_takeovers']} false takeovers, {result['unrecovered']} not recovered"
    )
    for failed in result["failed"]:
        yield f"FAILED {failed}"
    if result["interrupted"]:
        yield f"interrupted by {result['interrupted']}; everything was stopped"


def three(values: Json | None) -> str:
    return "" if values is None else f"{values['min']:g} / {values['median']:g} / {values['max']:g}"
