"""One name of a server's: the replicas of its model that are loaded, and who uses them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from llterm.backends.registry import KnownModel
from llterm.errors import LltermError
from llterm.serve.model_opener import ModelSource
from llterm.serve.served_models import ServedModel

PoolState = Literal["unloaded", "queued", "loading", "loaded", "unloading", "failed"]
LoadState = Literal["queued", "loading", "done", "failed", "cancelled"]


@dataclass(slots=True, eq=False)
class PooledReplica:
    """A model that is loaded."""

    model: ServedModel
    memory: int = 0
    """Bytes that it takes, about."""
    source: ModelSource | None = None
    """None for one that was opened elsewhere."""
    requests: int = 0
    """That use it now."""


@dataclass(slots=True, eq=False)
class ModelLoad:
    """That a model is to be loaded: all of its replicas that are not."""

    id: str
    model: PooledModel
    ordered: bool = False
    """By the operator: it is done though nobody waits for it."""
    state: LoadState = "queued"
    share: float = 0.0
    """Of what is to be read, how much is."""
    error: LltermError | None = None
    waiting: int = 0
    """Requests that wait for it."""
    beside: set[PooledModel] = field(default_factory=set)
    """Models that some of them need at the same time: others are let go for it first."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_wanted(self) -> bool:
        return self.ordered or self.waiting > 0

    def end(self, state: LoadState, error: LltermError | None = None) -> None:
        """Let whoever waits know what became of it."""
        self.state, self.error = state, error
        self.ended.set()


class PooledModel:
    """A model that is served by this name, loaded or not."""

    def __init__(
        self,
        known: KnownModel,
        sources: list[ModelSource],
        replicas: list[PooledReplica] | None = None,
    ) -> None:
        """`sources`: what its replicas are loaded from when it is asked for."""
        self.known = known
        self.created = int(time.time())
        """Seconds since 1970."""
        self.sources = sources
        self.replicas = replicas or []
        self.load: ModelLoad | None = None
        """The one that is under way."""
        self.letting_go: asyncio.Task[None] | None = None
        self.last_use = 0
        """Larger for a later one."""
        self.error: LltermError | None = None
        """Why it could not be loaded when that was tried last."""
        self._idle = asyncio.Event()

    @property
    def name(self) -> str:
        return self.known.name

    @property
    def lacking(self) -> ModelSource | None:
        """The first of its sources that has no replica."""
        there = [replica.source for replica in self.replicas]
        return next((source for source in self.sources if source not in there), None)

    @property
    def is_held(self) -> bool:
        """Whether anything of it is there yet."""
        return bool(self.replicas) or self.load is not None or self.letting_go is not None

    @property
    def is_ready(self) -> bool:
        """Whether a request may use it now."""
        return bool(self.replicas) and self.letting_go is None

    @property
    def is_usable(self) -> bool:
        """Whether it answers now, or will where it is asked."""
        if self.replicas:
            return any(replica.model.state == "ok" for replica in self.replicas)
        return self.load is None and self.error is None

    @property
    def is_loading(self) -> bool:
        """Whether it is read, for the first time or again."""
        return self.load is not None or any(
            replica.model.state == "loading" for replica in self.replicas
        )

    @property
    def state(self) -> PoolState:
        if self.letting_go is not None:
            return "unloading"
        if self.replicas:
            states = {replica.model.state for replica in self.replicas}
            return "loaded" if "ok" in states else "loading" if "loading" in states else "failed"
        if self.load is not None:
            return "queued" if self.load.state == "queued" else "loading"
        return "unloaded" if self.error is None else "failed"

    @property
    def memory(self) -> int:
        """Bytes that all of it takes, about."""
        return sum(replica.memory for replica in self.replicas)

    @property
    def requests(self) -> int:
        """That use it now."""
        return sum(replica.requests for replica in self.replicas)

    @property
    def waiting(self) -> int:
        """Requests that wait until it is loaded."""
        return 0 if self.load is None else self.load.waiting

    @contextmanager
    def held(self) -> Iterator[ServedModel]:
        """The replica with the fewest requests, which is not let go meanwhile."""
        replica = min(self.replicas, key=lambda each: (each.model.state != "ok", each.requests))
        replica.requests += 1
        try:
            yield replica.model
        finally:
            replica.requests -= 1
            if not self.requests:
                self._idle.set()

    async def close_failed(self) -> None:
        """End the replicas that were given up."""
        for replica in [each for each in self.replicas if each.model.state == "failed"]:
            self.replicas.remove(replica)
            await replica.model.close()

    async def close(self) -> None:
        """End its replicas when no request uses them any more."""
        while self.requests:
            self._idle.clear()
            await self._idle.wait()
        for replica in self.replicas:
            await replica.model.close()
        self.replicas = []
