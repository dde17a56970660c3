"""The one way in which a process ends itself when it is wrong: at once, loudly, without a clean-up that could hang.

A broken process is a missing one: its timers, leases and leadership lapse, and the guards of a site count on by
themselves. Exit handlers would run the code that is known to be broken, so there are none.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import NoReturn

EXIT_FATAL = 70
"""EX_SOFTWARE of sysexits(3): a supervisor starts the process again."""


def fatal(error: BaseException) -> NoReturn:
    try:
        logging.getLogger("thirdsite").critical("fatal", exc_info=error)
        for handler in logging.getLogger().handlers:
            handler.flush()
    except Exception:  # noqa: BLE001 - a broken logger must not keep a broken process alive
        traceback.print_exception(error, file=sys.stderr)
    finally:
        os._exit(EXIT_FATAL)
