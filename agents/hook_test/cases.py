"""The cases of a hook test, in their order: dry run, first run, retry, duplicate, crash at several moments, timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agents.fencing.init_loop import STEP_KILL_GRACE_NS
from agents.hook_test import judge
from agents.hook_test.judge import Finding, Run, Verdict
from agents.hook_test.stage import DRY, Stage, Subject, opened
from proto.units import NS_PER_MS

TERM_GRACE_MS = STEP_KILL_GRACE_NS // NS_PER_MS
CUT_MS_MIN = 10
"""A step's least timeout in a configuration, too."""


async def hook_test(
    subject: Subject, *, kills: int, dry: bool = True, progress: Callable[[str], None] = lambda _text: None
) -> list[Finding]:
    """Raises LocalFault when --state or --reset fail, GuardError when no guard can be had."""
    async with opened(subject) as stage:
        found: list[Finding] = []
        if dry:
            progress("dry run")
            await stage.reset()
            before = await stage.state()
            found += judge.dry_run(await stage.run(env=DRY), before)
        progress("first run and retry")
        await stage.reset()
        first = await stage.run()
        found += judge.first_run(first)
        if stage.weak:
            found.append(Finding("guard", Verdict.NOTE, stage.weak))
        if not first.result.ok:
            return [*found, Finding("others", Verdict.SKIPPED, judge.no_further(dry=dry, reset=bool(subject.reset)))]
        found += judge.again("retry", first, await stage.run(), "run again at once")
        progress("two at once")
        found += await _duplicate(stage, first)
        for number in range(1, kills + 1):
            progress(f"killed, {number} of {kills}")
            found += await _crash(stage, first, number / (kills + 1))
        progress("timeout")
        return found + await _timeout(stage, first)


async def _duplicate(stage: Stage, first: Run) -> list[Finding]:
    await stage.reset()
    await stage.warm()
    runs = await asyncio.gather(stage.run(), stage.run())
    return judge.together(first, sorted(runs, key=lambda run: run.took_ms))


async def _crash(stage: Stage, first: Run, part: float) -> list[Finding]:
    await stage.reset()
    await stage.warm()
    after_ms = first.took_ms * part
    if not await stage.run_and_kill(after_ms):
        return [Finding("crash", Verdict.SKIPPED, f"killed after {after_ms:.0f} ms: it had ended by then")]
    return judge.again("crash", first, await stage.run(), f"killed after {after_ms:.0f} ms, then run again")


async def _timeout(stage: Stage, first: Run) -> list[Finding]:
    await stage.reset()
    await stage.warm()
    timeout_ms = max(CUT_MS_MIN, first.took_ms // 2)
    cut = await stage.run(timeout_ms=timeout_ms)
    found = judge.cut_by_timeout(cut, TERM_GRACE_MS, timeout_ms)
    if cut.result.ok:
        return found
    return found + judge.again("timeout", first, await stage.run(), f"cut at {timeout_ms} ms, then run again")
