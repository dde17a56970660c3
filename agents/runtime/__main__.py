"""The process that stays: `python -m agents.runtime --settings-fd N`, started by `site-agent run` (launch.py)."""

from __future__ import annotations

import os
import sys

import uvloop

from agents.runtime.supervisor import serve
from agents.settings import from_json
from proto.errors import BadValue, DurabilityLost, LocalFault

EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_CONFIG = 78


def main() -> int:
    if len(sys.argv) < 3 or sys.argv[1] != "--settings-fd" or not sys.argv[2].isdecimal():
        sys.stderr.write("this is started by: site-agent run -c FILE\n")
        return EXIT_USAGE
    with os.fdopen(int(sys.argv[2]), encoding="utf-8") as stream:
        settings = from_json(stream.read())
    try:
        uvloop.run(serve(settings))
    except (BadValue, LocalFault) as error:
        sys.stderr.write(f"site-agent {settings.site}: {error}\n")
        return EXIT_UNAVAILABLE if isinstance(error, DurabilityLost) else EXIT_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
