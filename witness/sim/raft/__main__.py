"""`python -m witness.sim.raft`: schedules against the real Raft node; the command line is witness.sim.campaign.cli."""

from __future__ import annotations

import sys

from witness.sim.campaign import cli
from witness.sim.raft.kit import KIT

SAYS = "The real Raft node under faulty networks, disks and clocks, each schedule decided by its seed."


def main(argv: list[str] | None = None) -> int:
    made = cli.parser(KIT.name, SAYS, KIT.kinds, KIT.schedules_default)
    return cli.run(KIT, cli.parse(made, sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
