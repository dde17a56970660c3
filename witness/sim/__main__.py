"""`python -m witness.sim`: so many whole-system schedules from a seed; the command line is witness.sim.campaign.cli."""

from __future__ import annotations

import sys

from witness.sim.campaign import cli
from witness.sim.kit import KIT

SAYS = "Whole clusters in simulated time, schedule after schedule, each decided by its seed."


def main(argv: list[str] | None = None) -> int:
    made = cli.parser(KIT.name, SAYS, KIT.kinds, KIT.schedules_default)
    return cli.run(KIT, cli.parse(made, sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
