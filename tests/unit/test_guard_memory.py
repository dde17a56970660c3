"""The simulated guard keeps what the real one promises, at the exact instants."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agents.fencing.base import Down, DownBy, GuardRefused, Step, StepEnd, StepResult
from agents.fencing.guard_clock import Clocks
from agents.fencing.guard_model import Behaviour, GuardModel
from agents.fencing.kernel_timer import GUARD_FLOOR_LEAD_NS

MS = 1_000_000


def step(name: str) -> Step:
    return Step(name, ("x",), {}, Path("/dev/null"))


def armed(behaviour: Behaviour) -> GuardModel:
    model = GuardModel(lambda _step: behaviour)
    model.arm(1, 600 * MS, 800 * MS, 1_000 * MS, 0)
    model.run(step("a"), 0)
    return model


def test_a_platform_that_obeys_term_is_down_soon_after_it() -> None:
    model = armed(Behaviour(leaves_running=True))
    assert model.advance(599 * MS) == [StepResult("a", StepEnd.EXITED, 0)]
    assert model.alive
    (down,) = model.advance(10_000 * MS)
    assert down == Down("deadline: term_at reached", 5, DownBy.GUARD)


def test_one_that_ignores_term_dies_at_kill_at() -> None:
    model = armed(Behaviour(hangs=True, ignores_term=True))
    assert model.advance(799 * MS) == []
    result, down = model.advance(800 * MS)
    assert result == StepResult("a", StepEnd.GUARD_DOWN)
    assert down == Down("deadline: term_at reached", 200, DownBy.GUARD)


def test_a_frozen_site_dies_at_the_floor_and_a_thaw_changes_nothing() -> None:
    model = armed(Behaviour(hangs=True))
    model.frozen = True
    assert model.next_deadline() == 1_000 * MS - GUARD_FLOOR_LEAD_NS
    assert model.advance(949 * MS) == []
    assert model.alive
    *_, down = model.advance(950 * MS)
    assert isinstance(down, Down)
    assert down.by is DownBy.KERNEL
    model.frozen = False
    assert model.advance(9_999 * MS) == []
    assert not model.alive


def test_a_thaw_before_the_floor_acts_at_the_thaw() -> None:
    model = armed(Behaviour(hangs=True, ignores_term=True))
    model.frozen = True
    model.advance(900 * MS)
    model.frozen = False
    *_, down = model.advance(901 * MS)
    assert down == Down("deadline: term_at reached", 0, DownBy.GUARD)


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from(["arm", "run", "stop", "freeze", "thaw", "fence", "pass"])),
        max_size=25,
    ),
    st.builds(
        Behaviour,
        takes_ns=st.integers(0, 500 * MS),
        hangs=st.booleans(),
        ignores_term=st.booleans(),
        leaves_running=st.booleans(),
    ),
)
def test_nothing_ever_lives_past_the_floor(script: list[tuple[int, str]], behaviour: Behaviour) -> None:
    model, now, downs = GuardModel(lambda _step: behaviour), 0, 0
    for number, (wait, verb) in enumerate(script):
        now += wait * MS
        downs += sum(isinstance(event, Down) for event in model.advance(now))
        rungs = model.authority.rungs
        if rungs is not None and now >= rungs.floor_ns:
            assert not model.alive
        try:
            if verb == "arm":
                model.arm(1, now + 200 * MS, now + 250 * MS, now + 300 * MS, now)
            elif verb == "run":
                model.run(step(str(number)), now)
            elif verb == "stop":
                model.stop(50 * MS, now)
            elif verb == "fence":
                model.fence(now)
            else:
                model.frozen = verb == "freeze" or (verb == "pass" and model.frozen)
        except GuardRefused:
            continue
    downs += sum(isinstance(event, Down) for event in model.advance(now + 10_000 * MS))
    assert not model.alive
    assert downs <= 1


def test_what_no_kill_ends_is_never_proven_and_outlives_the_floor() -> None:
    model = armed(Behaviour(leaves_running=True, ignores_term=True, survives_kill=True))
    assert model.advance(949 * MS) == [StepResult("a", StepEnd.EXITED, 0)]
    assert model.stuck
    (down,) = model.advance(950 * MS)
    assert isinstance(down, Down)
    assert (down.by, model.alive) == (DownBy.KERNEL, True)


def test_clocks_that_part_are_a_rung_like_any_other() -> None:
    model = armed(Behaviour(hangs=True, ignores_term=True))
    model.look(Clocks(100 * MS, 650 * MS, 100 * MS))
    (_, down) = model.advance(100 * MS)
    assert isinstance(down, Down)
    assert down.cause.startswith("clocks disagree")
    slow = armed(Behaviour(hangs=True, ignores_term=True))
    slow.look(Clocks(500 * MS, 640 * MS, 500 * MS))
    assert slow.advance(500 * MS) == []
    (_, down) = slow.advance(800 * MS)
    assert down == Down("deadline: term_at reached", 300, DownBy.GUARD), "by the clock that is ahead"
