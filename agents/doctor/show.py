"""The doctor's findings as a table for people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.doctor.finding import Finding, Severity

_STYLE = {Severity.BROKEN: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def findings_view(findings: list[Finding]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, ratio in (("", None), ("WHAT", 5), ("WHY IT MATTERS", 4), ("DO", 4)):
        table.add_column(heading, ratio=ratio, overflow="fold")
    for one in findings:
        where = f"{one.group}: " if one.group and one.group != one.subject else ""
        table.add_row(
            Text(one.severity.value, style=_STYLE[one.severity]),
            Text.assemble((f"{where}{one.subject}", "bold"), f" {one.what}"),
            Text.assemble((f"{one.promise.value}: ", "italic"), one.why),
            one.remedy,
        )
    return Group(table, Text(summary(findings), style="bold"))


def summary(findings: list[Finding]) -> str:
    counts = {severity: sum(one.severity is severity for one in findings) for severity in Severity}
    if counts[Severity.BROKEN]:
        return f"{counts[Severity.BROKEN]} would break a promise on this host, {counts[Severity.WARNING]} warnings"
    if counts[Severity.WARNING]:
        return f"nothing breaks a promise on this host; {counts[Severity.WARNING]} warnings"
    return "nothing found that would break a promise on this host"
