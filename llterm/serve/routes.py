"""Every route of the server: path, method, body, and what answers it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from starlette.types import Receive, Scope, Send

from llterm.core.json_text import json_text
from llterm.serve.api_errors import ApiError
from llterm.serve.body_reader import read_body
from llterm.serve.chat_bodies import ChatBody
from llterm.serve.chat_completions import answer_chat, plan_chat, stream_chat
from llterm.serve.chat_prompts import applied_template
from llterm.serve.classified_texts import classified
from llterm.serve.classify_bodies import ClassifyBody
from llterm.serve.completion_bodies import CompletionBody
from llterm.serve.drawn_choices import DrawnChoice
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
from llterm.serve.model_facts import (
    detokenized,
    model_entry,
    model_list,
    props,
    tokenized,
    tokenizer_info,
)
from llterm.serve.model_frames import ModelState
from llterm.serve.open_requests import OpenRequests
from llterm.serve.request_counts import RequestCounts
from llterm.serve.request_gates import WHOSE
from llterm.serve.request_rules import RequestRules
from llterm.serve.served_models import ServedModels
from llterm.serve.text_completions import complete, plan_completion, stream_completion
from llterm.version import __version__

_TROUBLES: tuple[ModelState, ...] = ("failed", "loading")
"""What is said of a server where it is so for any model; the first counts most."""
HEALTH = ("/health", "/v1/health")
Method = Literal["GET", "POST"]


@dataclass(slots=True, eq=False)
class ServerState:
    """What all routes work with."""

    models: ServedModels
    rules: RequestRules
    open: OpenRequests = field(init=False)
    counts: RequestCounts = field(default_factory=RequestCounts)
    anchors: OwnAnchors = field(default_factory=OwnAnchors)
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
    body: type[msgspec.Struct] | None = None
    kind: str = "application/json"
    """Of its answer."""
    lists: bool = False
    """What asks for several texts has a list of answers."""


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


async def _draw(
    state: ServerState,
    choices: Sequence[DrawnChoice],
    streams: bool,
    whole: Callable[[], Awaitable[Any]],
    parts: Callable[[], AsyncGenerator[Mapping[str, Any]]],
    receive: Receive,
    send: Send,
) -> None:
    """Answer what is drawn, at its end or as it comes."""
    with state.counts.counting(choices):
        if streams:
            await state.open.stream(parts(), receive, send)
        else:
            answer = await state.open.finish(_run(whole), receive)
            await send_json(answer, send)


async def _run(whole: Callable[[], Awaitable[Any]]) -> Any:
    return await whole()


async def _completions(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), CompletionBody)
    model = state.models.get(body.model)
    plan = await plan_completion(body, model, state.rules, scope.get(WHOSE, ""))
    await _draw(
        state, plan.choices, plan.streams, lambda: complete(plan), lambda: stream_completion(plan),
        receive, send,
    )  # fmt: skip


async def _chats(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), ChatBody)
    model = state.models.get(body.model)
    plan = await plan_chat(body, model, state.rules, scope.get(WHOSE, ""))
    await _draw(
        state, plan.choices, plan.streams, lambda: answer_chat(plan), lambda: stream_chat(plan),
        receive, send,
    )  # fmt: skip


async def _template(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), ChatBody)
    work = applied_template(body, state.models.get(body.model))
    await send_json(await state.open.finish(work, receive), send)


async def _llamacpp(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), LlamaCppBody)
    model = state.models.get(body.model)
    plan = await plan_llamacpp(body, model, state.rules, scope.get(WHOSE, ""))
    await _draw(
        state, plan.choices, plan.streams, lambda: complete_llamacpp(plan),
        lambda: stream_llamacpp(plan), receive, send,
    )  # fmt: skip


async def _tokenize(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), TokenizeBody)
    await send_json(await tokenized(body, state.models.get(body.model)), send)


async def _detokenize(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), DetokenizeBody)
    await send_json(detokenized(body.tokens, state.models.get(body.model)), send)


async def _models(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(model_list(state.models), send)


async def _model(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    model = state.models.get(scope["path_params"]["id"])
    await send_json(model_entry(state.models, model), send)


async def _props(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(props(state.models.get(None), state.rules), send)


async def _tokenizer(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(tokenizer_info(state.models.get(None)), send)


async def _own(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(own_models(state.models), send)


async def _vocabulary(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    model = state.models.get(scope["path_params"]["id"])
    # Some hundred thousand tokens take long enough for streams to be seen waiting.
    await send_json(await asyncio.to_thread(own_vocabulary, model), send)


async def _facts(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), FactsBody)
    work = answered_facts(body, state.models.get(body.model), state.anchors, scope.get(WHOSE, ""))
    await send_json(await state.open.finish(work, receive), send)


async def _scores(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), ScoresBody)
    await state.open.stream(scored(body, state.models.get(body.model)), receive, send)


async def _rows(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), RowsBody)
    await state.open.stream(whole_rows(body, state.models.get(body.model)), receive, send)


async def _attention(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), AttentionBody)
    work = shown_attention(body, state.models.get(body.model))
    await send_json(await state.open.finish(work, receive), send)


async def _classify(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await _read(receive), ClassifyBody)
    work = classified(body, state.models.get(body.model))
    await send_json(await state.open.finish(work, receive), send)


async def _health(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    states = {model.state for model in state.models.models}
    told = next((each for each in _TROUBLES if each in states), "ok")
    await send_json({"status": told}, send, 200 if told == "ok" else 503)


async def _version(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json({"version": f"llterm {__version__}"}, send)


async def _metrics(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    if not state.metrics:
        raise ApiError(404, "Metrics are not served", "They are off.",
                       "Start the server with --metrics.", code="metrics_off")  # fmt: skip
    generators = [model.generator for model in state.models.models]
    text = state.counts.text(state.open.count, generators)
    await send_text(text, "text/plain; version=0.0.4", send)


ROUTES: tuple[ServerRoute, ...] = (
    ServerRoute(("/v1/completions",), "POST", "Go on with a text, or with several.",
                _completions, CompletionBody),
    ServerRoute(("/v1/chat/completions", "/chat/completions"), "POST", "Answer a chat.",
                _chats, ChatBody),
    ServerRoute(("/apply-template",), "POST", "A chat as the model's template writes it.",
                _template, ChatBody),
    ServerRoute(("/completion", "/completions"), "POST", "The same in llama.cpp's words.",
                _llamacpp, LlamaCppBody, lists=True),
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
    ServerRoute(HEALTH, "GET", "Whether the server is there.", _health),
    ServerRoute(("/version",), "GET", "The server's version.", _version),
    ServerRoute(("/metrics",), "GET", "Counters for Prometheus, where they are on.", _metrics,
                kind="text/plain"),
)  # fmt: skip
