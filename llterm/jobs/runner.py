"""What every job does: opens its request's models, tells how far it is, closes them at the end.

A job is run by `run_coroutine`: ctrl+c cancels it, and it closes its models first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from llterm.backends.registry import Progress, find_model, open_model
from llterm.config import Config
from llterm.core.query import Backend
from llterm.core.server_news import HearNews, ServerNews
from llterm.engine.kernel_notes import kernel_notes
from llterm.engine.mixture import Mix, open_mix, open_models
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
    if request.backends:
        return list(request.models)
    return [find_model(name, request.config).name for name in request.models]


@asynccontextmanager
async def opened(request: Request, listener: Listener = SILENCE) -> AsyncGenerator[Backend]:
    """The request's model, or the mix of its models, while a job runs.

    Raises LltermError where it cannot be opened.
    """
    backend: Backend
    if request.backends:
        if request.recipe is None:
            yield request.backends[0]
            return
        mix = Mix(request.backends, request.recipe, names=request.models)
        try:
            yield mix
        finally:
            await mix.leave()
        return
    how = _opening(request, listener)
    if request.recipe is None:
        backend = await open_model(request.models[0], *how)
    else:
        backend = await open_mix(request.models, request.recipe, *how)
    try:
        _say_kernels([backend], listener)
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
    if request.backends:
        yield list(request.backends)
        return
    backends = await open_models(request.models, *_opening(request, listener))
    try:
        _say_kernels(backends, listener)
        yield backends
    finally:
        for backend in backends:
            await backend.close()


async def run_together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run these at once, to their end. Where one fails, or this is cancelled, the others are
    cancelled and waited for."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _say_kernels(backends: Sequence[Backend], listener: Listener) -> None:
    for backend in backends:
        for note in kernel_notes(backend):
            listener.warn(note)


def _opening(
    request: Request, listener: Listener
) -> tuple[Config, Mapping[str, Any], Progress, HearNews]:
    """What models are opened with, and who hears of it."""
    progress = load_progress(listener, " and ".join(request.models))
    return request.config, request.overrides, progress, absences(listener)


def load_progress(listener: Listener, model: str) -> Callable[[float], None]:
    """Tells how much of a model is loaded; may be called from any thread."""
    loop = asyncio.get_running_loop()

    def tell(share: float) -> None:
        loop.call_soon_threadsafe(listener.say, f"Opening {model}: {share:.0%}")

    return tell


def absences(listener: Listener) -> HearNews:
    """Tells of each model's servers, once, that one is away and waited for, and that it answers
    again; and, once, what its answers show that it does not do."""

    def hear(news: ServerNews) -> None:
        told: set[str] = set()
        limits: set[str] = set()

        def tell() -> None:
            for away in news.waited_for:
                if away.address not in told:
                    told.add(away.address)
                    listener.warn(
                        f"{away.words}; asking again for {away.patience:.0f} s: {away.address}"
                    )
            still = {away.address for away in news.absences}
            for address in sorted(told - still):
                listener.warn(f"{address} answered again")
            told.intersection_update(still)
            for limit in news.limits:
                if limit not in limits:
                    limits.add(limit)
                    listener.warn(limit)

        news.listen(tell)

    return hear
