"""The language of scenarios: what is written wrong is refused with its line and the remedy, before anything is done."""

from __future__ import annotations

import shlex

import pytest

from proto.units import NS_PER_MS, NS_PER_S
from witness.sim.scenario import __main__ as cli
from witness.sim.scenario.command import Wrong, rate_ppm, share, span_ns
from witness.sim.scenario.narrator import TEXT_CHARS, Detail, Narrator
from witness.sim.scenario.play import VERBS, Player, one_line, play, play_line
from witness.sim.scenario.script import Block, ScenarioError, parse, render

HEAD = "# A question?\n#\n# An answer.\n\n"


def test_a_script_is_read_and_written_without_loss() -> None:
    text = HEAD + "cluster\n# why\nrun 1s\n----\nok\n\nstatus\n----\n"
    script = parse(text)
    assert (script.question, script.answer) == ("A question?", "An answer.")
    assert script.blocks[0] == Block(5, ("cluster", "# why", "run 1s"), ("ok",))
    assert script.blocks[1].line == 11
    assert render(script.head, script.blocks) == text


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (HEAD + "cluster\n", 5, "----"),
        (HEAD + "cluster\n----\nok\n\nrun 1s\n", 9, "----"),
        (HEAD + "# only words\n----\nok\n", 5, "no command"),
    ],
)
def test_a_text_that_is_no_script_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(ScenarioError, match=says) as refused:
        parse(text)
    assert refused.value.line == line


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("jump 3s", "no such command: 'jump'; there are backup, break-glass, clock, cluster"),
        ("cluster", "has one"),
        ("run", "a span is missing"),
        ("run 3", "no span: write a number with ms, s, min or h"),
        ("run -3s", "must not be negative"),
        ("run 3s 4s", "does not take 4s"),
        ("wait asleep site-a", "must be one of activating, active"),
        ("wait event sunset", "must be one of"),
        ("wait active site-z", "no such machine: 'site-z'; there are site-a, site-b, w1, w2, w3, leader"),
        ("wait fenced site-a within=1s", "not within 1000 ms"),
        ("cut site-a", "the second end is missing"),
        ("cut site-a site-b", "sites do not talk to each other"),
        ("cut site-a w1 5s every=9s", "every: needs a span"),
        ("network moon loss=3%", "must be one of"),
        ("network sites loss=3", "no share"),
        ("backup", "the witness is missing"),
        ("lose-witnesses soon", "no span"),
        ("kill guard site-b", "no guard runs on site-b"),
        ("kill w9", "no such machine"),
        ("pause leader soon", "no span"),
        ("clock w2 rate fast", "no rate"),
        ("clock w2 rate 99", "lies between"),
        ("disk w2 wet", "must be one of"),
        ("disk site-a blank", "can be slow or healthy"),
        ("platform site-a start late", "must be one of"),
        ("switchover site-b via=w7", "no such machine"),
        ("mode sleepy", "must be one of"),
        ("maintenance site-a maybe", "must be one of"),
        ("configure ttl=soon", "ttl: 'soon' is no span"),
        ("configure colour=red", "does not take colour="),
        ("strike lightning", "must be one of"),
        ("strike witness-old-bytes", "stale-frames=yes"),
        ("stop everything site-a", "must be one of"),
        ("detail loud", "must be one of"),
        ("readmit", "the witness is missing"),
    ],
)
def test_a_command_that_cannot_be_done_is_refused_with_line_reason_and_usage(command: str, says: str) -> None:
    player = Player()
    player.do("cluster")
    player.do("wait standby site-a")
    player.do("wait event group-created")
    with pytest.raises(ScenarioError) as refused:
        player.do(command, 17)
    player.close()
    text = str(refused.value)
    assert says in text
    assert text.startswith("line 17: ")
    if command.split(maxsplit=1)[0] in VERBS:
        assert f"it is written: {command.split(maxsplit=1)[0]}" in text


def test_all_witnesses_are_restored_once_in_a_while_and_backed_up_when_there_is_something() -> None:
    player = Player()
    player.do("cluster")
    with pytest.raises(ScenarioError, match="w2 has nothing to back up yet"):
        player.do("backup w2", 3)
    player.do("lose-witnesses 100ms")
    with pytest.raises(ScenarioError, match="at most once in 11s"):
        player.do("lose-witnesses", 5)
    player.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("sites=1", "sites: '1' must be a number from 2 to 5"),
        ("ttl=100ms", "ttl_ms"),
        ("mode=happy", "mode: 'happy' must be one of"),
        ("drift-max=50%", "drift_max_ppm"),
        ("size=3", "does not take size="),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(options: str, says: str) -> None:
    player = Player()
    with pytest.raises(ScenarioError, match="line 1: cluster") as refused:
        player.do(f"cluster {options}")
    assert says in str(refused.value)
    with pytest.raises(ScenarioError, match="begin with 'cluster'"):
        player.do("status")


def test_lines_are_counted_from_the_top_of_the_file(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text(HEAD + "cluster\n----\nok\n\n# why\nrun 1s\nfly\n----\nok\n", encoding="utf-8")
    assert cli.main([str(path)]) == 2
    assert capsys.readouterr().err.startswith("line 11: no such command: 'fly'")


def test_only_run_wait_and_settle_let_time_pass() -> None:
    player = Player()
    player.do("cluster ttl=1s")
    player.do("wait active site-a")
    for command in ("cut site-a leader 1s", "kill w2 1s", "clock w3 rate 1.5", "switchover site-b", "status", "heal"):
        now_ns = player.stage.world.events.now_ns
        player.do(command)
        assert player.stage.world.events.now_ns == now_ns
    assert player.close() == []


def test_every_verb_is_described_by_how_it_is_written() -> None:
    for name, verb in VERBS.items():
        assert verb.usage.startswith(name)
        assert verb.does.endswith(".")


def test_one_line_replays_as_the_shell_would_take_it() -> None:
    asks = ["cluster ttl=1s", "run 3s", "cut site-a w1", "run 2s"]
    words = shlex.split(one_line(asks))
    assert words[:3] == ["python", "-m", "witness.sim.scenario"]
    assert cli.main(words[3:]) == 0
    assert [block.asks[0] for block in play_line(words[-1]).blocks] == asks


def test_a_violation_is_told_where_it_happened_and_is_a_bad_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player()
    player.do("cluster")
    player.stage.world.judges.found("overlap", "on purpose")
    told = player.do("run 1ms")
    assert any(line.startswith("VIOLATION overlap") for line in told)
    assert not any(line.startswith("VIOLATION") for line in player.do("run 1ms"))
    assert len(player.close()) == 1


def test_a_scenario_tells_the_same_whenever_it_is_played() -> None:
    text = HEAD + "cluster ttl=1s seed=4 drawn=yes\nrun 5s\nkill leader 1s\nrun 5s\n----\n"
    first = play(parse(text))
    assert first == play(parse(text))
    assert first != play(parse(text.replace("seed=4", "seed=5")))


def test_units() -> None:
    assert (span_ns("1.5s"), span_ns("-20ms"), span_ns("2min")) == (3 * NS_PER_S // 2, -20 * NS_PER_MS, 120 * NS_PER_S)
    assert (rate_ppm("2.0"), rate_ppm("0.5"), share("30%")) == (1_000_000, -500_000, 0.3)
    with pytest.raises(Wrong):
        share("130%")


def test_detail_leaves_out_and_shortens() -> None:
    narrator = Narrator()
    narrator.detail = Detail.BRIEF
    narrator.say(Detail.NORMAL, 0, "w1", "is left out")
    narrator.say(Detail.BRIEF, 2_000_000, "w1", "x" * 200)
    assert narrator.take() == [f"      2 w1       {'x' * TEXT_CHARS} ..."]
    narrator.detail = Detail.FULL
    narrator.say(Detail.FULL, 0, "w1", "x" * 200)
    assert narrator.take() == [f"      0 w1       {'x' * 200}"]
