"""How a guard forks what belongs to it: its init and its keeper, each with a pipe for commands and one for events.

Rule: whatever the child does, it ends here and never runs on in the guard's code.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def fork_child(run: Callable[[int, int], None], failed: int) -> tuple[int, int, int]:
    """In the child: run(commands, events), then exit with `failed`. Here: pid, commands, events; neither blocks.

    Raises OSError, and then nothing is left open.
    """
    opened = [*os.pipe()]
    try:
        opened += os.pipe()
        pid = os.fork()
    except OSError:
        for fd in opened:
            os.close(fd)
        raise
    command_read, command_write, event_read, event_write = opened
    if pid == 0:
        try:
            signal.set_wakeup_fd(-1)
            os.close(command_write)
            os.close(event_read)
            run(command_read, event_write)
        except BaseException:  # noqa: BLE001 - nothing may unwind into the guard's code in the child
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(failed)
    os.close(command_read)
    os.close(event_write)
    os.set_blocking(command_write, False)
    os.set_blocking(event_read, False)
    return pid, command_write, event_read
