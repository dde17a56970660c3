"""Which fault at a start may pass by itself: a supervisor tries again, where for any other one somebody has to look."""

from __future__ import annotations

import errno
from typing import Final

from proto.errors import DurabilityLost, NotNow

_PASSES: Final = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.EAGAIN,
        errno.EADDRINUSE,
        errno.EADDRNOTAVAIL,
        errno.ETIMEDOUT,
    }
)
"""What a system lacks for a while: room, memory, files, an address."""


def may_pass(error: BaseException) -> bool:
    """Whoever starts this process should try it again; for anything else somebody has to look."""
    cause = error.__cause__
    lacks = isinstance(cause, TimeoutError) or (isinstance(cause, OSError) and cause.errno in _PASSES)
    return lacks or isinstance(error, NotNow | DurabilityLost)
