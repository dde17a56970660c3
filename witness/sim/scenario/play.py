"""Plays a script: each block's commands in turn, and what was told meanwhile; one line of commands as well.

Rule: what the judges find is part of what is told, where it happened; a command that cannot be done is an error with
its line, never an output that somebody might take for expected.
"""

from __future__ import annotations

from dataclasses import dataclass

from proto.invariants import InvariantViolation
from witness.sim.scenario import (
    verbs_host,
    verbs_machines,
    verbs_net,
    verbs_people,
    verbs_permit,
    verbs_restore,
    verbs_time,
)
from witness.sim.scenario.command import Command, Wrong
from witness.sim.scenario.script import COMMENT, Block, ScenarioError, Script
from witness.sim.scenario.stage import Stage
from witness.sim.scenario.verb import Verb

VERBS: dict[str, Verb] = {
    **verbs_time.VERBS,
    **verbs_net.VERBS,
    **verbs_machines.VERBS,
    **verbs_restore.VERBS,
    **verbs_permit.VERBS,
    **verbs_host.VERBS,
    **verbs_people.VERBS,
}
NOTHING = "ok"
"""What a block tells when there is nothing to tell."""
SEPARATOR = ";"


@dataclass(frozen=True, slots=True)
class Played:
    """A script as it really went."""

    blocks: tuple[Block, ...]
    violations: tuple[str, ...]


class Player:
    """Does one command after another."""

    def __init__(self) -> None:
        self.stage = Stage()

    def do(self, text: str, line: int = 1) -> list[str]:
        """Returns what was told meanwhile. Raises ScenarioError."""
        command = Command(text)
        verb = VERBS.get(command.verb)
        if verb is None:
            raise ScenarioError(line, f"no such command: {command.verb!r}; there are {', '.join(sorted(VERBS))}")
        self.stage.settled = False
        try:
            verb.do(self.stage, command)
        except Wrong as wrong:
            raise ScenarioError(line, f"{text}: {wrong}; it is written: {verb.usage}") from None
        except (Exception, InvariantViolation) as error:  # noqa: BLE001  # a finding, whatever it is
            self.stage.crashed(error)
        return self.stage.take()

    def close(self) -> list[str]:
        """The judges' last looks; returns all that was violated."""
        self.stage.close()
        return self.stage.violations()


def play(script: Script) -> Played:
    player = Player()
    blocks = []
    try:
        for block in script.blocks:
            told: list[str] = []
            for number, line in enumerate(block.asks, block.line):
                if not line.startswith(COMMENT):
                    told += player.do(line, number)
            blocks.append(Block(block.line, block.asks, tuple(told) or (NOTHING,)))
    finally:
        violations = player.close()
    return Played(tuple(blocks), tuple(violations))


def play_line(text: str) -> Played:
    """Commands in one line, parted by ';': what a property test prints."""
    asks = [part.strip() for part in text.split(SEPARATOR) if part.strip()]
    return play(Script((), tuple(Block(1, (ask,), ()) for ask in asks)))


def one_line(asks: list[str]) -> str:
    """Pasted into a shell, it replays."""
    return f"python -m witness.sim.scenario -c '{(SEPARATOR + ' ').join(asks)}'"
