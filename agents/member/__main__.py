"""The process that stays: `python -m agents.member --settings-fd N`, started by `site-agent member` (launch.py)."""

from __future__ import annotations

import sys


def main() -> int:
    sys.modules["rich"] = None  # type: ignore[assignment]  # structlog must not find it: agents/runtime/__main__.py
    from agents.member.process import serve_member  # noqa: PLC0415 - see above
    from agents.runtime.image import Image, run_image  # noqa: PLC0415 - see above
    from agents.runtime.upgrade import MEMBER_MODULE  # noqa: PLC0415 - see above
    from agents.settings import member_from_json  # noqa: PLC0415 - see above

    image = Image(
        MEMBER_MODULE,
        "site-agent member -c FILE",
        member_from_json,
        serve_member,
        lambda one: f"site-agent member {one.member} of {one.site}",
    )
    return run_image(image, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
