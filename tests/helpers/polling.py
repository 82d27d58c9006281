"""Waiting for what other tasks do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INTERVAL = 0.005


async def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Let other tasks go on until this holds."""
    for _ in range(round(seconds / INTERVAL)):
        if holds():
            return
        await asyncio.sleep(INTERVAL)
    raise AssertionError("it never came to hold")
