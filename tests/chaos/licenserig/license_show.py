"""The result of a run: one row for each kind, as a table of Markdown and as one object."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

from fencerig.activity import spread
from licenserig.license_campaign import Campaign
from licenserig.license_outcome import Outcome
from licenserig.license_plan import KINDS

Json = dict[str, Any]


def told(campaign: Campaign, seed: int, ttl_ms: int, replay: str) -> Json:
    """The last line of `--json`; the first six names are what others read."""
    outcomes = campaign.outcomes
    return {
        "rounds": len(outcomes),
        "double_activation_ms": round(campaign.double_ms, 3),
        "keys_lost": sum(one.keys_lost for one in outcomes),
        "violations": campaign.violations,
        "by_kind": by_kind(outcomes),
        "ok": campaign.ok,
        "seed": seed,
        "ttl_ms": ttl_ms,
        "exchanges": campaign.exchanges,
        "seeded_anew": sum(one.seeded for one in outcomes),
        "proofs": campaign.proofs,
        "told": campaign.told,
        "failed": campaign.failed,
        "load": spread([one.load for one in outcomes]),
        "cores": os.cpu_count(),
        "wall_s": campaign.wall_s,
        "kept": campaign.kept,
        "interrupted": signal.Signals(campaign.signalled).name if campaign.signalled else None,
        "replay": replay,
        "all": [one.told() for one in outcomes],
    }


def by_kind(outcomes: list[Outcome]) -> Json:
    names = [name for name in KINDS if any(name == one.round.kind for one in outcomes)]
    return {name: _row([one for one in outcomes if one.round.kind == name]) for name in names}


def _row(outcomes: list[Outcome]) -> Json:
    return {
        "rounds": len(outcomes),
        "takeover_ms": _figures(outcomes, "takeover_ms"),
        "answer_ms": _figures(outcomes, "answer_ms"),
        "keys_lost": sum(one.keys_lost for one in outcomes),
        "double_activation_ms": round(sum(one.double_ms for one in outcomes), 3),
        "failed": sum(one.bad for one in outcomes),
    }


def _figures(outcomes: list[Outcome], name: str) -> Json | None:
    return spread([value for one in outcomes if (value := getattr(one, name)) is not None])


def table(result: Json) -> Iterator[str]:
    run = f"ttl {result['ttl_ms']} ms, seed {result['seed']}; {result['wall_s']:.0f} s"
    yield f"{result['cores']} cores, load {three(result['load'])}; {run}"
    yield ""
    yield "| kind | what | rounds | takeover | answers | keys lost | double activation | failed |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, row in result["by_kind"].items():
        figures = f"{three(row['takeover_ms'])} | {three(row['answer_ms'])}"
        counts = f"{row['keys_lost']} | {row['double_activation_ms']:g} ms | {row['failed']}"
        yield f"| `{name}` | {KINDS[name].says} | {row['rounds']} | {figures} | {counts} |"
    yield ""
    yield "least / median / greatest in ms after the blow, until the vendor let the other site in, and until it answers"
    yield (
        f"{result['rounds']} rounds, {result['exchanges']} keys: {result['keys_lost']} lost, "
        f"{result['double_activation_ms']:g} ms double activation, {result['violations']} refusals of the vendor"
    )
    yield from _proof_lines(result)
    for failed in result["failed"]:
        yield f"FAILED {failed}"
    if result["interrupted"]:
        yield f"interrupted by {result['interrupted']}; everything was stopped"


def _proof_lines(result: Json) -> Iterator[str]:
    for proof in result["proofs"]:
        verdict = "proven" if proof.get("ok") else "NOT PROVEN"
        yield f"the ledger: {verdict}, {proof.get('entries')} entries, {proof.get('intervals')} intervals"
        for how, refused in proof.get("tampered", {}).items():
            yield f"an entry {how}: {refused['said']}"
    for ways in result["told"]:
        for way, row in ways.items():
            yield (
                f"told by {way}: {row['once']} of {row['takeovers']} takeovers once, {row['repeated']} repeated, "
                f"{row['missing']} missing; {three(row['delay_ms'])} ms after it"
            )


def three(values: Json | None) -> str:
    return "" if values is None else f"{values['min']:g} / {values['median']:g} / {values['max']:g}"
