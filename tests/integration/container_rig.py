"""Containers for tests: a PID namespace of their own with its /proc, made with unshare(1); first process as given."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

WEAK = (
    *("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *(
        "sh",
        "-c",
        'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all "$@"',
        "sh",
    ),
)
"""No further namespaces can be made in it: neither by right (no capability) nor by a user namespace."""
STRONG = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


class Container:
    """`process` is unshare itself, outside; the container's first process is its child."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *command: str, how: tuple[str, ...] = STRONG) -> Container:
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*how, *command, stdout=pipe, stderr=pipe))

    @property
    def first(self) -> int:
        """The host's pid of the container's first process."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def processes(self) -> list[int]:
        """Everything below, in this namespace or in those inside of it."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            with contextlib.suppress(OSError):
                below = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
                found += below
                todo += below
        return found

    def signal(self, number: int) -> None:
        """To the first process, as an engine does it."""
        os.kill(self.first, number)

    def signal_all(self, number: int) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def ended(self, bound_s: float = 15) -> int:
        return await asyncio.wait_for(self.process.wait(), bound_s)

    async def close(self) -> None:
        if self.process.returncode is None:
            self.signal_all(signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.process.communicate()
