"""A thread for what may hang: a file of a network, a database that takes the connection and says nothing.

Rule: one call at a time, each bounded by its caller's patience; a call that is given up keeps its thread, and until
that ends every further call fails at once. The agent's common threads, which make bounds and promises durable, are
never kept by a license. A thread that hangs keeps no process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class StillHangs(Exception):
    """A former call has not ended yet."""


class OwnThread:
    """Owned by one place."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.busy = False
        """A call has not ended, whether anybody still waits for it or not."""

    async def run(self, work: Callable[[], T], limit_s: float) -> T:
        """Raises StillHangs, TimeoutError, and what `work` raises."""
        if self.busy:
            raise StillHangs
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def body() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - raised to whoever waits
                tell(partial(done.set_exception, error))
            else:
                tell(partial(done.set_result, result))

        def tell(how: Callable[[], None]) -> None:
            self.busy = False
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(lambda: None if done.done() else how())

        self.busy = True
        threading.Thread(target=body, name=self._name, daemon=True).start()
        return await asyncio.wait_for(done, limit_s)
