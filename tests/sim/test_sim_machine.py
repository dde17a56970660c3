"""Hypothesis drives the campaign's world by hand: what it finds shrinks, and is printed as one line that replays."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

sys.path.append(str(Path(__file__).parent))

from sim_broken_rules import BROKEN
from sim_machine import FIRST, Schedule, WholeSystem, machine_over
from sim_schedules import CAMPAIGN, FAMILIES, REAL, founding, schedules

from witness.sim.faults import FAULTS
from witness.sim.scenario import __main__ as cli
from witness.sim.scenario.play import VERBS, play_line
from witness.sim.scenario.verbs_time import STALE_KINDS

WholeSystem.TestCase.settings = settings(max_examples=20, stateful_step_count=20)
TestWholeSystem = pytest.mark.timeout(600)(WholeSystem.TestCase)

ENOUGH = settings(max_examples=1000, stateful_step_count=8, print_blob=False)
"""Ten times what it takes: what is drawn depends on the constants of all modules that are loaded."""
LINE = re.compile(r"^python -m witness\.sim\.scenario -c '.*'$", re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "families", "phases", "commands_max"),
    [
        ("votes-outlive-renewals", tuple(FAMILIES), (Phase.generate, Phase.shrink), 2),
        ("no-kernel-floor", ("site-freezes", "time"), (Phase.generate,), 10),
    ],
)
@pytest.mark.timeout(600)
def test_a_broken_rule_is_found_and_its_one_line_replays(
    name: str,
    families: tuple[str, ...],
    phases: tuple[Phase, ...],
    commands_max: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = next(one for one in BROKEN if one.name == name)
    with monkeypatch.context() as patched:
        broken.patch(patched)
        with pytest.raises(AssertionError) as found:
            run_state_machine_as_test(machine_over(families, Schedule), settings=settings(ENOUGH, phases=phases))
        kind = str(found.value).split(" ")[0]
        assert kind in broken.caught_as | {"authority", "license"}, "whichever judge speaks first"
        (line,) = LINE.findall(str(found.value))
        command = shlex.split(line)[3:]
        assert len(command[1].split(";")) <= commands_max
        assert cli.main(command) == 1
        assert f"VIOLATION {kind}" in capsys.readouterr().out
    assert cli.main(command) == 0, "the right rule is clean in the same schedule"


def test_every_command_can_be_drawn_and_every_fault_of_the_campaign() -> None:
    drawn: set[str] = set()

    @settings(max_examples=400)
    @given(st.one_of(*FAMILIES.values()))
    def draw(ask: str) -> None:
        drawn.add(ask.split(maxsplit=1)[0])

    draw()
    looks, of_parts = {"cluster", "detail", "wait", "status"}, {"watchdog", "component", "upgrade"}
    of_permits = {"break-glass", "reconcile"}
    assert set(VERBS) - drawn == looks | of_parts | of_permits, (
        "the first, those that only look, and those of sites fitted with parts, and of groups with permits"
    )
    assert set(CAMPAIGN) | set(STALE_KINDS) == set(FAULTS)


@settings(max_examples=5)
@given(founding(), schedules(REAL, steps_max=4))
def test_whole_schedules_can_be_drawn_for_other_drivers_and_are_clean(cluster: str, asks: list[str]) -> None:
    """Roles that nobody has at the moment are an error; whoever performs a schedule skips such a command, as here."""
    assert asks[-1] == "settle"
    roles = ("leader", "follower", "active", "standby", "guard", "via=")
    named = [ask for ask in asks if not any(role in ask for role in roles)]
    played = play_line("; ".join([cluster, FIRST, *named]))
    assert played.violations == ()
