"""Every route of the server: path, method, body, and what answers it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from llterm.core.json_text import json_text
from llterm.serve.admin_bodies import GallamaBody, GallamaModel, GallamaName, LoadBody, UnloadBody
from llterm.serve.agent_mixtures import AgentMixture
from llterm.serve.api_errors import ApiError
from llterm.serve.body_reader import read_body
from llterm.serve.chat_bodies import ChatBody
from llterm.serve.chat_completions import answer_chat, plan_chat, stream_chat
from llterm.serve.chat_prompts import applied_template
from llterm.serve.classified_texts import classified
from llterm.serve.classify_bodies import ClassifyBody
from llterm.serve.completion_bodies import CompletionBody
from llterm.serve.drawn_choices import DrawnChoice
from llterm.serve.embedding_bodies import EmbeddingsBody, LlamaCppEmbeddingBody
from llterm.serve.inspection_bodies import AttributionBody, PreviewBody, StepBody
from llterm.serve.inspections import TextInspection, plan_inspection
from llterm.serve.llamacpp_bodies import DetokenizeBody, LlamaCppBody, TokenizeBody
from llterm.serve.llamacpp_completions import complete_llamacpp, plan_llamacpp, stream_llamacpp
from llterm.serve.llterm_bodies import AttentionBody, FactsBody, RowsBody, ScoresBody
from llterm.serve.llterm_questions import (
    OwnAnchors,
    answered_facts,
    own_models,
    own_vocabulary,
    scored,
    shown_attention,
    whole_rows,
)
from llterm.serve.model_administration import ModelAdministration, gallama_parts, load_record
from llterm.serve.model_facts import (
    detokenized,
    health,
    model_entry,
    model_list,
    props,
    tokenized,
    tokenizer_info,
)
from llterm.serve.model_mixes import MIX, ModelMixes, mixed_names
from llterm.serve.model_pool import ModelPool
from llterm.serve.open_requests import OpenRequests
from llterm.serve.request_counts import RequestCounts
from llterm.serve.request_gates import WHOSE
from llterm.serve.request_rules import RequestRules
from llterm.serve.response_bodies import ResponseBody
from llterm.serve.served_attributions import ServedAttributions, server_status
from llterm.serve.served_models import ServedModel
from llterm.serve.stateless_responses import answer_response, plan_response, stream_response
from llterm.serve.text_completions import complete, plan_completion, stream_completion
from llterm.serve.text_embeddings import embedded, embedded_llamacpp
from llterm.version import __version__

HEALTH = ("/health", "/v1/health")
Method = Literal["GET", "POST"]


@dataclass(slots=True, eq=False)
class ServerState:
    """What all routes work with."""

    models: ModelPool
    rules: RequestRules
    administration: ModelAdministration
    open: OpenRequests = field(init=False)
    counts: RequestCounts = field(default_factory=RequestCounts)
    mixes: ModelMixes = field(default_factory=ModelMixes)
    anchors: OwnAnchors = field(default_factory=OwnAnchors)
    attributions: ServedAttributions = field(default_factory=ServedAttributions)
    metrics: bool = False

    def __post_init__(self) -> None:
        self.open = OpenRequests(self.rules.limits.request_seconds)


Respond = Callable[[ServerState, Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ServerRoute:
    """One route."""

    paths: tuple[str, ...]
    """The first is its name; the others are what other servers call it."""
    method: Method
    summary: str
    respond: Respond
    body: Any = None
    """A type, or a union of such."""
    kind: str = "application/json"
    """Of its answer."""
    lists: bool = False
    """What asks for several texts has a list of answers."""
    admin: bool = False
    """Asks for an operator's key, and is not there where none is given."""


async def send_json(value: Any, send: Send, status: int = 200) -> None:
    """A whole answer."""
    await send_text(json_text(value, compact=True, ascii=False), "application/json", send, status)


async def send_text(text: str, kind: str, send: Send, status: int = 200) -> None:
    """A whole answer of some kind of text."""
    data = text.encode()
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


async def _read(receive: Receive) -> bytes:
    """The body, which `BodyGate` gives whole."""
    message = await receive()
    return bytes(message["body"])


Wait = Callable[[Coroutine[Any, Any, None]], Awaitable[None]]


@asynccontextmanager
async def _used(state: ServerState, name: str | None, *, wait: Wait) -> AsyncGenerator[ServedModel]:
    """The model of this name, or the mix, as long as a request needs it; `wait` waits for one that
    is not loaded. Raises LltermError."""
    if name and name.startswith(MIX) and state.models.find(name) is None:
        async with AsyncExitStack() as stack:
            members = [
                await stack.enter_async_context(_used(state, each, wait=wait))
                for each in mixed_names(name)
            ]
            yield state.mixes.get(members, state.models.loaded)
        return
    model = state.models.get(name)
    while not model.is_ready:
        await wait(state.models.make_ready(model))
    with state.models.held(model) as served:
        yield served


def _using(
    state: ServerState, name: str | None, receive: Receive
) -> AbstractAsyncContextManager[ServedModel]:
    """The same; the request waits. Raises ClientGone too."""
    return _used(state, name, wait=lambda work: state.open.finish(work, receive))


async def _awaited(work: Coroutine[Any, Any, None]) -> None:
    await work


def _check_name(state: ServerState, name: str | None) -> None:
    """Raise ApiError (404) for a name of no model and no mix."""
    mixed = name and name.startswith(MIX) and state.models.find(name) is None
    for each in mixed_names(name) if mixed and name else [name]:
        state.models.get(each)


async def _draw(
    state: ServerState,
    choices: Sequence[DrawnChoice],
    streams: bool,
    whole: Callable[[], Awaitable[Any]],
    parts: Callable[[], AsyncGenerator[Mapping[str, Any]]],
    receive: Receive,
    send: Send,
    *,
    named: bool = False,
) -> None:
    """Answer what is drawn, at its end or as it comes, then as `named` events."""
    with state.counts.counting(choices):
        if streams:
            await state.open.stream(parts(), receive, send, named=named)
        else:
            answer = await state.open.finish(_run(whole), receive)
            await send_json(answer, send)


async def _run(whole: Callable[[], Awaitable[Any]]) -> Any:
    return await whole()


async def _completions(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), CompletionBody)
    async with _using(state, body.model, receive) as model:
        plan = await plan_completion(body, model, state.rules, scope.get(WHOSE, ""))
        await _draw(
            state, plan.choices, plan.streams, lambda: complete(plan),
            lambda: stream_completion(plan), receive, send,
        )  # fmt: skip


async def _chats(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), ChatBody)
    whose = scope.get(WHOSE, "")
    if body.mixture_of_agents is not None:
        use = partial(_used, state, wait=_awaited)
        mixture = AgentMixture(body, use, state.rules, whose, state.counts)
        for name in mixture.names:
            _check_name(state, name)
        if body.stream:
            await state.open.stream(mixture.streamed(), receive, send)
        else:
            await send_json(await state.open.finish(mixture.answered(), receive), send)
        return
    async with _using(state, body.model, receive) as model:
        plan = await plan_chat(body, model, state.rules, whose)
        await _draw(
            state, plan.choices, plan.streams, lambda: answer_chat(plan),
            lambda: stream_chat(plan), receive, send,
        )  # fmt: skip


async def _responses(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), ResponseBody)
    async with _using(state, body.model, receive) as model:
        plan = await plan_response(body, model, state.rules, scope.get(WHOSE, ""))
        await _draw(
            state, plan.choices, plan.streams, lambda: answer_response(plan),
            lambda: stream_response(plan), receive, send, named=True,
        )  # fmt: skip


async def _template(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), ChatBody)
    async with _using(state, body.model, receive) as model:
        answer = await state.open.finish(applied_template(body, model), receive)
    await send_json(answer, send)


async def _llamacpp(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), LlamaCppBody)
    async with _using(state, body.model, receive) as model:
        plan = await plan_llamacpp(body, model, state.rules, scope.get(WHOSE, ""))
        await _draw(
            state, plan.choices, plan.streams, lambda: complete_llamacpp(plan),
            lambda: stream_llamacpp(plan), receive, send,
        )  # fmt: skip


async def _embeddings(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), EmbeddingsBody)
    async with _using(state, body.model, receive) as model:
        answer = await state.open.finish(embedded(body, model, state.rules), receive)
    await send_json(answer, send)


async def _llamacpp_embeddings(
    state: ServerState, scope: Scope, receive: Receive, send: Send
) -> None:
    body = read_body(await _read(receive), LlamaCppEmbeddingBody)
    async with _using(state, body.model, receive) as model:
        answer = await state.open.finish(embedded_llamacpp(body, model, state.rules), receive)
    await send_json(answer, send)


async def _tokenize(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), TokenizeBody)
    async with _using(state, body.model, receive) as model:
        answer = await tokenized(body, model)
    await send_json(answer, send)


async def _detokenize(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), DetokenizeBody)
    async with _using(state, body.model, receive) as model:
        answer = detokenized(body.tokens, model)
    await send_json(answer, send)


async def _models(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(model_list(state.models), send)


async def _model(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    model = state.models.get(scope["path_params"]["id"])
    await send_json(model_entry(state.models, model), send)


async def _props(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    async with _using(state, None, receive) as model:
        answer = props(model, state.rules)
    await send_json(answer, send)


async def _tokenizer(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    async with _using(state, None, receive) as model:
        answer = tokenizer_info(model)
    await send_json(answer, send)


async def _own(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    # Who wants one that is not loaded names it.
    if name := Request(scope).query_params.get("model"):
        async with _using(state, name, receive):
            answer = own_models(state.models)
    else:
        answer = own_models(state.models)
    await send_json(answer, send)


async def _vocabulary(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    async with _using(state, scope["path_params"]["id"], receive) as model:
        # Some hundred thousand tokens take long enough for streams to be seen waiting.
        answer = await asyncio.to_thread(own_vocabulary, model)
    await send_json(answer, send)


async def _facts(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), FactsBody)
    async with _using(state, body.model, receive) as model:
        work = answered_facts(body, model, state.anchors, scope.get(WHOSE, ""))
        answer = await state.open.finish(work, receive)
    await send_json(answer, send)


async def _scores(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), ScoresBody)
    async with _using(state, body.model, receive) as model:
        await state.open.stream(scored(body, model), receive, send)


async def _rows(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), RowsBody)
    async with _using(state, body.model, receive) as model:
        await state.open.stream(whole_rows(body, model), receive, send)


async def _attention(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), AttentionBody)
    async with _using(state, body.model, receive) as model:
        answer = await state.open.finish(shown_attention(body, model), receive)
    await send_json(answer, send)


async def _classify(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), ClassifyBody)
    async with _using(state, body.model, receive) as model:
        answer = await state.open.finish(classified(body, model), receive)
    await send_json(answer, send)


async def _preview(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), PreviewBody)
    async with _inspecting(state, scope, body, receive) as inspection:
        answer = await state.open.finish(inspection.preview(), receive)
    await send_json(answer, send)


async def _step(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), StepBody)
    async with _inspecting(state, scope, body, receive) as inspection:
        answer = await state.open.finish(inspection.step(), receive)
    await send_json(answer, send)


@asynccontextmanager
async def _inspecting(
    state: ServerState, scope: Scope, body: Any, receive: Receive
) -> AsyncGenerator[TextInspection]:
    async with _using(state, body.model, receive) as model:
        whose = scope.get(WHOSE, "")
        yield await plan_inspection(body, model, state.rules, state.anchors, whose)


async def _attribution(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), AttributionBody)
    async with _using(state, body.model, receive) as model:
        answer = await state.open.finish(state.attributions.answer(body, model), receive)
    await send_json(answer, send)


async def _status(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(server_status(state.models, state.rules), send)


async def _health(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    told = health(state.models)
    await send_json(told, send, 200 if told["status"] == "ok" else 503)


async def _version(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json({"version": f"llterm {__version__}"}, send)


async def _metrics(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    if not state.metrics:
        raise ApiError(404, "Metrics are not served", "They are off.",
                       "Start the server with --metrics.", code="metrics_off")  # fmt: skip
    generators = [model.generator for model in state.models.loaded]
    text = state.counts.text(state.open.count, generators)
    await send_text(text, "text/plain; version=0.0.4", send)


async def _administered(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(await asyncio.to_thread(state.administration.models), send)


async def _queue(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(state.administration.loads(), send)


async def _load(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), LoadBody)
    loads = state.administration.load(body.models)
    await send_json({"object": "list", "data": [load_record(load) for load in loads]}, send)


async def _unload(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), UnloadBody)
    work = state.administration.unload(body.model, remove=body.remove)
    await state.open.finish(work, receive)
    await send_json({"model": body.model, "state": "removed" if body.remove else "unloaded"}, send)


async def _gallama_add(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body: GallamaModel | list[GallamaModel] = read_body(await _read(receive), GallamaBody)
    loads = state.administration.load(gallama_parts(body), further=True)
    ids = ",".join(dict.fromkeys(load.id for load in loads))
    await send_json({"message": "Model(s) queued for loading", "task_id": ids}, send)


async def _gallama_task(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    id = scope["path_params"]["id"]
    await send_json({"task_id": id, "status": state.administration.task_status(id)}, send)


async def _gallama_remove(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), GallamaName)
    await state.open.finish(state.administration.unload(body.model_id, remove=True), receive)
    await send_json({"message": f"All instances of model {body.model_id} removed"}, send)


ROUTES: tuple[ServerRoute, ...] = (
    ServerRoute(("/v1/completions",), "POST", "Go on with a text, or with several.",
                _completions, CompletionBody),
    ServerRoute(("/v1/chat/completions", "/chat/completions"), "POST", "Answer a chat.",
                _chats, ChatBody),
    ServerRoute(("/v1/responses", "/responses"), "POST", "The same in OpenAI's newer shape.",
                _responses, ResponseBody),
    ServerRoute(("/apply-template",), "POST", "A chat as the model's template writes it.",
                _template, ChatBody),
    ServerRoute(("/completion", "/completions"), "POST", "The same in llama.cpp's words.",
                _llamacpp, LlamaCppBody, lists=True),
    ServerRoute(("/v1/embeddings",), "POST", "What texts are to a model, as vectors.",
                _embeddings, EmbeddingsBody),
    ServerRoute(("/embedding", "/embeddings"), "POST", "The same in llama.cpp's words.",
                _llamacpp_embeddings, LlamaCppEmbeddingBody, lists=True),
    ServerRoute(("/tokenize",), "POST", "A text's tokens.", _tokenize, TokenizeBody),
    ServerRoute(("/detokenize",), "POST", "The text of tokens.", _detokenize, DetokenizeBody),
    ServerRoute(("/v1/models", "/models"), "GET", "The models.", _models),
    ServerRoute(("/v1/models/{id:path}", "/models/{id:path}"), "GET", "One model.", _model),
    ServerRoute(("/props",), "GET", "The first model's properties, in llama.cpp's words.", _props),
    ServerRoute(("/tokenizer_info",), "GET", "The first model's special tokens.", _tokenizer),
    ServerRoute(("/v1/llterm",), "GET", "The models that another llterm can ask.", _own),
    ServerRoute(("/v1/llterm/vocabulary/{id:path}",), "GET", "All tokens of one.", _vocabulary),
    ServerRoute(("/v1/llterm/facts",), "POST", "What may follow each path.", _facts, FactsBody),
    ServerRoute(("/v1/llterm/scores",), "POST", "What was expected at each token of a text.",
                _scores, ScoresBody, kind="text/event-stream"),
    ServerRoute(("/v1/llterm/rows",), "POST", "The same as whole rows of logits.",
                _rows, RowsBody, kind="text/event-stream"),
    ServerRoute(("/v1/llterm/attention",), "POST", "What the layers attend to at a text's end.",
                _attention, AttentionBody),
    ServerRoute(("/v1/llterm/classify",), "POST", "Which labels fit texts, with probabilities.",
                _classify, ClassifyBody),
    ServerRoute(("/v1/llterm/preview",), "POST", "What may follow a text, and what is drawn from.",
                _preview, PreviewBody),
    ServerRoute(("/v1/llterm/step",), "POST", "A token more, drawn or forced.", _step, StepBody),
    ServerRoute(("/v1/llterm/attribution",), "POST", "What led to a token.",
                _attribution, AttributionBody),
    ServerRoute(("/v1/llterm/status",), "GET", "What each model can be asked.", _status),
    ServerRoute(HEALTH, "GET", "Whether the server is there.", _health),
    ServerRoute(("/version",), "GET", "The server's version.", _version),
    ServerRoute(("/metrics",), "GET", "Counters for Prometheus, where they are on.", _metrics,
                kind="text/plain"),
    ServerRoute(("/v1/llterm/admin/models",), "GET", "Every model, and how it is doing.",
                _administered, admin=True),
    ServerRoute(("/v1/llterm/admin/queue",), "GET", "What is loaded, and how far.", _queue,
                admin=True),
    ServerRoute(("/v1/llterm/admin/load",), "POST", "Load models.", _load, LoadBody, admin=True),
    ServerRoute(("/v1/llterm/admin/unload",), "POST", "Let a model go.", _unload, UnloadBody,
                admin=True),
    ServerRoute(("/add_model", "/v1/add_model"), "POST", "Load models, in gallama's words.",
                _gallama_add, GallamaBody, admin=True),
    ServerRoute(("/task_status/{id}", "/v1/task_status/{id}"), "GET", "How far that is.",
                _gallama_task, admin=True),
    ServerRoute(("/remove_model", "/v1/remove_model"), "POST", "Serve a model no more.",
                _gallama_remove, GallamaName, admin=True),
)  # fmt: skip
