"""Many schedules added up, in a size that does not grow with their number, and as JSON for the state file.

Rule: a sum knows nothing of its order, so that workers, interruptions and resumed runs change no figure of it but the
time it took.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from proto.units import NS_PER_S
from witness.sim.campaign.result import STUCK, Result

FAILURES_KEPT = 1_000
"""Distinct wordings; beyond these only the counts go on."""
WORDS_MAX = 160
QUIET, FIRE = "quiet", "fire"
NUMBERS = ("schedules", "events", "wall_ns")
COUNTERS = ("faults_hit", "drawn", "figures", "peaks", "verdicts")
RULE_OF_THREE = 3
"""No failure in N trials: with 95 % confidence its probability is below 3/N (-ln 0.05 = 2.996)."""


@dataclass(slots=True)
class Pace:
    simulated_ns: int = 0
    spent_ns: int = 0
    cpu_ns: int = 0

    def add(self, result: Result) -> None:
        self.simulated_ns += result.simulated_ns
        self.spent_ns += result.spent_ns
        self.cpu_ns += result.cpu_ns

    def per_wall(self) -> float | None:
        """Simulated seconds per second of the wall on one worker."""
        return round(self.simulated_ns / self.spent_ns, 1) if self.spent_ns else None

    def per_cpu(self) -> float | None:
        return round(self.simulated_ns / self.cpu_ns, 1) if self.cpu_ns else None


@dataclass(slots=True)
class Failure:
    """Violations that differ in more than numbers."""

    schedules: int
    seed: int
    """The lowest one."""


@dataclass(slots=True)
class Total:
    schedules: int = 0
    events: int = 0
    faults_hit: Counter[str] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    peaks: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    """How many schedules broke exactly these kinds of rules, joined by `+`."""
    failures: dict[str, Failure] = field(default_factory=dict)
    quiet: Pace = field(default_factory=Pace)
    fire: Pace = field(default_factory=Pace)
    """Schedules without a fault, and those with some."""
    wall_ns: int = 0
    """Of the campaign, all runs together."""

    def add(self, result: Result) -> None:
        self.schedules += 1
        self.events += result.events
        self.faults_hit += result.faults_hit
        self.drawn.update(result.kinds)
        self.figures += result.figures
        self.peaks |= result.peaks
        (self.fire if result.kinds else self.quiet).add(result)
        if result.violations:
            self.verdicts["+".join(sorted(result.broke))] += 1
            for words in sorted({words_of(violation.kind, violation.text) for violation in result.violations}):
                self._failed(words, result.seed)

    def _failed(self, words: str, seed: int) -> None:
        known = self.failures.get(words)
        if known is not None:
            self.failures[words] = Failure(known.schedules + 1, min(known.seed, seed))
        elif len(self.failures) < FAILURES_KEPT:
            self.failures[words] = Failure(1, seed)

    # -- what they mean --------------------------------------------------------------------------------------

    @property
    def failed(self) -> int:
        return sum(self.verdicts.values())

    @property
    def stuck(self) -> int:
        return self.broke(frozenset({STUCK}))

    @property
    def violated(self) -> int:
        """Schedules in which something was violated, other than that the system did not come back."""
        return sum(count for kinds, count in self.verdicts.items() if set(kinds.split("+")) - {STUCK})

    def broke(self, kinds: frozenset[str]) -> int:
        """Schedules that broke one of these kinds of rules."""
        return sum(count for broken, count in self.verdicts.items() if kinds & set(broken.split("+")))

    def by_kind(self) -> dict[str, int]:
        kinds = {kind for broken in self.verdicts for kind in broken.split("+")}
        return {kind: self.broke(frozenset({kind})) for kind in sorted(kinds)}

    @property
    def simulated_ns(self) -> int:
        return self.quiet.simulated_ns + self.fire.simulated_ns

    def upper_bound_95(self) -> float | None:
        """Of the share of schedules that fail; None when one did, or none was run."""
        return RULE_OF_THREE / self.schedules if self.schedules and not self.failed else None

    def distinct(self) -> list[tuple[str, Failure]]:
        """The most frequent first."""
        return sorted(self.failures.items(), key=lambda pair: (-pair[1].schedules, pair[1].seed, pair[0]))

    # -- for the state file ----------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in NUMBERS},
            **{name: dict(getattr(self, name)) for name in COUNTERS},
            **{name: asdict(getattr(self, name)) for name in (QUIET, FIRE)},
            "failures": {words: asdict(each) for words, each in self.failures.items()},
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Total:
        counters: dict[str, Any] = {name: Counter(found[name]) for name in COUNTERS}
        failures = {words: Failure(**each) for words, each in found["failures"].items()}
        paces: dict[str, Any] = {name: Pace(**found[name]) for name in (QUIET, FIRE)}
        numbers: dict[str, Any] = {name: int(found[name]) for name in NUMBERS}
        return cls(**numbers, **counters, failures=failures, **paces)


def words_of(kind: str, text: str) -> str:
    return f"{kind}: {re.sub(r'[0-9]+', 'N', text)[:WORDS_MAX]}"


def seconds_of(span_ns: int) -> float:
    return round(span_ns / NS_PER_S, 1)
