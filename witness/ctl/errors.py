"""How witnessctl ends: one exit code for each kind of end, the same for every command.

0   done, or it was so already
1   refused: the text says why and what to do next
2   no witness reachable, or no majority of them: nothing is known to have changed unless the text says so
3   accepted, but not finished within --timeout (switchover --wait)
4   sound as configured, but what is measured is worse than what was assumed (timing)
64  wrong usage
78  configuration (--config, THIRDSITE_CTL) or a file that was given cannot be used
"""

from __future__ import annotations

from proto.errors import ThirdsiteError

DONE = 0
REFUSED = 1
UNREACHABLE = 2
UNFINISHED = 3
DRIFTED = 4
USAGE = 64
CONFIG = 78


class CtlEnd(ThirdsiteError):
    """The command ends with this code; the text goes to stderr."""

    code = REFUSED


class Refused(CtlEnd):
    code = REFUSED


class Unreachable(CtlEnd):
    code = UNREACHABLE


class Unfinished(CtlEnd):
    code = UNFINISHED


class Drifted(CtlEnd):
    code = DRIFTED


class Misused(CtlEnd):
    code = USAGE


class Misconfigured(CtlEnd):
    code = CONFIG
