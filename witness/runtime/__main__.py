"""The process that stays: `python -m witness.runtime --settings-fd N`, started by `witness run` (launch.py).

Two libraries would be loaded here for features that are not used, some 10 MB for months: pysyncobj loads
`cryptography` for its own password scheme (ours is TLS), structlog loads `rich` for coloured tracebacks. Both know
how to do without; None in sys.modules is the documented way to say "not there".
"""

from __future__ import annotations

import os
import sys

from proto.edge.may_pass import may_pass
from proto.errors import BadValue, LocalFault
from witness.settings import from_json

EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_CONFIG = 78
NOT_NEEDED = ("cryptography", "rich")


def main() -> int:
    if len(sys.argv) < 3 or sys.argv[1] != "--settings-fd" or not sys.argv[2].isdecimal():
        sys.stderr.write("this is started by: witness run -c FILE\n")
        return EXIT_USAGE
    with os.fdopen(int(sys.argv[2]), encoding="utf-8") as stream:
        settings = from_json(stream.read())
    for name in NOT_NEEDED:
        sys.modules[name] = None  # type: ignore[assignment]  # see above
    import uvloop  # noqa: PLC0415 - after the line above, like the next

    from witness.runtime.supervisor import serve  # noqa: PLC0415 - see above

    try:
        uvloop.run(serve(settings))
    except (BadValue, LocalFault) as error:
        sys.stderr.write(f"witness {settings.witness}: {error}\n")
        return EXIT_UNAVAILABLE if may_pass(error) else EXIT_CONFIG
    return 0


sys.exit(main())
