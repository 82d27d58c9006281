"""llterm's HTTP server on a real socket of this machine, in this process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.registry import KnownModel
from llterm.backends.scripted import ScriptedBackend
from llterm.config import Config, ModelConfig
from llterm.core.query import Backend
from llterm.engine.scheduler import open_scheduler
from llterm.serve.application import Access, application
from llterm.serve.http_server import HttpServer, listening
from llterm.serve.loom_folder import LoomFolder
from llterm.serve.model_administration import ModelAdministration, OfferedNames
from llterm.serve.model_opener import ModelOpener
from llterm.serve.model_pool import ModelPool
from llterm.serve.pooled_model import PooledModel, PooledReplica
from llterm.serve.request_rules import RequestRules
from llterm.serve.serve_limits import ServeLimits
from llterm.serve.served_models import ServedModel, served_model
from llterm.serve.server_state import ServerState
from tests.helpers.bundled_model import BUNDLED


@dataclass(frozen=True, slots=True, eq=False)
class ServedApi:
    """A server, and a client of it."""

    address: str
    client: httpx2.AsyncClient
    state: ServerState
    server: HttpServer

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    async def ask(self, path: str, **body: Any) -> Any:
        """The JSON of an answer that is none of an error."""
        answer = await self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, path: str, **body: Any) -> tuple[int, Mapping[str, Any]]:
        """Status and error of an answer, whose form is checked."""
        return told(await self.client.post(path, json=body))

    async def streamed(self, path: str, **body: Any) -> list[Any]:
        """The parts of a stream, which ends as one."""
        async with self.client.stream("POST", path, json={**body, "stream": True}) as answer:
            text = (await answer.aread()).decode()
        assert answer.status_code == 200, text
        return events(text)


def events(text: str) -> list[Any]:
    """What server-sent events say, up to `[DONE]`, which is the last."""
    lines = [line for line in text.split("\n\n") if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


TOO_LONG = "exceed_context_size_error"
"""The type of the one error that tells more, as llama.cpp does."""


def told(answer: httpx2.Response) -> tuple[int, Mapping[str, Any]]:
    """Status and error of an answer, which has OpenAI's form."""
    body = answer.json()
    assert set(body) == {"error"}
    more = {"n_prompt_tokens", "n_ctx"} if body["error"]["type"] == TOO_LONG else set()
    assert set(body["error"]) == {"message", "type", "param", "code", *more}
    assert answer.headers["x-request-id"]
    return answer.status_code, body["error"]


async def _served(backend: Backend, limits: ServeLimits) -> ServedModel:
    """As a server has it; a model in this process with slots of its own, to be counted."""
    if not isinstance(backend, LlamaBackend):
        return served_model(backend.name, backend, limits)
    scheduler = await open_scheduler(
        backend,
        parallel=limits.parallel,
        context=limits.slot_context,
        memory=limits.cache_memory,
        queue=limits.queue,
    )
    return ServedModel(backend.name, scheduler, backend)


@asynccontextmanager
async def served(
    *backends: Backend,
    aliases: Mapping[str, str] | None = None,
    access: Access | None = None,
    limits: ServeLimits | None = None,
    metrics: bool = False,
    seed: int | None = None,
    headers: Mapping[str, str] | None = None,
    looms: LoomFolder | None = None,
) -> AsyncIterator[ServedApi]:
    """A server of these models, the scripted one where none is given."""
    limits = limits or ServeLimits(drain_seconds=0)
    opened: Sequence[Backend] = backends or [ScriptedBackend()]
    models = [await _served(each, limits) for each in opened]
    held = [PooledModel(_known(model.name), [], [PooledReplica(model)]) for model in models]
    pool = ModelPool(held, aliases or {}, ModelOpener(Config(), limits))
    rules = RequestRules(seed=seed, limits=limits)
    try:
        async with served_pool(
            pool, rules, access, metrics=metrics, headers=headers, looms=looms
        ) as api:
            yield api
    finally:
        for model in models:
            await model.generator.close()


@asynccontextmanager
async def served_fable(context: int) -> AsyncIterator[ServedApi]:
    """A server of the bundled model, in ChatML."""
    settings = LlamaSettings(threads=1, context=context, chat_template="chatml")
    model = await open_llama(BUNDLED, settings, name="fable")
    async with served(model) as api:
        yield api
    await model.close()


def _known(name: str) -> KnownModel:
    return KnownModel(name, "scripted", None, ModelConfig())


@asynccontextmanager
async def served_pool(
    pool: ModelPool,
    rules: RequestRules,
    access: Access | None = None,
    *,
    offered: OfferedNames | None = None,
    metrics: bool = False,
    headers: Mapping[str, str] | None = None,
    looms: LoomFolder | None = None,
) -> AsyncIterator[ServedApi]:
    """A server of a pool, which stays its owner's to close."""
    administration = ModelAdministration(pool, offered or OfferedNames(Config()))
    state = ServerState(pool, rules, administration, metrics=metrics, looms=looms)
    listener = listening("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    ready = asyncio.Event()
    app = application(state, access or Access())
    # Signals are the main thread's alone.
    heeds = threading.current_thread() is threading.main_thread()
    server = HttpServer(app, rules.limits, state.open, ready.set, heeds_signals=heeds)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await ready.wait()
    try:
        async with httpx2.AsyncClient(base_url=address, headers=headers, timeout=30) as client:
            yield ServedApi(address, client, state, server)
    finally:
        server.end()
        await serving
        if looms is not None:
            await looms.close()
