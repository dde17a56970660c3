"""The tasks of one connection end together, and say what ended it."""

from __future__ import annotations

import asyncio

import pytest

from agents.client.together import until_one_ends

ENDED: list[str] = []


async def lives(name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)  # what a transport still has to do
        ENDED.append(name)


async def raises(text: str) -> None:
    await asyncio.sleep(0)
    raise ConnectionError(text)


async def returns() -> None:
    await asyncio.sleep(0)


async def test_the_first_end_ends_all_and_is_told() -> None:
    ENDED.clear()
    with pytest.raises(ConnectionError, match="lost"):
        await until_one_ends(lives("reader"), raises("lost"), lives("writer"))
    assert ENDED == ["reader", "writer"]


async def test_of_two_ends_at_once_the_first_in_order_is_told() -> None:
    with pytest.raises(ConnectionError, match="first"):
        await until_one_ends(raises("first"), raises("second"))


async def test_an_end_without_words_is_an_end() -> None:
    ENDED.clear()
    await until_one_ends(lives("reader"), returns())
    assert ENDED == ["reader"]


async def test_whoever_cancels_it_has_all_of_it_gone() -> None:
    ENDED.clear()
    task = asyncio.create_task(until_one_ends(lives("reader"), lives("writer")))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ENDED) == ["reader", "writer"]
