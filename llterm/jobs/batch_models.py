"""The model of a batch: slots in this process, a server behind its pool, or token by token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from llterm.backends.llamacpp import LlamaBackend
from llterm.backends.llamacpp.gguf_header import inspect_gguf, weights_digest
from llterm.backends.llamacpp.memory_estimate import cell_bytes
from llterm.backends.llamacpp.slot_sizes import default_cache_memory
from llterm.backends.registry import find_model
from llterm.backends.remote.llterm_backend import LltermBackend
from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.core.query import Backend
from llterm.engine.backend_generator import BackendGenerator
from llterm.engine.generation import Generator
from llterm.engine.scheduler import open_scheduler, usual_keepers
from llterm.jobs.batch_answers import Answering, RowAnswers
from llterm.jobs.batch_server import ServerAnswers
from llterm.jobs.request import Request
from llterm.jobs.runner import Listener, opened

QUEUE = 4096
"""Texts that wait for a slot: some rows want many."""
PARALLEL = 64, 16, 4
"""Rows at once, where nobody says how many: more take less of a processor each, and more memory."""
ROOM = 2048
"""Tokens of a row and its answer that there is to be room for."""
PREFILL = 1.0
"""Seconds that rows under way may wait for parts of prompts: nobody looks on."""


@dataclass(frozen=True, slots=True)
class SlotOptions:
    """How many rows a model in this process draws at once, and in how much room."""

    parallel: int | None = None
    """None: as many of `PARALLEL` as have room."""
    context: int | None = None
    """Most tokens of a row and its answer; None: as many as fit into the memory."""
    memory: int | None = None
    """Bytes; None: a quarter of the machine's."""


@dataclass(frozen=True, slots=True)
class OpenedAnswers:
    """A model that answers rows."""

    answers: RowAnswers
    facts: Mapping[str, Any]
    """What it is, by which it is known again; values are JSON."""


@asynccontextmanager
async def opened_answers(
    request: Request, slots: SlotOptions, answering: Answering, listener: Listener
) -> AsyncGenerator[OpenedAnswers]:
    """The request's model, ready to answer, while a batch runs. Raises LltermError."""
    cells, opening = _slot_cells(request)
    async with opened(opening, listener) as backend:
        facts = _facts(backend)
        if isinstance(backend, RemoteBackend | LltermBackend):
            yield OpenedAnswers(ServerAnswers(backend), facts)
            return
        parallel = slots.parallel or await _usual_parallel(backend, slots, cells)
        generator = await _generator(backend, slots, parallel, cells)
        try:
            yield OpenedAnswers(answering(generator, backend, parallel), facts)
        finally:
            await generator.close()


def _slot_cells(request: Request) -> tuple[int | None, Request]:
    """The cache size that is set for a model of a file, which its slots share, as those of a
    server do; and the request without it."""
    known = find_model(request.models[0], request.config)
    if known.path is None:
        return None, request
    cells = request.overrides.get("cache_size", known.settings.cache_size)
    return cells, replace(request, overrides={**request.overrides, "cache_size": None})


async def _usual_parallel(backend: Backend, slots: SlotOptions, cells: int | None) -> int:
    """As many rows at once as leave each the room that one may want."""
    if not isinstance(backend, LlamaBackend):
        return PARALLEL[1]
    capabilities = backend.capabilities
    assert capabilities.weights is not None
    info = await asyncio.to_thread(inspect_gguf, capabilities.weights, brief=True)
    sees = backend.settings.context or info.context or ROOM
    room = slots.context or min(sees, ROOM)
    memory = default_cache_memory() if slots.memory is None else slots.memory
    most = memory / max(cell_bytes(info, backend.settings), 1) if cells is None else cells
    for parallel in PARALLEL:
        count = parallel + usual_keepers(parallel)
        states = capabilities.shares or count <= capabilities.batch
        if states and count * room <= most:
            return parallel
    return PARALLEL[-1]


async def _generator(
    backend: Backend, slots: SlotOptions, parallel: int, cells: int | None
) -> Generator:
    if isinstance(backend, LlamaBackend):
        return await open_scheduler(
            backend,
            parallel=parallel,
            context=slots.context,
            memory=slots.memory,
            cells=cells,
            queue=QUEUE,
            prefill=PREFILL,
        )
    return BackendGenerator(backend, parallel, QUEUE)


def _facts(backend: Backend) -> dict[str, Any]:
    capabilities = backend.capabilities
    if isinstance(backend, RemoteBackend | LltermBackend):
        return {"model": backend.served_as, "server": backend.speaks}
    facts = {"model": backend.name, "vocabulary": backend.vocabulary.fingerprint}
    if not isinstance(backend, LlamaBackend):
        return facts
    assert capabilities.weights is not None
    return {
        **facts,
        "model": capabilities.weights.name,
        "weights": weights_digest(capabilities.weights),
        "kernels": capabilities.kernel_kind,
        "kv_type": backend.settings.kv_type,
        "chats": backend.chat_format,
    }
