"""The plan of a run: which faults, in which order, from one seed; and how the simulator plays the same.

Rule: the plan is drawn before anything runs, from the Hypothesis strategies of tests/sim (`sim_real_kinds.py`): one
seed, one set of kinds and one ttl are one plan, whatever time anything takes. Kinds come in turn, in an order of the
seed's own, so that a short run has many of them; one step in three has two faults at once.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import hypothesis
from chaosrig.chaos_fault import Kind
from chaosrig.chaos_layout import UNHEALTHY_MS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

SIM = Path(__file__).resolve().parents[2] / "sim"
if str(SIM) not in sys.path:
    sys.path.insert(0, str(SIM))  # there are no packages in tests/
from sim_real_kinds import lines  # noqa: E402  # after the line above

EXAMPLES = 6
"""The last of so many: the first ones of Hypothesis are the simplest."""
PAIR_SHARE = 1 / 3
THIRD_LOCATION = ("H1", "H2")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    line: str
    after_ms: int
    """After the step's first fault."""


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    faults: tuple[Fault, ...]
    wait_ms: int
    """Within a renewal period, before the first fault."""
    age_ms: int | None = None
    """Of the active site's lease when the first fault is made; None: whatever it is after `wait_ms`."""

    @property
    def name(self) -> str:
        return " + ".join(fault.kind for fault in self.faults)

    def told(self) -> str:
        return " & ".join(
            f"{fault.line} (after {fault.after_ms} ms)" if fault.after_ms else fault.line for fault in self.faults
        )


def make_plan(kinds: Sequence[Kind], faults: int, seed: int, ttl_ms: int) -> list[Step]:
    choose = random.Random(f"chaos-{seed}")
    strategies = lines(ttl_ms)
    turn: list[Kind] = []
    steps: list[Step] = []
    left = faults
    while left > 0:
        number = len(steps) + 1
        chosen = [_next(turn, kinds, choose)]
        wants_two = left > 1 and not chosen[0].alone and choose.random() < PAIR_SHARE
        if wants_two and (second := _partner(chosen[0], turn)) is not None:
            chosen.append(second)
        drawn = [_draw(strategies[kind.name], f"{seed}-{number}-{kind.name}") for kind in chosen]
        after = [0, *(choose.randrange(ttl_ms) for _ in chosen[1:])]
        made = tuple(Fault(kind.name, line, ms) for kind, line, ms in zip(chosen, drawn, after, strict=True))
        steps.append(Step(number, made, choose.randrange(max(1, ttl_ms // 3))))
        left -= len(chosen)
    return steps


def third_location(span_ms: int, ttl_ms: int) -> list[Step]:
    """No site reaches a witness for `span_ms`; then the sites do not reach each other either, for three leases."""
    link_ms = 3 * ttl_ms
    witnesses, link = (f"cut sites witnesses {ms}ms" for ms in (span_ms + link_ms, link_ms))
    first, second = THIRD_LOCATION
    return [Step(1, (Fault(first, witnesses, 0), Fault(second, link, span_ms)), 0)]


def with_line(plan: Sequence[Step], line: str) -> list[Step]:
    """The same instants and another line: what a finding, or somebody who wants ten minutes of it, says."""
    return [replace(step, faults=tuple(replace(fault, line=line) for fault in step.faults)) for step in plan]


def _next(turn: list[Kind], kinds: Sequence[Kind], choose: random.Random) -> Kind:
    if not turn:
        turn += choose.sample(list(kinds), len(kinds))
    return turn.pop()


def _partner(first: Kind, turn: list[Kind]) -> Kind | None:
    for kind in reversed(turn):
        if not kind.alone and kind.name.split("-")[0] != first.name.split("-")[0]:
            turn.remove(kind)
            return kind
    return None


def _draw(strategy: SearchStrategy[T], name: str) -> T:
    found: list[T] = []

    @hypothesis.seed(name)
    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def take(example: T) -> None:
        found.append(example)

    take()
    return found[-1]


def simulator_line(step: Step, ttl_ms: int) -> str:
    """What plays this step in the simulator."""
    asks = [
        f"cluster ttl={ttl_ms}ms unhealthy-for={UNHEALTHY_MS}ms seed=0",
        f"run {2 * ttl_ms + 5_000 + step.wait_ms}ms",
    ]
    for fault in step.faults:
        if fault.after_ms:
            asks.append(f"run {fault.after_ms}ms")
        asks.append(fault.line)
        if fault.line.startswith("platform standby"):
            asks += ["switchover standby", f"run {2 * ttl_ms}ms"]
    asks += [f"run {2 * ttl_ms}ms", "settle"]
    return f"python -m witness.sim.scenario -c '{'; '.join(asks)}'"
