"""One connection after the other, as long as somebody is to be reached: by witnesses, members and other sites alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agents.client.backoff import Backoff

STABLE_S = 5.0
"""A connection that lived this long starts its back-off anew."""


async def keep_open(one_connection: Callable[[], Awaitable[bool]], jitter: Callable[[], float]) -> None:
    """Until cancelled. `one_connection` ends with it; True: refused for a reason that a quick retry does not change."""
    backoff = Backoff(jitter)
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        refused = await one_connection()
        if loop.time() - began >= STABLE_S:
            backoff.succeeded()
        await asyncio.sleep(backoff.next_s(refused=refused))
