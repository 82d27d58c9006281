"""The model of a batch: slots in this process, a server behind its pool, or token by token."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llterm.backends.llamacpp import LlamaBackend
from llterm.backends.llamacpp.gguf_header import inspect_gguf
from llterm.backends.llamacpp.slot_sizes import default_cache_memory
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
from llterm.regular_file import open_file

QUEUE = 4096
"""Texts that wait for a slot: some rows want many."""
PARALLEL = 64, 16, 4
"""Rows at once, where nobody says how many: more take less of a processor each, and more memory."""
ROOM = 2048
"""Tokens of a row and its answer that there is to be room for."""
PREFILL = 1.0
"""Seconds that rows under way may wait for parts of prompts: nobody looks on."""
_SEEN = 1 << 20
"""Bytes of a model's file, at its beginning and at its end, by which it is known again."""


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
    async with opened(request, listener) as backend:
        facts = _facts(backend)
        if isinstance(backend, RemoteBackend | LltermBackend):
            yield OpenedAnswers(ServerAnswers(backend), facts)
            return
        parallel = slots.parallel or await _usual_parallel(backend, slots)
        generator = await _generator(backend, slots, parallel)
        try:
            yield OpenedAnswers(answering(generator, backend, parallel), facts)
        finally:
            await generator.close()


async def _usual_parallel(backend: Backend, slots: SlotOptions) -> int:
    """As many rows at once as leave each the room that one may want."""
    capabilities = backend.capabilities
    if capabilities.weights is None:
        return PARALLEL[1]
    info = await asyncio.to_thread(inspect_gguf, capabilities.weights, brief=True)
    room = slots.context or min(info.context or ROOM, ROOM)
    memory = default_cache_memory() if slots.memory is None else slots.memory
    for parallel in PARALLEL:
        count = parallel + usual_keepers(parallel)
        states = capabilities.shares or count <= capabilities.batch
        if states and info.cell * count * room <= memory:
            return parallel
    return PARALLEL[-1]


async def _generator(backend: Backend, slots: SlotOptions, parallel: int) -> Generator:
    if isinstance(backend, LlamaBackend):
        return await open_scheduler(
            backend,
            parallel=parallel,
            context=slots.context,
            memory=slots.memory,
            queue=QUEUE,
            prefill=PREFILL,
        )
    return BackendGenerator(backend, parallel, QUEUE)


def _facts(backend: Backend) -> dict[str, Any]:
    capabilities = backend.capabilities
    if isinstance(backend, RemoteBackend | LltermBackend):
        return {"model": backend.served_as, "server": backend.speaks}
    weights = capabilities.weights
    return {
        "model": backend.name if weights is None else weights.name,
        "vocabulary": backend.vocabulary.fingerprint,
        "weights": None if weights is None else _weights_digest(weights),
        "kernels": capabilities.kernel_kind,
    }


def _weights_digest(path: Path) -> str:
    """Equal for equal files; of a large one not all is read."""
    with open_file(path) as file:
        size = file.seek(0, 2)
        digest = hashlib.sha256(str(size).encode())
        for start in (0, max(size - _SEEN, 0)):
            file.seek(start)
            digest.update(file.read(_SEEN))
    return digest.hexdigest()
