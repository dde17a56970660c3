"""The search: breadth first over every reachable state, so that the first counterexample is a shortest one.

It knows nothing of leases. A model is a start, a successor function, a canonical form and a judgement. Each state
is kept once; its parts are interned, since millions of states share a few thousand witnesses and copies. Moves are
not stored: a trace is rebuilt from the parents by asking again for the successors.

`dead_ends` walks the explored graph backwards from the goal states, and so needs the edges: only for small searches.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)
M = TypeVar("M")

PROGRESS_EVERY_STATES = 20_000


@dataclass(frozen=True)
class Model(Generic[S, M]):
    """What is searched. `judge` names what a state breaks, or returns None."""

    start: S
    successors: Callable[[S], Iterator[tuple[M, S]]]
    canonical: Callable[[S], S]
    judge: Callable[[S], str | None]
    intern: Callable[[S], S] = lambda state: state


@dataclass(frozen=True)
class Limits:
    """Where a search gives up. A search that gave up is not exhaustive and says so."""

    states_max: int = 50_000_000
    seconds_max: float = 3600.0


@dataclass
class Outcome(Generic[S, M]):
    """What a search found."""

    states: int = 0
    transitions: int = 0
    depth: int = 0
    seconds: float = 0.0
    exhausted: bool = False
    """True when every reachable state within the bounds was judged."""
    broken: str | None = None
    trace: list[tuple[M | None, S]] = field(default_factory=list)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Millions of tuples without a cycle among them: the collector would walk them all again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


Progress = Callable[[int, int, int, float], None]
"""Called with states, states still to expand, depth, seconds."""


@_no_garbage_collection()
def search(
    model: Model[S, M],
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Outcome[S, M]:
    """Judge every reachable state; stop at the first that breaks something."""
    limits = limits or Limits()
    outcome: Outcome[S, M] = Outcome()
    began = time.monotonic()
    parents: dict[S, S | None] = {}
    wave: list[S] = []
    bad = _meet(model, model.start, None, parents, wave, outcome)
    gave_up = False
    looked_at = 0
    while wave and bad is None and not gave_up:
        following: list[S] = []
        for done, state in enumerate(wave):
            bad = _expand(model, state, parents, following, outcome)
            if bad is not None:
                break
            gave_up = len(parents) >= limits.states_max
            if gave_up or len(parents) - looked_at >= PROGRESS_EVERY_STATES:
                looked_at = len(parents)
                seconds = time.monotonic() - began
                if progress:
                    progress(looked_at, len(wave) - done + len(following), outcome.depth, seconds)
                gave_up = gave_up or seconds >= limits.seconds_max
            if gave_up:
                break
        else:
            outcome.depth += bool(following)
        wave = following
    outcome.exhausted = bad is None and not gave_up
    outcome.trace = trace_to(model, parents, bad) if bad is not None else []
    outcome.states = len(parents)
    outcome.seconds = time.monotonic() - began
    return outcome


def _expand(
    model: Model[S, M],
    state: S,
    parents: dict[S, S | None],
    following: list[S],
    outcome: Outcome[S, M],
) -> S | None:
    """Meet everything that one state leads to; return the first successor that breaks something."""
    canonical = model.canonical
    for _move, reached in model.successors(state):
        outcome.transitions += 1
        after = canonical(reached)
        if after not in parents:
            bad = _meet(model, after, state, parents, following, outcome)
            if bad is not None:
                return bad
    return None


def _meet(
    model: Model[S, M],
    state: S,
    before: S | None,
    parents: dict[S, S | None],
    following: list[S],
    outcome: Outcome[S, M],
) -> S | None:
    """A state seen for the first time; returned when it breaks something."""
    met = model.intern(model.canonical(state) if before is None else state)
    parents[met] = before
    following.append(met)
    outcome.broken = model.judge(met)
    return met if outcome.broken is not None else None


def trace_to(model: Model[S, M], parents: dict[S, S | None], last: S) -> list[tuple[M | None, S]]:
    """The moves from the start to a state."""
    states: list[S] = [last]
    while (before := parents[states[-1]]) is not None:
        states.append(before)
    states.reverse()
    trace: list[tuple[M | None, S]] = [(None, states[0])]
    for before, after in itertools.pairwise(states):
        move = next(m for m, s in model.successors(before) if model.canonical(s) == after)
        trace.append((move, after))
    return trace


@dataclass
class DeadEnds(Generic[S, M]):
    """States from which no goal can be reached any more by moves that are not faults."""

    states: int
    asked: int
    """How many states had to reach a goal."""
    stuck: int
    transitions: int
    seconds: float
    trace: list[tuple[M | None, S]]


@_no_garbage_collection()
def dead_ends(
    model: Model[S, M],
    goal: Callable[[S], bool],
    must_reach: Callable[[S], bool],
    is_fault: Callable[[S, M, S], bool],
) -> DeadEnds[S, M]:
    """Reverse reachability on the whole graph: faults, judged by (before, move, after), lead into states, but no way
    out may need one."""
    start = model.intern(model.canonical(model.start))
    began = time.monotonic()
    transitions = 0
    parents: dict[S, S | None] = {start: None}
    order = [start]
    number = {start: 0}
    into: list[list[int]] = [[]]
    for at, state in enumerate(order):
        for move, reached in model.successors(state):
            transitions += 1
            after = model.canonical(reached)
            if after not in number:
                after = model.intern(after)
                number[after] = len(order)
                order.append(after)
                parents[after] = state
                into.append([])
            if not is_fault(state, move, after):
                into[number[after]].append(at)
    saved = [goal(state) for state in order]
    stack = [i for i, reached_goal in enumerate(saved) if reached_goal]
    while stack:
        for before in into[stack.pop()]:
            if not saved[before]:
                saved[before] = True
                stack.append(before)
    asked = [i for i, state in enumerate(order) if must_reach(state)]
    stuck = [i for i in asked if not saved[i]]
    trace = trace_to(model, parents, order[stuck[0]]) if stuck else []
    return DeadEnds(len(order), len(asked), len(stuck), transitions, time.monotonic() - began, trace)
