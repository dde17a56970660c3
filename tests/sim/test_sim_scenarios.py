"""The scenarios are played and compared with what their files expect; `--rewrite` writes what really was told."""

from __future__ import annotations

from pathlib import Path

import pytest

from witness.sim.scenario import __main__ as cli
from witness.sim.scenario.play import play
from witness.sim.scenario.script import parse, render

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
WORDS_MAX = 90
"""An answer of two or three sentences."""
LINES_MAX = 80


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_scenario_goes_as_its_file_says(path: Path, request: pytest.FixtureRequest) -> None:
    script = parse(path.read_text(encoding="utf-8"))
    played = play(script)
    assert played.violations == ()
    if request.config.getoption("--rewrite"):
        path.write_text(render(script.head, played.blocks), encoding="utf-8")
    else:
        assert cli.differences(path.name, script, played) == []


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_each_begins_with_its_question_and_answer_and_can_be_read_at_one_sitting(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    script = parse(text)
    assert script.question.endswith("?")
    assert 5 < len(script.answer.split()) <= WORDS_MAX
    assert script.answer.endswith(".")
    assert text.count("\n") <= LINES_MAX
    assert render(script.head, script.blocks) == text, "written in the one form that a rewrite gives"


def test_a_difference_is_shown_and_rewritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right = SCENARIOS[0].read_text(encoding="utf-8")
    path = tmp_path / "story.txt"
    path.write_text(right.replace("suspends", "sleeps", 1), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != right
    assert cli.main([str(path)]) == 1
    out = capsys.readouterr().out
    assert "-   " in out
    assert "sleeps" in out
    assert cli.main(["--rewrite", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == right
    assert cli.main([str(path)]) == 0
