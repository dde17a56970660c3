"""What a mutant is: one safety rule broken on purpose, by a patch that lives in the test tree alone.

`focus` is what makes the rule matter: kinds of faults and a setup, never a hand-made trace. Whoever hunts it may run
`budget` schedules; it is killed by one of the checkers in `caught_as`, and only when the same schedule is clean
without the patch. A rule that no simulated schedule can show (`why` says it) names the tests that must fail.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "sim"))
sys.path.append(str(Path(__file__).parents[2]))  # tests import one another as tests.unit

import raft_broken_rules
import sim_broken_rules

from witness.sim import run as sim_run
from witness.sim.faults import FAULTS
from witness.sim.host.fitting import with_fitting
from witness.sim.raft import run as raft_run
from witness.sim.setup import NOTHING, Fitting

Patch = Callable[[pytest.MonkeyPatch], None]
Changes = tuple[tuple[str, Any], ...]
TESTS = Path(__file__).parents[1]
TESTS_ONLY = "tests"


@dataclass(frozen=True)
class SimFocus:
    """A plain two-site group under these faults (sim_broken_rules.setup_for), or other constants."""

    kinds: tuple[str, ...]
    caught_as: frozenset[str]
    budget: int
    drift_max_ppm: int = 10_000
    extreme: bool = False
    setup: Changes = ()
    group: Changes = ()
    fitting: Fitting = NOTHING

    campaign = "sim"

    def violations(self, seed: int) -> list[str]:
        setup = sim_broken_rules.setup_for(self, seed)
        groups = tuple(replace(config, **dict(self.group)) for config in setup.groups)
        setup = with_fitting(replace(setup, groups=groups, **dict(self.setup)), self.fitting)
        with pytest.MonkeyPatch.context() as patch:
            for name, fault in sim_broken_rules.EXTRA_FAULTS.items():
                patch.setitem(FAULTS, name, fault)
            return [violation.kind for violation in sim_run.run_schedule(seed, setup=setup).violations]


@dataclass(frozen=True)
class FuzzFocus:
    """As raft_broken_rules.setup_for draws it: constants of the seed, these faults, these changes."""

    kinds: tuple[str, ...]
    caught_as: frozenset[str]
    budget: int
    changes: Changes = ()

    campaign = "fuzz"

    def violations(self, seed: int) -> list[str]:
        setup = raft_broken_rules.setup_for(self, seed)
        return [violation.kind for violation in raft_run.run_schedule(seed, setup=setup).violations]


@dataclass(frozen=True)
class Mutant:
    name: str
    rule: str
    """The rule that it breaks, in one sentence."""
    where: str
    """Sections of docs/lease-safety.md or findings (D-n) that state the rule."""
    patch: Patch
    focus: SimFocus | FuzzFocus | None = None
    tests: tuple[str, ...] = ()
    """Node ids below tests/; at least one must fail."""
    why: str = ""
    """What the simulators cannot show of it, in one sentence, so that tests must."""

    @property
    def campaign(self) -> str:
        return TESTS_ONLY if self.focus is None else self.focus.campaign

    @property
    def budget(self) -> int:
        return 0 if self.focus is None else self.focus.budget


def sim_broken(name: str, rule: str, where: str) -> Mutant:
    """One of tests/sim/sim_broken_rules.py."""
    one = next(one for one in sim_broken_rules.BROKEN if one.name == name)
    focus = SimFocus(one.kinds, one.caught_as, one.budget, one.drift_max_ppm, one.extreme)
    return Mutant(name, rule, where, one.patch, focus)


def raft_broken(name: str, rule: str, where: str) -> Mutant:
    """One of tests/sim/raft_broken_rules.py."""
    one = next(one for one in raft_broken_rules.BROKEN if one.name == name)
    return Mutant(
        name.replace(" ", "-"), rule, where, one.patch, FuzzFocus(one.kinds, one.caught_as, one.budget, one.changes)
    )


def rewritten(function: FunctionType, old: str, new: str) -> Patch:
    """One expression of it is another one, whoever imported it by name."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(old) == 1, f"{function.__qualname__} has {old!r} {source.count(old)} times"
        place: dict[str, Any] = {}
        exec(compile(source.replace(old, new), function.__code__.co_filename, "exec"), function.__globals__, place)
        made = place[function.__name__]
        made = made.fget if isinstance(made, property) else made
        monkeypatch.setattr(function, "__code__", made.__code__)

    return patch
