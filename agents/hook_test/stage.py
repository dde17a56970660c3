"""Runs a script as a plan would: in a guard, in its namespace, with a step's environment; and kills it on request.

Rule: everything it starts is dead when the stage ends. The guard holds no lease of anybody: it is armed for the
length of the test and lives in a directory of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from agents.actions.plans import GroupPlans
from agents.actions.step_log import fresh_log, tail
from agents.actions.steps import step_of
from agents.fencing import process_table
from agents.fencing.base import GuardError, Step
from agents.fencing.guard_client import GuardHandle
from agents.hook_test.judge import Run
from agents.probes.command import run_command
from agents.settings import StepSpec
from proto.clock import SystemClock
from proto.errors import LocalFault
from proto.timing import LocalDeadlines
from proto.units import NS_PER_MS, NS_PER_S, Epoch, GroupId, InstantNs, SiteId

GROUP = "hook-test"
ARMED_NS = 3_600 * NS_PER_S
DRY = {"THIRDSITE_DRY_RUN": "1"}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested and what it is told."""

    spec: StepSpec
    group: GroupId
    site: SiteId
    epoch: Epoch
    cause: str
    state: str
    """A shell command that prints the state which the script changes, '' for none."""
    reset: str
    """A shell command that brings back the beginning, '' for none."""


class Stage:
    """Owned by one test; made by `opened`."""

    def __init__(self, subject: Subject, directory: Path) -> None:
        self.subject = subject
        self.directory = directory
        self.temporary = directory / "tmp"
        self.weak = ""
        self._clock = SystemClock()
        self._guard: GuardHandle | None = None
        self._number = 0
        self._plans = GroupPlans(
            group=subject.group,
            site=subject.site,
            enforce=True,
            activation=(),
            deactivation=(),
            checks=(),
            log_dir=directory / "logs",
        )

    async def run(self, *, timeout_ms: int | None = None, env: dict[str, str] | None = None) -> Run:
        """To its end, whatever that is."""
        guard, step = await self._living(), self._step(timeout_ms, env or {})
        began = self._clock.now()
        result = await guard.run_step(step)
        took_ms = (self._clock.now() - began) // NS_PER_MS
        return Run(
            result=result,
            took_ms=took_ms,
            state=await self.state(),
            files=self._files(),
            processes=max(0, len(process_table.descendants(guard.init_pid))) if guard.init_pid else 0,
            said=tail(step.log_path),
        )

    async def run_and_kill(self, after_ms: float) -> bool:
        """KILL to everything after so long, the guard included; False when the script had ended before."""
        guard, step = await self._living(), self._step(None, {})
        running = asyncio.create_task(guard.run_step(step))
        done, _ = await asyncio.wait({running}, timeout=after_ms / 1_000)
        await self.end()
        await asyncio.wait({running})
        running.exception()
        return not done

    async def warm(self) -> None:
        """Its guard stands, so that the next run begins at once."""
        await self._living()

    async def state(self) -> str | None:
        if not self.subject.state:
            return None
        seen = await run_command(("/bin/sh", "-c", self.subject.state), self.subject.spec.timeout_ms)
        if seen.exit_code != 0:
            raise LocalFault(f"--state {self.subject.state!r}: {seen.words}: it must print the state and exit with 0")
        return hashlib.sha256(seen.output.encode()).hexdigest()

    async def reset(self) -> None:
        await self.end()
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(mode=0o700)
        if self.subject.reset:
            done = await run_command(("/bin/sh", "-c", self.subject.reset), self.subject.spec.timeout_ms)
            if done.exit_code != 0:
                raise LocalFault(f"--reset {self.subject.reset!r}: {done.words}: it must exit with 0")

    async def end(self) -> None:
        """Everything that the script left running, too."""
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.fence()
            await guard.release()

    def _step(self, timeout_ms: int | None, env: dict[str, str]) -> Step:
        self._number += 1
        subject, spec = self.subject, self.subject.spec
        about = self._plans.about(subject.epoch, subject.cause, f"activate-{subject.epoch}-1")
        about |= {"TMPDIR": str(self.temporary)} | env
        log = fresh_log(self._plans.log_dir, str(self._number))
        return step_of(spec, spec.argv, f"1-test-{self._number}", about, self._rungs, log, timeout_ms)

    async def _living(self) -> GuardHandle:
        if self._guard is not None:
            return self._guard
        guard = await GuardHandle.spawn(GROUP, self.directory)
        ends = InstantNs(self._clock.now() + ARMED_NS)
        self._rungs = LocalDeadlines(ends, ends, InstantNs(ends + NS_PER_S))
        await guard.arm(1, self._rungs.stop_at, self._rungs.kill_at, self._rungs.deadline)
        self.weak = "" if "namespace" in guard.containment.value else guard.note
        self._guard = guard
        return guard

    _rungs: LocalDeadlines | None = None

    def _files(self) -> tuple[str, ...]:
        found = (path for path in self.temporary.rglob("*") if not path.is_dir())
        return tuple(sorted(str(path.relative_to(self.temporary)) for path in found))


@contextlib.asynccontextmanager
async def opened(subject: Subject) -> AsyncIterator[Stage]:
    directory = Path(tempfile.mkdtemp(prefix="thirdsite-hook-test-"))
    stage = Stage(subject, directory)
    stage.temporary.mkdir(mode=0o700)
    try:
        yield stage
    finally:
        with contextlib.suppress(GuardError):
            await stage.end()
        shutil.rmtree(directory, ignore_errors=True)
