"""The process that stays: `python -m witness.runtime --settings-fd N`, started by `witness run` (launch.py)."""

from __future__ import annotations

import os
import sys

import uvloop

from proto.errors import BadValue, LocalFault
from witness.runtime.supervisor import serve
from witness.settings import from_json

EXIT_USAGE = 64
EXIT_CONFIG = 78


def main() -> int:
    if len(sys.argv) < 3 or sys.argv[1] != "--settings-fd" or not sys.argv[2].isdecimal():
        sys.stderr.write("this is started by: witness run -c FILE\n")
        return EXIT_USAGE
    with os.fdopen(int(sys.argv[2]), encoding="utf-8") as stream:
        settings = from_json(stream.read())
    try:
        uvloop.run(serve(settings))
    except (BadValue, LocalFault) as error:
        sys.stderr.write(f"witness {settings.witness}: {error}\n")
        return EXIT_CONFIG
    return 0


sys.exit(main())
