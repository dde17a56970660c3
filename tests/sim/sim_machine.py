"""The state machine of Hypothesis over the campaign's world: one rule for each family of sim_schedules.

Every step is a command of the scenario language. What breaks is raised with ONE line that replays it, so that the
shrunk example can be played, told and turned into a scenario without Hypothesis.
"""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sim_schedules import FAMILIES, founding

from witness.sim.scenario.play import Player, one_line
from witness.sim.scenario.script import ScenarioError

FIRST = "run 5s"
"""After the founding: the preferred site is active."""


class Schedule(RuleBasedStateMachine):
    """Founds a cluster, judges after every step; the rules are added by `machine_over`."""

    def __init__(self) -> None:
        super().__init__()
        self.player = Player()
        self.asks: list[str] = []

    @initialize(cluster=founding())
    def found(self, cluster: str) -> None:
        self.do(cluster)
        self.do(FIRST)

    def do(self, ask: str) -> None:
        """A command that finds nobody to act on (no leader, no guard) did nothing, and is no part of the story."""
        try:
            self.player.do(ask)
        except ScenarioError:
            return
        self.asks.append(ask)

    @invariant()
    def nothing_is_violated(self) -> None:
        self.judge(self.player.stage.violations())

    def teardown(self) -> None:
        self.judge(self.player.close())

    def judge(self, violations: list[str]) -> None:
        if violations:
            raise AssertionError(f"{violations[0]}\n{one_line(self.asks)}")


class HealedSchedule(Schedule):
    """Each example ends healed: exactly one site serves, and nothing that was told is missing anywhere."""

    def teardown(self) -> None:
        if self.asks and not self.player.stage.violations():
            self.do("settle")
        super().teardown()


def machine_over(families: Iterable[str], base: type[Schedule] = HealedSchedule) -> type[Schedule]:
    """A machine with one rule for each of these families."""

    def rule_of(family: str) -> object:
        def step(self: Schedule, ask: str) -> None:
            self.do(ask)

        step.__name__ = step.__qualname__ = family.replace("-", "_")
        return rule(ask=FAMILIES[family])(step)

    rules = {family.replace("-", "_"): rule_of(family) for family in families}
    return type(base.__name__, (base,), {**rules, "__module__": base.__module__})


WholeSystem = machine_over(FAMILIES)
