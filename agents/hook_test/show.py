"""The findings for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.hook_test.judge import Finding, Verdict, worst

_STYLE = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.PROBLEM: "bold red", Verdict.SKIPPED: "dim"}
CLEAN = "nothing was found that keeps it from being a step"
UNCLEAN = "it is not safe as a step yet: see docs/operating/steps.md"


def as_dict(script: Sequence[str], findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "command": list(script),
        "idempotent": worst(findings) is not Verdict.PROBLEM,
        "findings": [{"case": one.case, "verdict": one.verdict.value, "words": one.words} for one in findings],
    }


def table(findings: Sequence[Finding]) -> RenderableType:
    rows = Table(box=None, pad_edge=False)
    for heading in ("CASE", "VERDICT", "WHAT WAS SEEN"):
        rows.add_column(heading, overflow="fold")
    for one in findings:
        rows.add_row(one.case, Text(one.verdict.value, style=_STYLE[one.verdict]), one.words)
    return Group(rows, Text(UNCLEAN if worst(findings) is Verdict.PROBLEM else CLEAN))
