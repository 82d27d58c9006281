"""The models of a server by name: loaded when they are asked for, and the one that was used longest
ago let go where memory is short."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

from llterm.backends.llamacpp import thread_budget
from llterm.core.display_text import field_text
from llterm.engine.generation import Busy
from llterm.errors import BackendUnavailable, LltermError, UsageError
from llterm.serve.api_errors import ApiError
from llterm.serve.model_opener import ModelOpener, ModelSource
from llterm.serve.pooled_model import LoadState, ModelLoad, PooledModel, PooledReplica
from llterm.serve.served_models import ServedModel

log = logging.getLogger(__name__)
_REMEMBERED = 256
"""Loads that have ended and can still be asked about."""


class ModelPool:
    """All of them; the first is meant where a request names none."""

    def __init__(
        self,
        models: Sequence[PooledModel],
        aliases: Mapping[str, str],
        opener: ModelOpener,
        memory: int | None = None,
    ) -> None:
        """`aliases`: other names for a model's. `memory`: bytes that all may take; None: any.
        Raises UsageError where an alias means nothing."""
        self.memory_bound = memory
        self._opener = opener
        self._models = {model.name: model for model in models}
        self._aliases = dict(aliases)
        self._leaving: list[PooledModel] = []
        """Served no more, with requests that have not ended."""
        self._uses = count(1)
        self._numbers = count(1)
        self._sharing = 1
        """Models of files among which the cores are shared at the least."""
        self._waiting: deque[ModelLoad] = deque()
        self._opening: _Opening | None = None
        self._ended: deque[ModelLoad] = deque(maxlen=_REMEMBERED)
        self._loading: asyncio.Task[None] | None = None
        for alias, name in aliases.items():
            if name not in self._models:
                raise UsageError(
                    f"The alias {alias} is for no model",
                    f"{name} is not served.",
                    f"Served are {', '.join(self._models)}.",
                )

    @property
    def models(self) -> Sequence[PooledModel]:
        """In their order."""
        return tuple(self._models.values())

    @property
    def loaded(self) -> Sequence[ServedModel]:
        """Every replica that is loaded."""
        return [replica.model for model in self._all for replica in model.replicas]

    @property
    def _all(self) -> Sequence[PooledModel]:
        return (*self._models.values(), *self._leaving)

    @property
    def memory(self) -> int:
        """Bytes that all of them take, about."""
        return sum(model.memory for model in self._all)

    @property
    def loads(self) -> Sequence[ModelLoad]:
        """What is loaded, then what waits to be, then what was, the latest first."""
        now = () if self._opening is None else (self._opening.load,)
        return (*now, *self._waiting, *reversed(self._ended))

    def find(self, name: str) -> PooledModel | None:
        """The model of this name or alias, if there is one."""
        return self._models.get(self._aliases.get(name, name))

    def get(self, name: str | None) -> PooledModel:
        """The model of this name or alias; the first without one. Raises ApiError (404)."""
        model = self.find(name) if name else next(iter(self._models.values()), None)
        if model is None:
            names = ", ".join((*self._models, *self._aliases)) or "none now"
            raise ApiError(
                404,
                f"There is no model {(name or '')[:100]}".rstrip(),
                f"This server has {names}.",
                param="model",
                code="model_not_found",
            )
        return model

    def aliases(self, model: PooledModel) -> list[str]:
        """Its other names."""
        return [alias for alias, name in self._aliases.items() if name == model.name]

    @asynccontextmanager
    async def used(self, model: PooledModel) -> AsyncIterator[ServedModel]:
        """One of its replicas for a request, loaded first where none is. Raises LltermError, `Busy`
        where too many wait for it already."""
        while not model.is_ready:
            await self._make_ready(model)
        # Held in the step in which its load was told to have ended: the next load comes later, and
        # would let go what nobody holds.
        model.last_use = next(self._uses)
        try:
            with model.held() as replica:
                yield replica
        finally:
            model.last_use = next(self._uses)

    async def start(self, models: Sequence[PooledModel]) -> None:
        """Load these, in this order, which share the cores. Raises LltermError."""
        sources = [source for model in models for source in model.sources]
        self._sharing = max(sum(source.decodes_here for source in sources), 1)
        for model in models:
            load = self.order(model)
            await load.ended.wait()
            if load.error is not None:
                raise load.error

    def order(self, model: PooledModel) -> ModelLoad:
        """Have all of its replicas loaded, whether or not somebody waits for them."""
        load = model.load or self._add(model)
        load.ordered = True
        return load

    def add(self, model: PooledModel) -> PooledModel:
        """Serve this one too. Returns the one that is served by its name already, if there is."""
        return self._models.setdefault(model.name, model)

    async def unload(self, model: PooledModel) -> None:
        """Let it go when its requests have ended; it is loaded again when it is asked for."""
        self._cancel(model)
        model.error = None
        await self._let_go(model)

    async def remove(self, model: PooledModel) -> None:
        """Serve it no more."""
        del self._models[model.name]
        self._aliases = {alias: name for alias, name in self._aliases.items() if name != model.name}
        self._leaving.append(model)
        await self.unload(model)

    async def close(self) -> None:
        """End all of them, whoever uses them."""
        for model in self._all:
            self._cancel(model)
        if self._loading is not None:
            await asyncio.wait({self._loading})
        for task in [model.letting_go for model in self._all if model.letting_go is not None]:
            task.cancel()
            await asyncio.wait({task})
        for replica in self.loaded:
            await replica.close()

    async def _make_ready(self, model: PooledModel) -> None:
        if model.waiting >= self._opener.limits.queue:
            raise Busy(
                "Too many requests wait",
                f"{model.name} is being loaded, and {model.waiting:,} wait for it.",
                "Ask again later.",
            )
        load = model.load or self._add(model)
        load.waiting += 1
        try:
            await load.ended.wait()
        finally:
            load.waiting -= 1
        if load.error is not None and not model.is_ready:
            raise _told(load.error)

    def _add(self, model: PooledModel) -> ModelLoad:
        load = model.load = ModelLoad(f"load-{next(self._numbers)}", model)
        self._waiting.append(load)
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load_all())
        return load

    def _cancel(self, model: PooledModel) -> None:
        """Give up its load, if one is under way."""
        load = model.load
        if load is None:
            return
        if self._opening is not None and self._opening.load is load:
            self._opening.task.cancel()
        else:
            self._waiting.remove(load)
            self._end(load, "cancelled", _given_up(model))

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
            if opening.cancelled():
                self._end(load, "cancelled", _given_up(load.model))
            elif (error := opening.exception()) is None:
                self._end(load, "done")
            else:
                told = error if isinstance(error, LltermError) else _fault(error)
                log.error("%s cannot be loaded: %s", load.model.name, field_text(str(told)))
                self._end(load, "failed", told)

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
        memory = await asyncio.to_thread(self._opener.memory, source)
        await self._make_room(load.model, memory)
        decoding = sum(
            replica.source is not None and replica.source.decodes_here
            for model in self._all
            for replica in model.replicas
        )
        sharing = max(self._sharing, decoding + 1)
        # The server itself takes the core that no decode does.
        cores = max((thread_budget.CORES - 1) // sharing, 1)

        def progress(share: float) -> None:
            load.share = share

        return PooledReplica(await self._opener.open(source, cores, progress), memory, source)

    async def _make_room(self, model: PooledModel, memory: int) -> None:
        """Let models go until there is room for so many bytes. Raises LltermError where that would
        not do."""
        bound = self.memory_bound
        if bound is None:
            return
        if model.memory + memory > bound:
            raise LltermError(
                f"{model.name} does not fit into the memory of all models",
                f"It takes {(model.memory + memory) / 1e6:,.0f} MB, about;"
                f" {bound / 1e6:,.0f} MB are set.",
                "Set a larger --models-memory, or a smaller --cache-memory.",
            )
        while self.memory + memory > bound:
            others = [each for each in self._all if each.memory and each is not model]
            await self._let_go(min(others, key=lambda each: (each.requests > 0, each.last_use)))

    async def _let_go(self, model: PooledModel) -> None:
        """Wait until its requests have ended and it is closed: also where whoever wanted that waits
        no more."""
        if model.letting_go is None:
            model.letting_go = asyncio.create_task(self._emptied(model))
        letting_go = model.letting_go
        await asyncio.wait({letting_go})
        letting_go.result()

    async def _emptied(self, model: PooledModel) -> None:
        try:
            await model.close()
        finally:
            model.letting_go = None
            if model in self._leaving:
                self._leaving.remove(model)


@dataclass(frozen=True, slots=True)
class _Opening:
    """What is loaded now."""

    load: ModelLoad
    task: asyncio.Task[None]


def _given_up(model: PooledModel) -> LltermError:
    return BackendUnavailable(
        f"{model.name} was unloaded before it was there", "", "Ask again in a moment."
    )


def _fault(error: BaseException) -> LltermError:
    return LltermError("It failed", f"{type(error).__name__}.", "")


def _told(error: LltermError) -> LltermError:
    """What a client is told: an operator's paths are in the words of other errors."""
    if isinstance(error, BackendUnavailable):
        return error
    return ApiError(
        503,
        "The model cannot be loaded",
        "The server's log says why.",
        "Take another one.",
        kind="server_error",
        code="model_unavailable",
        headers={"x-should-retry": "false"},
    )
