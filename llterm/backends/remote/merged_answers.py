"""Answers to several requests that are under way together, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def merged(sources: Sequence[AsyncGenerator[T]]) -> AsyncGenerator[T]:
    """What the sources give, as it comes; closing this closes them all.

    Raises what the first of them raises, and ends the others.
    """
    if len(sources) == 1:
        async with aclosing(sources[0]) as only:
            async for item in only:
                yield item
        return
    items: asyncio.Queue[T | BaseException | None] = asyncio.Queue()

    async def pump(source: AsyncGenerator[T]) -> None:
        try:
            async with aclosing(source) as opened:
                async for item in opened:
                    items.put_nowait(item)
            items.put_nowait(None)
        except Exception as error:  # noqa: BLE001 (it is raised again by the reader)
            items.put_nowait(error)

    tasks = [asyncio.create_task(pump(source)) for source in sources]
    left = len(tasks)
    try:
        while left:
            received = await items.get()
            if isinstance(received, BaseException):
                raise received
            if received is None:
                left -= 1
            else:
                yield received
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
