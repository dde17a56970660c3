"""What a command brings to the shared campaign: its schedules, its kinds of faults, its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from witness.sim.campaign.catalogue import Row
from witness.sim.campaign.result import Result
from witness.sim.raft.checkers import Violation

Note = Callable[[int, str, str], None]
"""A line of a story: at which instant, who, what."""
NO_KINDS = "none"
Counts = Callable[[frozenset[str]], int]
"""How many schedules broke one of these kinds of rules."""


class Run(Protocol):
    def __call__(self, seed: int, /, *, kinds: tuple[str, ...] | None) -> Result: ...


@dataclass(frozen=True)
class Kit:
    name: str
    """The verb of the Makefile."""
    run: Run
    """A seed's schedule; None: with the kinds that it draws itself. Goes to worker processes."""
    story: Callable[[int, tuple[str, ...] | None, Note], Result]
    """The same, told."""
    drawn: Callable[[int, tuple[str, ...] | None], tuple[str, ...]]
    """The kinds of that schedule, without running it: of one that never came to its end nothing else tells them."""
    kinds: frozenset[str]
    """That can be drawn."""
    catalogue: tuple[Row, ...]
    schedules_default: int
    judged_from: int
    """From so many schedules on, a counter of the catalogue at zero makes the campaign fail."""
    options: str = ""
    """What else of the command line draws the same schedules again."""
    unsafe: frozenset[str] | None = None
    """Kinds of violations that are counted as such; None: all but `stuck`."""
    more: Callable[[Counts], dict[str, object]] = lambda _counts: {}
    """More for the JSON, from the counts of rules broken."""
    sources: tuple[Path, ...] = ()
    """Directories of code beside the product's that a schedule depends on."""
    must_find: bool = False
    """The campaign succeeds when something is violated: its subject is known to be wrong."""

    @property
    def command(self) -> str:
        """What draws the same schedules again."""
        return f"{self.name} {self.options}".strip()

    def chosen(self, kinds: tuple[str, ...] | None) -> Callable[[int], Result]:
        return partial(self.run, kinds=kinds)

    def replay_line(self, seed: int, kinds: tuple[str, ...], violation: Violation) -> str:
        """Replays for ever, also when there are more kinds of faults to draw from."""
        return f"{self.replay(seed, kinds)}  # {violation}"

    def replay(self, seed: int, kinds: tuple[str, ...]) -> str:
        options = f"{self.options} " if self.options else ""
        return f'make {self.name} ARGS="{options}--replay {seed} --kinds {",".join(kinds) or NO_KINDS}"'
