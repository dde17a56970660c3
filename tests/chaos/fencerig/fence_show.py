"""The result as two tables of text that also are tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def table(told: Json) -> Iterator[str]:
    looks, load = told["referee_looks"], told["load"]
    yield f"{told['cores']} cores, load {three(load)}; seed {told['seed']}; {told['wall_s']:.0f} s"
    yield f"referee: {looks}"
    yield ""
    yield "| row | ttl | trials | ended by | last sign | gone | takeover | two at once | more |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, one in told["scenarios"].items():
        ended = "; ".join(f"{words} ({count})" for words, count in one["ended_by"].items())
        more = "; ".join(f"{key.removesuffix('_ms')} {three(value)}" for key, value in one["more"].items())
        dual = f"{one['dual_signs_ms']:g} ms" if one["alive_excused"] else f"{one['dual_alive_ms']:g} ms"
        figures = " | ".join(three(one[key]) for key in ("last_sign_ms", "gone_ms", "takeover_ms"))
        yield f"| `{name}` | {one['ttl_ms']} | {one['trials']} | {ended} | {figures} | {dual} | {more} |"
    for name, why in told["not_tried"].items():
        yield f"| `{name}` | | 0 | not tried: {why} | | | | | |"
    yield ""
    yield "min / median / max in ms; last sign and gone against the deadline of the lease, negative before it"
    for failed in told["failed"]:
        yield f"FAILED {failed}"
    if told["interrupted"]:
        yield f"interrupted by {told['interrupted']}; everything was stopped"


def three(values: Json | None) -> str:
    return "" if values is None else f"{values['min']:g} / {values['median']:g} / {values['max']:g}"
