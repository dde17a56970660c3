"""The process that stays: `python -m agents.runtime --settings-fd N`, started by `site-agent run` (launch.py).

structlog loads rich for coloured tracebacks wherever it finds it: 5 MB that a log of months has no use for, so it is
told that there is none before anything else is imported.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_CUT_SHORT = 75
EXIT_CONFIG = 78


def main() -> int:
    sys.modules["rich"] = None  # type: ignore[assignment]  # None is how Python itself marks "cannot be imported"
    import uvloop  # noqa: PLC0415 - see above

    from agents.runtime.life import StopCutShort  # noqa: PLC0415 - see above
    from agents.runtime.supervisor import serve  # noqa: PLC0415 - see above
    from agents.runtime.upgrade import become_successor  # noqa: PLC0415 - see above
    from agents.settings import from_json  # noqa: PLC0415 - see above
    from proto.errors import BadValue, DurabilityLost, LocalFault  # noqa: PLC0415 - see above

    if len(sys.argv) < 3 or sys.argv[1] != "--settings-fd" or not sys.argv[2].isdecimal():
        sys.stderr.write("this is started by: site-agent run -c FILE\n")
        return EXIT_USAGE
    with os.fdopen(int(sys.argv[2]), encoding="utf-8") as stream:
        settings = from_json(stream.read())
    config = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    try:
        successor = uvloop.run(serve(settings, config))
    except StopCutShort as error:
        sys.stderr.write(f"site-agent {settings.site}: {error}\n")
        return EXIT_CUT_SHORT
    except (BadValue, LocalFault) as error:
        sys.stderr.write(f"site-agent {settings.site}: {error}\n")
        return EXIT_UNAVAILABLE if isinstance(error, DurabilityLost) else EXIT_CONFIG
    if successor is not None and config is not None:
        become_successor(config, successor)
    return 0


if __name__ == "__main__":
    sys.exit(main())
