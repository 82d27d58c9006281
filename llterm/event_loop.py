"""Coroutines run to their end from code that is not asynchronous: commands, and their children."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on an event loop of its own. Returns its result; ctrl+c cancels it.

    asyncio's handling of ctrl+c writes out the `repr` of its finished task, result and all, twice:
    seconds where that is a long text's readings. So the task here has no result.
    """
    results: list[T] = []

    async def keep_result() -> None:
        results.append(await coroutine)

    asyncio.run(keep_result())
    return results[0]
