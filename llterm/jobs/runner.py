"""Runs jobs: opens the models of a request, tells how far it is, and closes them at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from llterm.backends.registry import find_model, open_model
from llterm.core.query import Backend
from llterm.engine.mix_opener import open_mix, open_models
from llterm.jobs.request import Request

Result = TypeVar("Result")


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


def run(job: Coroutine[Any, Any, Result]) -> Result:
    """Do a job from beginning to end. Raises what it raises, and KeyboardInterrupt where the person
    stops it: the job is cancelled then, and closes its models first."""
    return asyncio.run(job)


def names_of(request: Request) -> list[str]:
    """The models' own names, in order. Raises ModelError for one that there is not."""
    return [find_model(name, request.config).name for name in request.models]


@asynccontextmanager
async def opened(request: Request, listener: Listener = SILENCE) -> AsyncGenerator[Backend]:
    """The request's model, or the mix of its models, while a job runs.

    Raises LltermError where it cannot be opened.
    """
    progress = load_progress(listener, " and ".join(request.models))
    away = absences(listener)
    backend: Backend
    if request.recipe is None:
        backend = await open_model(request.model, request.config, request.overrides, progress, away)
    else:
        backend = await open_mix(
            request.models, request.recipe, request.config, request.overrides, progress, away
        )
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
    progress = load_progress(listener, " and ".join(request.models))
    away = absences(listener)
    backends = await open_models(request.models, request.config, request.overrides, progress, away)
    try:
        yield backends
    finally:
        for backend in backends:
            await backend.close()


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
