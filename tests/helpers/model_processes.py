"""The bundled model in a process of its own, as `llterm serve` has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from llterm.backends.registry import find_model
from llterm.config import Config
from llterm.serve.model_frames import OpenModel
from llterm.serve.model_process import ModelProcess, open_process, opening_of
from llterm.serve.serve_limits import ServeLimits

LIMITS = ServeLimits(parallel=4, slot_context=512, cache_memory=64 << 20, drain_seconds=0)


def opening(file: Path | None = None, limits: ServeLimits = LIMITS) -> OpenModel:
    """Of the bundled model, or of a file."""
    known = find_model("fable" if file is None else str(file), Config())
    return opening_of(known, Config(), {"threads": 1}, limits, 1)


@asynccontextmanager
async def model_process(limits: ServeLimits = LIMITS) -> AsyncIterator[ModelProcess]:
    """It, loaded."""
    model = await open_process(opening(limits=limits))
    try:
        yield model
    finally:
        await model.close()
