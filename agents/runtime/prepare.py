"""`python -m agents.runtime.prepare CONFIG FD [member]`: checks as `site-agent check` does, and writes into FD.

Started by the agent, or the member, that is about to be upgraded, so it is the new program that judges; exit code 78
with words for whatever it would refuse, else the settings are in the file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from agents.runtime.check import check_agent, check_member
from agents.runtime.launch import checked_member_settings, checked_settings
from agents.runtime.upgrade import MEMBER
from agents.settings import to_json
from proto.errors import ThirdsiteError

EXIT_USAGE = 64
EXIT_CONFIG = 78


def main() -> int:
    if len(sys.argv) < 3 or not sys.argv[2].isdecimal() or sys.argv[3:] not in ([], [MEMBER]):
        sys.stderr.write("this is started by an agent that is upgraded: site-agent upgrade -c FILE\n")
        return EXIT_USAGE
    config = Path(sys.argv[1])
    try:
        settings = _member(config) if sys.argv[3:] else _agent(config)
    except ThirdsiteError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    with os.fdopen(int(sys.argv[2]), "w", encoding="utf-8") as stream:
        stream.write(settings)
    return 0


def _agent(config: Path) -> str:
    for _line in check_agent(config):
        continue
    return to_json(checked_settings(config))


def _member(config: Path) -> str:
    for _line in check_member(config):
        continue
    return to_json(checked_member_settings(config))


if __name__ == "__main__":
    sys.exit(main())
