"""Runs the scenarios that were chosen: one rig for each variant, one trial after the other, judged as they end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fencerig.activity import spread
from fencerig.fence_layout import FenceLayout, Variant
from fencerig.fence_trial import Outcome, Scenario
from fencerig.fence_world import FenceWorld

from proto.errors import LocalFault
from witness.demo.eyes import Expected
from witness.demo.processes import Fleet

Json = dict[str, Any]
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PARTS = ("stop", "end")


@dataclass(slots=True)
class Options:
    ttl_ms: int
    trials: int
    """Of each scenario of the part `stop`."""
    end_trials: int
    seed: int
    keep: bool

    def trials_of(self, scenario: Scenario) -> int:
        return self.trials if scenario.part == "stop" else self.end_trials


@dataclass(slots=True)
class Results:
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    ttl_ms: dict[str, int] = field(default_factory=dict)
    not_tried: dict[str, str] = field(default_factory=dict)
    looks: Json = field(default_factory=dict)
    """Of the referees, summed."""
    failed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def add_looks(self, told: Json) -> None:
        for name, value in told.items():
            before = self.looks.get(name, 0)
            self.looks[name] = max(before, value) if name == "longest_ms" else before + value


class Run:
    """`perform` returns when all is done, when something failed, or when a signal came; nothing runs afterwards."""

    def __init__(self, scenarios: list[Scenario], options: Options, say: Callable[[str], None]) -> None:
        self.scenarios = scenarios
        self.options = options
        self.results = Results()
        self.signalled: signal.Signals | None = None
        self.load: list[float] = []
        self._say = say
        self._began = time.monotonic()

    @property
    def wall_s(self) -> float:
        return round(time.monotonic() - self._began, 1)

    async def perform(self) -> None:
        work = asyncio.create_task(self._all())
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt, number, work)
        with contextlib.suppress(asyncio.CancelledError):
            await work

    def _interrupt(self, number: int, work: asyncio.Task[None]) -> None:
        """Once; afterwards cleaning up is not to be interrupted, it is bounded."""
        if self.signalled is None:
            self.signalled = signal.Signals(number)
            work.cancel()

    async def _all(self) -> None:
        wanted: dict[Variant, list[Scenario]] = {}
        for scenario in self.scenarios:
            why = scenario.needs()
            if why:
                self.results.not_tried[scenario.name] = why
                self._say(f"{scenario.name}: not tried: {why}")
            else:
                wanted.setdefault(scenario.variant, []).append(scenario)
        for variant, scenarios in wanted.items():
            await self._with_rig(variant, scenarios)

    async def _with_rig(self, variant: Variant, scenarios: list[Scenario]) -> None:
        """A rig in which a promise broke is of no more use; the other rigs are tried all the same."""
        layout = FenceLayout(self.options.ttl_ms, variant)
        world = FenceWorld(layout, Fleet())
        failed = True
        try:
            await world.start()
            for scenario in scenarios:
                self.results.ttl_ms[scenario.name] = layout.ttl_ms
                await self._trials(world, scenario)
            self.results.add_looks((await world.report()).looks)
            failed = False
        except (Expected, LocalFault, OSError, TimeoutError) as fault:
            self._fail(f"rig {variant.name}: {type(fault).__name__}: {fault}")
        finally:
            await world.end()
            if self.options.keep or (failed and self.signalled is None):
                self.results.kept.append(str(layout.root))
                self._say(f"kept: {layout.root}")
            else:
                layout.remove()

    async def _trials(self, world: FenceWorld, scenario: Scenario) -> None:
        """Trials whose deadline is not known count, and as many are made beside them, up to twice the number."""
        wanted = self.options.trials_of(scenario)
        for number in range(2 * wanted):
            done = self.results.outcomes.get(scenario.name, [])
            if len([one for one in done if one.deadline_known or not scenario.has_deadline]) >= wanted:
                return
            await self._trial(world, scenario, number)

    async def _trial(self, world: FenceWorld, scenario: Scenario, number: int) -> None:
        rng = random.Random(f"{self.options.seed}-{scenario.name}-{number}")
        self.load.append(os.getloadavg()[0])
        where = f"{scenario.name} {number + 1}/{self.options.trials_of(scenario)}"
        try:
            outcome = await scenario.run(world, rng)
        except Expected as fault:
            raise Expected(f"{where}: {fault}") from fault
        self.results.outcomes.setdefault(scenario.name, []).append(outcome)
        self._say(f"{where}: {line_of(outcome)}; {self.wall_s:.0f} s")
        for broken in judged(scenario, outcome):
            self._fail(f"{where}: {broken}")

    def _fail(self, text: str) -> None:
        self.results.failed.append(text)
        self._say(f"FAILED {text}")

    # -- the result -----------------------------------------------------------------------------------------

    @property
    def ok(self) -> bool:
        return not self.results.failed and self.signalled is None

    def told(self) -> Json:
        results = self.results
        return {
            "ok": self.ok,
            "ttl_ms": self.options.ttl_ms,
            "seed": self.options.seed,
            "cores": os.cpu_count(),
            "load": spread(self.load),
            "referee_looks": results.looks,
            "scenarios": {
                one.name: summary(one, results.outcomes[one.name], results.ttl_ms[one.name])
                for one in self.scenarios
                if one.name in results.outcomes
            },
            "not_tried": results.not_tried,
            "failed": results.failed,
            "interrupted": None if self.signalled is None else self.signalled.name,
            "kept": results.kept,
            "wall_s": self.wall_s,
        }


def judged(scenario: Scenario, outcome: Outcome) -> list[str]:
    """What broke."""
    broken = []
    if outcome.dual_signs_ms > 0:
        broken.append(f"two epochs executed at once for {outcome.dual_signs_ms:.1f} ms")
    if not scenario.alive_excused and (outcome.dual_alive_ms > 0 or outcome.dual_looks > 0):
        broken.append(f"two epochs existed at once for {outcome.dual_alive_ms:.1f} ms, {outcome.dual_looks} looks")
    if outcome.last_sign_ms is not None and outcome.last_sign_ms > outcome.deadline_known_ms:
        broken.append(f"the platform executed {outcome.last_sign_ms:.1f} ms after its deadline")
    return broken


def line_of(outcome: Outcome) -> str:
    figures = {
        "last sign": outcome.last_sign_ms,
        "gone": outcome.gone_ms,
        "takeover": outcome.takeover_ms,
        **{name.removesuffix("_ms").replace("_", " "): value for name, value in outcome.more.items()},
    }
    said = ", ".join(f"{name} {value:.1f}" for name, value in figures.items() if value is not None)
    dual = f"dual {outcome.dual_alive_ms:.1f}/{outcome.dual_signs_ms:.1f} ms, {outcome.dual_looks} looks"
    return f"{outcome.ended_by}; {said} ms; {dual}"


def summary(scenario: Scenario, outcomes: list[Outcome], ttl_ms: int) -> Json:
    keys = dict.fromkeys(key for one in outcomes for key in one.more)
    return {
        "says": scenario.says,
        "trials": len(outcomes),
        "ttl_ms": ttl_ms,
        "ended_by": dict(sorted(_counted([one.ended_by for one in outcomes]).items())),
        "last_sign_ms": spread([one.last_sign_ms for one in outcomes if one.last_sign_ms is not None]),
        "gone_ms": spread([one.gone_ms for one in outcomes if one.gone_ms is not None]),
        "takeover_ms": spread([one.takeover_ms for one in outcomes if one.takeover_ms is not None]),
        "dual_alive_ms": round(sum(one.dual_alive_ms for one in outcomes), 1),
        "dual_signs_ms": round(sum(one.dual_signs_ms for one in outcomes), 1),
        "dual_looks": sum(one.dual_looks for one in outcomes),
        "alive_excused": scenario.alive_excused,
        "deadline_known": sum(one.deadline_known for one in outcomes),
        "deadline_known_ms": spread([one.deadline_known_ms for one in outcomes if one.deadline_known]),
        "more": {key: spread([one.more[key] for one in outcomes if key in one.more]) for key in keys},
        "verified_by": scenario.verified_by,
        "notes": list(dict.fromkeys(note for one in outcomes for note in one.notes)),
        "all": [one.told() for one in outcomes],
    }


def _counted(words: list[str]) -> dict[str, int]:
    return {word: words.count(word) for word in words}
