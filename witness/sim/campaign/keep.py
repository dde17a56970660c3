"""Failing schedules as small files: seed, kinds, what broke, one line that replays. Tests run them for ever.

A file of tests/sim/seeds is such a file, with a note. `known` says how a test runs it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from witness.sim.campaign.kit import Kit
from witness.sim.campaign.result import Result

KEEP_DEFAULT = Path("build/failing-seeds")
KEPT_MAX = 100
FOUND_MAX = 5


@dataclass(frozen=True, slots=True)
class Kept:
    command: str
    """Of the Makefile, with the options that draw the same schedule."""
    seed: int
    kinds: tuple[str, ...]
    found: tuple[str, ...]
    replay: str
    note: str = ""


class Keeper:
    def __init__(self, kit: Kit, directory: Path) -> None:
        self.paths: list[Path] = []
        self._kit = kit
        self._directory = directory

    def failed(self, result: Result) -> None:
        """Kept, while there are not too many."""
        if len(self.paths) >= KEPT_MAX:
            return
        kit = self._kit
        found = tuple(str(violation) for violation in result.violations[:FOUND_MAX])
        replay = kit.replay(result.seed, result.kinds)
        kept = Kept(kit.command, result.seed, result.kinds, found, replay)
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{kit.name}-{result.seed}.json"
        path.write_text(json.dumps(asdict(kept), indent=1) + "\n")
        self.paths.append(path)


def read_kept(path: Path) -> Kept:
    found = json.loads(path.read_text())
    lists: dict[str, Any] = {name: tuple(found.pop(name)) for name in ("kinds", "found")}
    return Kept(**found, **lists)
