"""The process that stays: `python -m agents.runtime --settings-fd N`, started by `site-agent run` (launch.py).

structlog loads rich for coloured tracebacks wherever it finds it: 5 MB that a log of months has no use for, so it is
told that there is none before anything else is imported.
"""

from __future__ import annotations

import sys


def main() -> int:
    sys.modules["rich"] = None  # type: ignore[assignment]  # None is how Python itself marks "cannot be imported"
    from agents.runtime.image import Image, run_image  # noqa: PLC0415 - see above
    from agents.runtime.supervisor import serve  # noqa: PLC0415 - see above
    from agents.runtime.upgrade import MODULE  # noqa: PLC0415 - see above
    from agents.settings import from_json  # noqa: PLC0415 - see above

    image = Image(MODULE, "site-agent run -c FILE", from_json, serve, lambda settings: f"site-agent {settings.site}")
    return run_image(image, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
