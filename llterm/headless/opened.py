"""The model of a job, open while the job runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from llterm.backends.registry import open_model
from llterm.config import Config
from llterm.core.query import Backend
from llterm.jobs.runner import load_progress
from llterm.progress_line import ProgressLine


@asynccontextmanager
async def opened(
    model: str, config: Config, overrides: Mapping[str, int]
) -> AsyncGenerator[tuple[Backend, ProgressLine]]:
    """A model and the line on which to say how far the job is; both are put away at the end.

    Raises LltermError where it cannot be opened.
    """
    line = ProgressLine()
    try:
        backend = await open_model(model, config, overrides, load_progress(line, model))
        try:
            yield backend, line
        finally:
            await backend.close()
    finally:
        line.clear()
