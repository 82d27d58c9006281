"""Loads of a server's models, one after the other, and the memory that all of them may take."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from llterm.backends.llamacpp import thread_budget
from llterm.core.display_text import field_text
from llterm.errors import BackendUnavailable, LltermError
from llterm.faults import unforeseen
from llterm.serve.model_opener import ModelOpener, ModelSource
from llterm.serve.pooled_model import LoadState, ModelLoad, PooledModel, PooledReplica

log = logging.getLogger(__name__)
_REMEMBERED = 256
"""Loads that have ended and can still be asked about."""


class LoadQueue:
    """What is loaded, and what is let go for it: the model that was used longest ago."""

    def __init__(
        self,
        models: Callable[[], Sequence[PooledModel]],
        opener: ModelOpener,
        memory: int | None,
    ) -> None:
        """`models`: all that may take memory now. `memory`: bytes that they may take; None: any."""
        self._models = models
        self._opener = opener
        self.memory_bound = memory
        self.sharing = 1
        """Models of files among which the cores are shared at the least."""
        self._numbers = count(1)
        self._waiting: deque[ModelLoad] = deque()
        self._opening: _Opening | None = None
        self._ended: deque[ModelLoad] = deque(maxlen=_REMEMBERED)
        self._loading: asyncio.Task[None] | None = None

    @property
    def loads(self) -> Sequence[ModelLoad]:
        """What is loaded, then what waits to be, then what was, the latest first."""
        now = () if self._opening is None else (self._opening.load,)
        return (*now, *self._waiting, *reversed(self._ended))

    @property
    def memory(self) -> int:
        """Bytes that all models take, about."""
        return sum(model.memory for model in self._models())

    def load(self, model: PooledModel) -> ModelLoad:
        """The load of it that is under way, or one that is put at the end."""
        if model.load is None:
            model.load = ModelLoad(f"load-{next(self._numbers)}", model)
            self._waiting.append(model.load)
            if self._loading is None or self._loading.done():
                self._loading = asyncio.create_task(self._load_all())
        return model.load

    def cancel(self, model: PooledModel) -> None:
        """Give up its load, if one is under way: whoever asks from now on has a load of his own."""
        load = model.load
        if load is None:
            return
        if self._opening is not None and self._opening.load is load:
            self._opening.task.cancel()
        else:
            self._waiting.remove(load)
        self._end(load, "cancelled", _given_up(model))

    async def let_go(self, model: PooledModel) -> None:
        """Wait until its requests have ended and it is closed: also where whoever wanted that waits
        no more."""
        if model.letting_go is None:
            model.letting_go = asyncio.create_task(_emptied(model))
        letting_go = model.letting_go
        await asyncio.wait({letting_go})
        letting_go.result()

    async def fit_together(self, models: Collection[PooledModel]) -> bool:
        """Whether there can be memory for all of them at once. Reads the headers of files that are
        not loaded."""
        if self.memory_bound is None:
            return True
        taken = sum(model.memory for model in models)
        for source in [model.lacking for model in models if not model.replicas]:
            # One that cannot be read is told of by its load.
            with suppress(LltermError):
                taken += 0 if source is None else await self._memory(source)
        return taken <= self.memory_bound

    async def close(self) -> None:
        """End all loads, and whatever is let go."""
        for model in self._models():
            self.cancel(model)
        if self._loading is not None:
            await asyncio.wait({self._loading})
        for task in [model.letting_go for model in self._models() if model.letting_go is not None]:
            task.cancel()
            await asyncio.wait({task})

    async def _load_all(self) -> None:
        """One load after the other, until none waits."""
        while self._waiting:
            load = self._waiting.popleft()
            if not load.is_wanted:
                self._end(load, "cancelled", _given_up(load.model))
                continue
            load.state = "loading"
            opening = asyncio.create_task(self._open(load))
            self._opening = _Opening(load, opening)
            try:
                await asyncio.wait({opening})
            finally:
                opening.cancel()
                self._opening = None
            if load.ended.is_set():
                # It was given up; that it may have come to its end nevertheless is of no account.
                if not opening.cancelled():
                    opening.exception()
            elif opening.cancelled():
                self._end(load, "cancelled", _given_up(load.model))
            elif (error := opening.exception()) is None:
                self._end(load, "done")
            else:
                if not isinstance(error, LltermError):
                    error = unforeseen("It failed", error)
                log.error("%s cannot be loaded: %s", load.model.name, field_text(str(error)))
                self._end(load, "failed", error)

    def _end(self, load: ModelLoad, state: LoadState, error: LltermError | None = None) -> None:
        load.model.load = None
        load.model.error = error if state == "failed" else None
        self._ended.append(load)
        load.end(state, error)

    async def _open(self, load: ModelLoad) -> None:
        """Open what the model has no replica of yet."""
        model = load.model
        if model.letting_go is not None:
            await asyncio.wait({model.letting_go})
        await model.close_failed()
        while source := model.lacking:
            try:
                model.replicas.append(await self._opened(source, load))
            except LltermError:
                if model.replicas:
                    # Those that are there are not to fail with it again.
                    model.sources.remove(source)
                raise

    async def _opened(self, source: ModelSource, load: ModelLoad) -> PooledReplica:
        memory = await self._memory(source)
        await self._make_room(load, memory)
        decoding = sum(
            replica.source is not None and replica.source.decodes_here
            for model in self._models()
            for replica in model.replicas
        )
        sharing = max(self.sharing, decoding + 1)
        # The server itself takes the core that no decode does.
        cores = max((thread_budget.CORES - 1) // sharing, 1)

        def progress(share: float) -> None:
            load.share = share

        return PooledReplica(await self._opener.open(source, cores, progress), memory, source)

    async def _memory(self, source: ModelSource) -> int:
        """Bytes that a replica of it will take. Raises LltermError."""
        return await asyncio.to_thread(self._opener.memory, source)

    async def _make_room(self, load: ModelLoad, memory: int) -> None:
        """Let models go until there is room for so many bytes more. Raises LltermError where that
        would not do."""
        bound, model = self.memory_bound, load.model
        if bound is None:
            return
        if model.memory + memory > bound:
            raise LltermError(
                f"{model.name} does not fit into the memory of all models",
                f"It takes {_megabytes(model.memory + memory)}, about; {_megabytes(bound)} are"
                " set.",
                "Set a larger --models-memory, or a smaller --cache-memory.",
            )
        while self.memory + memory > bound:
            others = [each for each in self._models() if each.memory and each is not model]
            await self.let_go(
                min(
                    others,
                    key=lambda each: (each in load.beside, each.requests > 0, each.last_use),
                )
            )


@dataclass(frozen=True, slots=True)
class _Opening:
    """What is loaded now."""

    load: ModelLoad
    task: asyncio.Task[None]


async def _emptied(model: PooledModel) -> None:
    try:
        await model.close()
    finally:
        model.letting_go = None


def _given_up(model: PooledModel) -> LltermError:
    return BackendUnavailable(
        f"{model.name} was unloaded before it was there", "", "Ask again in a moment."
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
