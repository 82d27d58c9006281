"""The models of a server by name, and who uses them: each is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from itertools import count

from llterm.engine.generation import Busy
from llterm.errors import BackendUnavailable, LltermError, UsageError
from llterm.serve.api_errors import ApiError
from llterm.serve.load_queue import LoadQueue
from llterm.serve.model_opener import ModelOpener
from llterm.serve.pooled_model import ModelLoad, PooledModel
from llterm.serve.served_models import ServedModel


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
        self._limits = opener.limits
        self._models = {model.name: model for model in models}
        self._aliases = dict(aliases)
        self._removed: list[PooledModel] = []
        """Served no more; requests may use them yet."""
        self._queue = LoadQueue(lambda: self._all, opener, memory)
        self._uses = count(1)
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
        self._removed = [model for model in self._removed if model.is_held]
        return (*self._models.values(), *self._removed)

    @property
    def memory(self) -> int:
        """Bytes that all of them take, about."""
        return self._queue.memory

    @property
    def memory_bound(self) -> int | None:
        """Bytes that they may take."""
        return self._queue.memory_bound

    @property
    def loads(self) -> Sequence[ModelLoad]:
        """What is loaded, then what waits to be, then what was, the latest first."""
        return self._queue.loads

    def find(self, name: str) -> PooledModel | None:
        """The model of this name or alias, if there is one."""
        return self._models.get(self._aliases.get(name, name))

    def get(self, name: str | None) -> PooledModel:
        """The model of this name or alias; the first without one. Raises ApiError (404)."""
        model = self.find(name) if name else next(iter(self._models.values()), None)
        if model is None:
            raise self._unknown(name or "")
        return model

    def aliases(self, model: PooledModel) -> list[str]:
        """Its other names."""
        return [alias for alias, name in self._aliases.items() if name == model.name]

    @asynccontextmanager
    async def used(self, models: Sequence[PooledModel]) -> AsyncIterator[Sequence[ServedModel]]:
        """One replica of each for a request, loaded first where none is. None is held while others
        are loaded, which may need its memory. Raises LltermError, `Busy` where too many wait for
        one of them already."""
        await self._check_together(models)
        while (lacking := next((each for each in models if not each.is_ready), None)) is not None:
            await self._make_ready(lacking, models)
        # Held in the step in which the last load was told to have ended: the next one comes later,
        # and would let go what nobody holds.
        self._note_use(models)
        try:
            with ExitStack() as stack:
                yield [stack.enter_context(model.held()) for model in models]
        finally:
            self._note_use(models)

    async def start(self, models: Sequence[PooledModel]) -> None:
        """Load these, in this order, which share the cores. Raises LltermError."""
        sources = [source for model in models for source in model.sources]
        self._queue.sharing = max(sum(source.decodes_here for source in sources), 1)
        for model in models:
            load = self.order(model)
            await load.ended.wait()
            if load.error is not None:
                raise load.error

    def order(self, model: PooledModel) -> ModelLoad:
        """Have all of its replicas loaded, whether or not somebody waits for them."""
        load = self._queue.load(model)
        load.ordered = True
        return load

    def add(self, model: PooledModel) -> PooledModel:
        """Serve this one too. Returns the one that is served by its name already, if there is."""
        return self._models.setdefault(model.name, model)

    async def unload(self, model: PooledModel) -> None:
        """Let it go when its requests have ended; it is loaded again when it is asked for."""
        self._queue.cancel(model)
        model.error = None
        await self._queue.let_go(model)

    async def remove(self, model: PooledModel) -> None:
        """Serve it no more."""
        del self._models[model.name]
        self._aliases = {alias: name for alias, name in self._aliases.items() if name != model.name}
        self._removed.append(model)
        await self.unload(model)

    async def close(self) -> None:
        """End all of them, whoever uses them."""
        await self._queue.close()
        for replica in self.loaded:
            await replica.close()

    def _note_use(self, models: Sequence[PooledModel]) -> None:
        for model in models:
            model.last_use = next(self._uses)

    async def _check_together(self, models: Sequence[PooledModel]) -> None:
        """Raise ApiError where these can never be there at once."""
        if len(models) == 1 or all(model.is_ready for model in models):
            return
        if not await self._queue.fit_together(dict.fromkeys(models)):
            raise _unavailable(
                "These models do not fit into memory together",
                "This server may keep fewer at once.",
                "Mix smaller ones, or ask its operator for a larger --models-memory.",
            )

    async def _make_ready(self, model: PooledModel, beside: Sequence[PooledModel]) -> None:
        """Wait for a load of it. `beside`: what is needed at the same time."""
        if self._models.get(model.name) is not model:
            raise self._unknown(model.name)
        if model.waiting >= self._limits.queue:
            raise Busy(
                "Too many requests wait",
                f"{model.name} is being loaded, and {model.waiting:,} wait for it.",
                "Ask again later.",
            )
        load = self._queue.load(model)
        load.beside.update(beside)
        load.waiting += 1
        try:
            await load.ended.wait()
        finally:
            load.waiting -= 1
        if load.error is not None and not model.is_ready:
            raise _told(load.error)

    def _unknown(self, name: str) -> ApiError:
        names = ", ".join((*self._models, *self._aliases)) or "none now"
        return ApiError(
            404,
            f"There is no model {name[:100]}".rstrip(),
            f"This server has {names}.",
            param="model",
            code="model_not_found",
        )


def _told(error: LltermError) -> LltermError:
    """What a client is told: an operator's paths are in the words of other errors."""
    if isinstance(error, BackendUnavailable):
        return error
    return _unavailable(
        "The model cannot be loaded", "The server's log says why.", "Take another one."
    )


def _unavailable(title: str, cause: str, hint: str) -> ApiError:
    return ApiError(
        503,
        title,
        cause,
        hint,
        kind="server_error",
        code="model_unavailable",
        headers={"x-should-retry": "false"},
    )
