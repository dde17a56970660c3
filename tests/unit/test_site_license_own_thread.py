"""What hangs holds up nothing but itself: neither the loop, nor the agent's common threads, nor the process's end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agents.license.own_thread import OwnThread, StillHangs


async def test_it_gives_back_what_the_call_gives_and_raises():
    own = OwnThread("t")
    assert await own.run(lambda: 7, 5) == 7

    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await own.run(fails, 5)
    assert await own.run(threading.current_thread, 5) is not threading.current_thread()


async def test_a_call_that_hangs_is_given_up_and_keeps_only_its_own_thread():
    own, other, let_go = OwnThread("t"), OwnThread("o"), threading.Event()
    with pytest.raises(TimeoutError):
        await own.run(let_go.wait, 0.05)
    assert own.busy
    for _ in range(20):
        with pytest.raises(StillHangs):
            await own.run(lambda: 1, 5)
    assert threading.active_count() < 20
    assert await other.run(lambda: 2, 5) == 2
    assert await asyncio.to_thread(lambda: 3) == 3
    let_go.set()
    async with asyncio.timeout(5):
        while own.busy:  # noqa: ASYNC110 - the thread ends by itself
            await asyncio.sleep(0.01)
    assert await own.run(lambda: 4, 5) == 4


async def test_its_threads_keep_no_process_from_ending():
    own, let_go = OwnThread("t"), threading.Event()
    with pytest.raises(TimeoutError):
        await own.run(let_go.wait, 0.01)
    assert all(one.daemon for one in threading.enumerate() if one.name == "t")
    let_go.set()
