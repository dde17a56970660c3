"""`witness demo`: runs the story, shows or keeps what was started, and leaves nothing behind.

Exit codes: 0 when all of it held, 1 when an expectation failed (the logs are kept and named), 130 or 143 when it was
interrupted. Whatever happens, every process that was started is ended before this one ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time
from pathlib import Path

from proto.errors import BadValue
from proto.limits import TTL_MS_MAX
from witness.demo.eyes import Expected, open_eyes
from witness.demo.findings import Findings
from witness.demo.keep import say_kept
from witness.demo.layout import Layout
from witness.demo.phases import PHASES
from witness.demo.processes import Fleet
from witness.demo.show import Show
from witness.demo.story import Story
from witness.demo.world import World

TTL_MS_LOWEST = 1_000
TAIL_LINES = 8
TAIL_BYTES = 4_096
_TTL = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|)")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parse_ttl(text: str) -> int:
    """'3', '3s', '2.5s' or '2500ms' as milliseconds; raises BadValue."""
    found = _TTL.fullmatch(text.strip())
    remedy = "write for example --ttl 3s"
    if found is None:
        raise BadValue("--ttl", text, "a number of seconds is expected", remedy)
    ttl_ms = round(float(found[1]) * (1 if found[2] == "ms" else 1_000))
    if not TTL_MS_LOWEST <= ttl_ms <= TTL_MS_MAX:
        rule = f"must lie between {TTL_MS_LOWEST} ms, which outlasts the election of a leader, and {TTL_MS_MAX} ms"
        raise BadValue("--ttl", text, rule, remedy)
    return ttl_ms


def run_demo(*, as_json: bool, keep: bool, ttl: str) -> int:
    ttl_ms = parse_ttl(ttl)
    return asyncio.run(_Demo(ttl_ms, as_json=as_json, keep=keep).run())


class _Demo:
    def __init__(self, ttl_ms: int, *, as_json: bool, keep: bool) -> None:
        self._as_json = as_json
        self._keep = keep
        self._show = Show()
        self._findings = Findings(ttl_s=ttl_ms / 1_000)
        self._ttl_ms = ttl_ms
        self._interrupted: signal.Signals | None = None
        self._began = time.monotonic()

    async def run(self) -> int:
        fleet = Fleet()
        layout = Layout(self._ttl_ms)
        world = World(layout, fleet, open_eyes(layout))
        story = asyncio.create_task(self._tell(world))
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._interrupt, number, story)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await story
        finally:
            await world.end()
        return self._conclude(layout)

    def _interrupt(self, number: signal.Signals, story: asyncio.Task[None]) -> None:
        """Once; afterwards cleaning up is not to be interrupted, it is bounded."""
        if self._interrupted is None:
            self._interrupted = signal.Signals(number)
            story.cancel()

    async def _tell(self, world: World) -> None:
        show, story = self._show, Story(world, self._show, self._findings)
        show.title(f"thirdsite demo: three witnesses, two sites, one license; lease {self._findings.ttl_s:g} s")
        try:
            await story.set_up()
            await story.join()
            for phase in PHASES:
                await phase(story)
        except Expected as failed:
            self._findings.expectation = str(failed)
            show.fail(str(failed))
            self._say_tails(world.layout)
        if self._keep:
            self._say_result()
            say_kept(world, show)
            await asyncio.Event().wait()

    def _conclude(self, layout: Layout) -> int:
        if self._interrupted is not None and not self._keep:
            self._findings.expectation = f"interrupted by {self._interrupted.name}"
            self._show.fail(f"{self._findings.expectation}; everything was stopped")
        failed = self._findings.expectation is not None
        if failed and self._interrupted is None:
            self._show.say(f"logs, configurations and data are kept in {layout.root}")
        else:
            layout.remove()
        if not self._keep:
            self._say_result()
        if self._interrupted is not None and not self._keep:
            return 128 + self._interrupted
        return 1 if failed else 0

    def _say_result(self) -> None:
        wall_s = time.monotonic() - self._began
        if self._findings.expectation is None:
            self._show.title(f"All of it held, in {wall_s:.1f} s.")
        if self._as_json:
            print(json.dumps(self._findings.as_json(self._show.phases, wall_s)), flush=True)  # noqa: T201 - the result

    def _say_tails(self, layout: Layout) -> None:
        for log in sorted(layout.logs.glob("*.log")):
            lines = _tail(log)
            if lines:
                self._show.line(f"--- the end of {log.name}")
                for line in lines:
                    self._show.line(f"    {line}")


def _tail(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return [line[:300] for line in file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]]
