"""How `witnessctl timing` looks on a terminal: timers, every inequality with its numbers, the takeover as a bar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proto.takeover import Phase
from proto.units import NS_PER_MS
from witness.ctl.render import table
from witness.timing.compiler import Compiled, Refusal
from witness.timing.timers import Timers

if TYPE_CHECKING:
    from witness.ctl.timing import Report

BAR_CELLS = 32


def draw(report: Report) -> RenderableType:
    return Group(*_parts(report))


def _parts(report: Report) -> Iterator[RenderableType]:
    if report.refusal is not None:
        yield from _refusal(report.refusal)
    if report.compiled is None:
        return
    compiled = report.compiled
    yield _timers(compiled.timers)
    if report.current is not None and report.current.ttl_ms != compiled.timers.ttl_ms:
        yield Text(f"the group's ttl is {report.current.ttl_ms} ms now", "yellow")
    yield Text("")
    yield _inequalities(compiled)
    yield Text("")
    yield Text(f"takeover_max {compiled.takeover_max_ms:.0f} ms, with delays {report.source}:", "bold")
    yield _phases(compiled)
    if compiled.wish.activation_ms == 0:
        yield Text("the other site's activation comes on top: say it with activation=...", "dim")
    yield from _estimates(report)
    for warned in report.warnings:
        yield Text(f"warning: {warned.words()}", "yellow")


def _refusal(refusal: Refusal) -> Iterator[RenderableType]:
    yield Text("refused", "bold red")
    for one in refusal.broken:
        yield Text(f"  {one.words()}: {one.rule}; {one.remedy}", "red")
    for wish in refusal.nearest:
        yield Text(f"  can be met: {wish.words()}", "green")


def _timers(timers: Timers) -> Table:
    made = table("TIMER", "MS", "WHERE")
    rows = (
        ("ttl", timers.ttl_ms, "groups.yaml: ttl"),
        ("clocks may be off by", f"{timers.drift_max_ppm / 10_000:g} %", "groups.yaml: drift_max"),
        ("lock delay", timers.lock_delay_ms, "groups.yaml: lock_delay"),
        ("renewal every", timers.renew_ms, "follows from ttl"),
        ("answer awaited for", timers.answer_wait_ms, "follows from round trips"),
        ("stop budget", timers.stop_budget_ms, "the agent's configuration, or by default"),
        ("kill budget", timers.kill_budget_ms, "the agent's configuration, or by default"),
        ("kernel's floor", timers.floor_ms, "fixed"),
        ("watchdog may reset from", timers.watchdog_ms, "fixed, before the deadline"),
        ("reset before", timers.reset_ms, "the agent's configuration"),
        ("witnesses wait (D)", timers.witness_wait_ms, "follows from ttl, drift and lock delay"),
        ("longest election timeout", timers.election_max_ms, "witness.yaml: raft, stretched by round trips"),
    )
    for name, value, where in rows:
        if value is not None:
            made.add_row(name, str(value), Text(where, "dim"))
    return made


def _inequalities(compiled: Compiled) -> Table:
    made = table("INEQUALITY", "", "NUMBERS (ms)", "RULE")
    for one in compiled.inequalities:
        mark = Text("ok", "green") if one.holds else Text("BROKEN", "bold red")
        sign = "<=" if one.holds else ">"
        numbers = f"{one.left} {one.left_ms:g} {sign} {one.right_ms:g} {one.right}"
        made.add_row(one.name, mark, numbers, one.rule if one.holds else Text(f"{one.rule}: {one.remedy}", "red"))
    return made


def _phases(compiled: Compiled) -> Table:
    made = table("PHASE", "MS")
    made.add_column("", no_wrap=True, min_width=BAR_CELLS)
    made.add_column("WHAT", overflow="ellipsis", no_wrap=True)
    shown = [phase for phase in compiled.phases if phase.ns]
    total_ns = sum(phase.ns for phase in shown)
    before_ns = 0
    for phase in shown:
        made.add_row(phase.name, f"{phase.ns / NS_PER_MS:.0f}", _bar(phase, before_ns, total_ns), phase.words)
        before_ns += phase.ns
    return made


def _bar(phase: Phase, before_ns: int, total_ns: int) -> Text:
    """Where in the takeover the phase lies."""
    begin, end = before_ns * BAR_CELLS // total_ns, (before_ns + phase.ns) * BAR_CELLS // total_ns
    cells = max(1, end - begin)
    begin = min(begin, BAR_CELLS - cells)
    return Text(" " * begin) + Text("█" * cells, "cyan") + Text(" " * (BAR_CELLS - begin - cells))


def _estimates(report: Report) -> Iterator[RenderableType]:
    if not report.false_takeovers:
        return
    yield Text("")
    yield Text("takeovers from a healthy site, by what was measured (docs/operating/timing.md says what that means):")
    for one in report.false_takeovers:
        yield Text(f"  {one.words()}", "red" if one.too_late else "")
