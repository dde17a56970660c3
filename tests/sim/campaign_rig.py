"""Jobs and a small command for tests of the campaign; worker processes import them from here."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

from proto.units import NS_PER_S
from witness.sim.campaign import cli
from witness.sim.campaign.catalogue import Row
from witness.sim.campaign.kit import Kit
from witness.sim.campaign.result import Result
from witness.sim.raft.checkers import Violation

BAD, STUCK_AT, DIES_AT = 7, 9, 5


def plain(seed: int, /, *, kinds: tuple[str, ...] | None = None) -> Result:
    """What it comes to depends on the seed alone."""
    violations = {BAD: [Violation("overlap", 5_000_000, f"dc-{seed} too")], STUCK_AT: [Violation("stuck", 1, "late")]}
    return Result(
        seed,
        violations=violations.get(seed, []),
        events=10 + seed,
        simulated_ns=seed * NS_PER_S,
        kinds=kinds if kinds is not None else (("rain",) if seed % 2 else ()),
        faults_hit=Counter({"rain": seed % 2}),
        figures=Counter(activations=2),
        peaks=Counter(longest_ns=100 - seed),
    )


def dies(seed: int, /, *, kinds: tuple[str, ...] | None = None) -> Result:
    if seed == DIES_AT:
        os._exit(3)
    return plain(seed)


def endless(seed: int) -> Result:
    while seed == 2:
        pass
    return plain(seed)


def story(seed: int, kinds: tuple[str, ...] | None, note: object) -> Result:
    note(1_000, "w1", "falls")
    note(2_000, "w1", "-> w2 a message")
    return plain(seed, kinds=kinds)


def slow(seed: int, /, *, kinds: tuple[str, ...] | None = None) -> Result:
    """Says that it lives: the test reads it."""
    directory = Path(os.environ["CAMPAIGN_RIG"])
    (directory / str(os.getpid())).touch()
    end = time.monotonic() + (0.01 if seed < 4 else 600)
    while time.monotonic() < end:
        time.sleep(0.01)
    return plain(seed + 100, kinds=kinds)


CATALOGUE = (Row("N5", "messages are lost", ("rain",), ("rain",)), Row("S8", "a pickle", shown_by=("tests/x.py",)))


def drawn(_seed: int, kinds: tuple[str, ...] | None) -> tuple[str, ...]:
    return ("snow",) if kinds is None else kinds


def kit(run=plain, **changed) -> Kit:
    parts = {
        "drawn": lambda _seed, kinds: ("snow",) if kinds is None else kinds,
        "catalogue": CATALOGUE,
        "schedules_default": 4,
        "judged_from": 6,
        **changed,
    }
    return Kit(name="rig", run=run, story=story, kinds=frozenset({"rain", "snow"}), **parts)


def main(argv: list[str], made: Kit) -> int:
    return cli.run(made, cli.parse(cli.parser("rig", "A rig.", made.kinds, made.schedules_default), argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], kit(slow)))
