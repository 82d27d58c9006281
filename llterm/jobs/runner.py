"""What every job does: opens its request's models, tells how far it is, closes them at the end.

A job is run by `asyncio.run`: ctrl+c cancels it, and it closes its models first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from llterm.backends.registry import Progress, Tell, find_model, open_model
from llterm.config import Config
from llterm.core.query import Backend
from llterm.engine.mixture import open_mix, open_models
from llterm.jobs.request import Request


class Listener(Protocol):
    """Who hears how far a job is, on the thread that runs it."""

    def say(self, text: str) -> None:
        """How far it is now, in place of what was said before."""

    def warn(self, text: str) -> None:
        """Something worth keeping, such as that a server is away."""


class SilentListener:
    """Hears nothing."""

    def say(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


SILENCE = SilentListener()


def names_of(request: Request) -> list[str]:
    """The models' own names, in order. Raises ModelError for one that there is not."""
    return [find_model(name, request.config).name for name in request.models]


@asynccontextmanager
async def opened(request: Request, listener: Listener = SILENCE) -> AsyncGenerator[Backend]:
    """The request's model, or the mix of its models, while a job runs.

    Raises LltermError where it cannot be opened.
    """
    how = _opening(request, listener)
    backend: Backend
    if request.recipe is None:
        backend = await open_model(request.models[0], *how)
    else:
        backend = await open_mix(request.models, request.recipe, *how)
    try:
        yield backend
    finally:
        await backend.close()


@asynccontextmanager
async def all_opened(
    request: Request, listener: Listener = SILENCE
) -> AsyncGenerator[list[Backend]]:
    """Each of the request's models, while a job runs.

    Raises LltermError where one cannot be opened; none stays open then.
    """
    backends = await open_models(request.models, *_opening(request, listener))
    try:
        yield backends
    finally:
        for backend in backends:
            await backend.close()


def _opening(
    request: Request, listener: Listener
) -> tuple[Config, Mapping[str, int], Progress, Tell]:
    """What models are opened with, and who hears of it."""
    progress = load_progress(listener, " and ".join(request.models))
    return request.config, request.overrides, progress, absences(listener)


def load_progress(listener: Listener, model: str) -> Callable[[float], None]:
    """Tells how much of a model is loaded; may be called from any thread."""
    loop = asyncio.get_running_loop()

    def tell(share: float) -> None:
        loop.call_soon_threadsafe(listener.say, f"Opening {model}: {share:.0%}")

    return tell


def absences(listener: Listener) -> Callable[[str], None]:
    """Tells once that a server is away, and once that it answers again."""
    away: list[str] = []

    def tell(text: str) -> None:
        address = text.rpartition(": ")[2]
        if not text and away:
            listener.warn(f"{', '.join(away)} answered again")
            away.clear()
        elif text and address not in away:
            away.append(address)
            listener.warn(text)

    return tell
