"""The one way in which a witness ends itself when it is wrong: at once, loudly, without a clean-up that could hang.

A broken witness is a missing one: its timers stop, its leadership lapses, and the two others go on. Exit handlers
would run the code that is known to be broken, so there are none; the store is safe at any instant. What only an
upgrade can mend ends with the code of a configuration fault, so that no supervisor starts it again and again.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import NoReturn

from proto.features import UpgradeRequired

EXIT_FATAL = 70
"""EX_SOFTWARE of sysexits(3): a supervisor starts the process again."""
EXIT_UPGRADE = 78
"""EX_CONFIG: the installed version does not fit; starting it again would end alike."""


def fatal(error: BaseException) -> NoReturn:
    mendable = isinstance(error, UpgradeRequired)
    try:
        if mendable:
            logging.getLogger("witness").critical("upgrade required: %s", error)
        else:
            logging.getLogger("witness").critical("fatal", exc_info=error)
        for handler in logging.getLogger().handlers:
            handler.flush()
    except Exception:  # noqa: BLE001  # a broken logger must not keep a broken witness alive
        traceback.print_exception(error, file=sys.stderr)
    finally:
        os._exit(EXIT_UPGRADE if mendable else EXIT_FATAL)
