"""The process that stays: `python -m agents.member --settings-fd N`, started by `site-agent member` (launch.py)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from agents.runtime.__main__ import EXIT_CONFIG, EXIT_CUT_SHORT, EXIT_UNAVAILABLE, EXIT_USAGE


def main() -> int:
    sys.modules["rich"] = None  # type: ignore[assignment]  # None is how Python itself marks "cannot be imported"
    import uvloop  # noqa: PLC0415 - structlog must not find rich: agents/runtime/__main__.py

    from agents.member.process import serve_member  # noqa: PLC0415 - see above
    from agents.runtime.life import StopCutShort  # noqa: PLC0415 - see above
    from agents.runtime.upgrade import MEMBER_MODULE, become_successor  # noqa: PLC0415 - see above
    from agents.settings import member_from_json  # noqa: PLC0415 - see above
    from proto.errors import BadValue, DurabilityLost, LocalFault  # noqa: PLC0415 - see above

    if len(sys.argv) < 3 or sys.argv[1] != "--settings-fd" or not sys.argv[2].isdecimal():
        sys.stderr.write("this is started by: site-agent member -c FILE\n")
        return EXIT_USAGE
    with os.fdopen(int(sys.argv[2]), encoding="utf-8") as stream:
        settings = member_from_json(stream.read())
    config = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    name = f"site-agent member {settings.member} of {settings.site}"
    try:
        successor = uvloop.run(serve_member(settings, config))
    except StopCutShort as error:
        sys.stderr.write(f"{name}: {error}\n")
        return EXIT_CUT_SHORT
    except (BadValue, LocalFault) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return EXIT_UNAVAILABLE if isinstance(error, DurabilityLost) else EXIT_CONFIG
    if successor is not None and config is not None:
        become_successor(config, successor, MEMBER_MODULE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
