"""`python -m agents.runtime.prepare CONFIG FD`: checks as `site-agent check` does, and writes the settings into FD.

Started by the agent that is about to be upgraded, so it is the new program that judges; exit code 78 with words for
whatever it would refuse.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from agents.runtime.check import check_agent
from agents.runtime.launch import checked_settings
from agents.settings import to_json
from proto.errors import ThirdsiteError

EXIT_USAGE = 64
EXIT_CONFIG = 78


def main() -> int:
    if len(sys.argv) != 3 or not sys.argv[2].isdecimal():
        sys.stderr.write("this is started by an agent that is upgraded: site-agent upgrade -c FILE\n")
        return EXIT_USAGE
    config = Path(sys.argv[1])
    try:
        for _line in check_agent(config):
            continue
        settings = checked_settings(config)
    except ThirdsiteError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    with os.fdopen(int(sys.argv[2]), "w", encoding="utf-8") as stream:
        stream.write(to_json(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
