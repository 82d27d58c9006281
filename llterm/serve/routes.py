"""Every route of the server: path, method, body, and what answers it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from llterm.serve.admin_routes import ADMIN_ROUTES
from llterm.serve.agent_mixtures import AgentMixture
from llterm.serve.api_errors import ApiError
from llterm.serve.body_reader import read_body
from llterm.serve.chat_bodies import ChatBody
from llterm.serve.chat_completions import answer_chat, chat_tokens, plan_chat, stream_chat
from llterm.serve.chat_prompts import applied_template
from llterm.serve.classified_texts import classified
from llterm.serve.classify_bodies import ClassifyBody
from llterm.serve.completion_bodies import CompletionBody
from llterm.serve.embedding_bodies import EmbeddingsBody, LlamaCppEmbeddingBody
from llterm.serve.inspection_bodies import AttributionBody, PreviewBody, StepBody
from llterm.serve.inspections import TextInspection, plan_inspection
from llterm.serve.llamacpp_bodies import DetokenizeBody, LlamaCppBody, TokenizeBody
from llterm.serve.llamacpp_completions import complete_llamacpp, plan_llamacpp, stream_llamacpp
from llterm.serve.llterm_bodies import AttentionBody, FactsBody, RowsBody, ScoresBody
from llterm.serve.llterm_questions import (
    answered_facts,
    own_models,
    own_vocabulary,
    scored,
    shown_attention,
    whole_rows,
)
from llterm.serve.loom_routes import LOOM_ROUTES
from llterm.serve.model_facts import (
    detokenized,
    health,
    model_entry,
    model_list,
    props,
    tokenized,
    tokenizer_info,
)
from llterm.serve.pages.browser_page import browser_page
from llterm.serve.request_gates import WHOSE
from llterm.serve.request_rules import RequestRules
from llterm.serve.response_bodies import ResponseBody
from llterm.serve.served_attributions import server_status
from llterm.serve.served_models import ServedModel
from llterm.serve.server_route import Respond, ServerRoute, read_whole, send_json, send_text
from llterm.serve.server_state import ServerState, named_models, used, using
from llterm.serve.stateless_responses import (
    answer_response,
    plan_response,
    response_tokens,
    stream_response,
)
from llterm.serve.text_completions import complete, plan_completion, stream_completion
from llterm.serve.text_embeddings import embedded, embedded_llamacpp
from llterm.version import __version__

HEALTH = ("/health", "/v1/health")
WORKBENCH = "/"


class _Drawing(NamedTuple):
    """How a body is answered for which texts are drawn."""

    plan: Callable[[Any, ServedModel, RequestRules, str], Awaitable[Any]]
    whole: Callable[[Any], Coroutine[Any, Any, Any]]
    parts: Callable[[Any], AsyncGenerator[Mapping[str, Any]]]
    named: bool = False
    """A stream's parts are events with names."""


async def _draw(
    drawing: _Drawing, body: Any, state: ServerState, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer what is drawn, at its end or as it comes."""
    async with using(state, body.model, receive) as model:
        plan = await drawing.plan(body, model, state.rules, scope.get(WHOSE, ""))
        with state.counts.counting(plan.choices):
            if plan.streams:
                await state.open.stream(drawing.parts(plan), receive, send, named=drawing.named)
            else:
                await send_json(await state.open.finish(drawing.whole(plan), receive), send)


def _drawn(kind: type[msgspec.Struct], drawing: _Drawing) -> Respond:
    """Answers a body of this kind so."""

    async def respond(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
        body = read_body(await read_whole(receive), kind)
        await _draw(drawing, body, state, scope, receive, send)

    return respond


_completions = _drawn(CompletionBody, _Drawing(plan_completion, complete, stream_completion))
_responses = _drawn(
    ResponseBody, _Drawing(plan_response, answer_response, stream_response, named=True)
)
_llamacpp = _drawn(LlamaCppBody, _Drawing(plan_llamacpp, complete_llamacpp, stream_llamacpp))
_CHAT = _Drawing(plan_chat, answer_chat, stream_chat)


async def _chats(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await read_whole(receive), ChatBody)
    if body.mixture_of_agents is None:
        await _draw(_CHAT, body, state, scope, receive, send)
        return
    mixture = AgentMixture(
        body, partial(used, state), state.rules, scope.get(WHOSE, ""), state.counts
    )
    for name in mixture.names:
        named_models(state, name)
    if body.stream:
        await state.open.stream(mixture.streamed(), receive, send)
    else:
        await send_json(await state.open.finish(mixture.answered(), receive), send)


async def _detokenize(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await read_whole(receive), DetokenizeBody)
    async with using(state, body.model, receive) as model:
        answer = detokenized(body.tokens, model)
    await send_json(answer, send)


async def _models(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(model_list(state.models), send)


async def _model(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    model = state.models.get(scope["path_params"]["id"])
    await send_json(model_entry(state.models, model), send)


async def _props(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    async with using(state, None, receive) as model:
        answer = props(model, state.rules)
    await send_json(answer, send)


async def _tokenizer(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    async with using(state, None, receive) as model:
        answer = tokenizer_info(model)
    await send_json(answer, send)


async def _own(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    # Who wants one that is not loaded names it.
    if name := Request(scope).query_params.get("model"):
        async with using(state, name, receive):
            answer = own_models(state.models)
    else:
        answer = own_models(state.models)
    await send_json(answer, send)


async def _vocabulary(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    async with using(state, scope["path_params"]["id"], receive) as model:
        # Some hundred thousand tokens take long enough for streams to be seen waiting.
        answer = await asyncio.to_thread(own_vocabulary, model)
    await send_json(answer, send)


async def _facts(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await read_whole(receive), FactsBody)
    async with using(state, body.model, receive) as model:
        work = answered_facts(body, model, state.anchors, scope.get(WHOSE, ""))
        answer = await state.open.finish(work, receive)
    await send_json(answer, send)


async def _scores(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await read_whole(receive), ScoresBody)
    async with using(state, body.model, receive) as model:
        await state.open.stream(scored(body, model), receive, send)


async def _rows(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await read_whole(receive), RowsBody)
    async with using(state, body.model, receive) as model:
        await state.open.stream(whole_rows(body, model), receive, send)


async def _preview(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await read_whole(receive), PreviewBody)
    async with _inspecting(state, scope, body, receive) as inspection:
        answer = await state.open.finish(inspection.preview(), receive)
    await send_json(answer, send)


async def _step(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    body = read_body(await read_whole(receive), StepBody)
    async with _inspecting(state, scope, body, receive) as inspection:
        answer = await state.open.finish(inspection.step(), receive)
    await send_json(answer, send)


@asynccontextmanager
async def _inspecting(
    state: ServerState, scope: Scope, body: Any, receive: Receive
) -> AsyncGenerator[TextInspection]:
    async with using(state, body.model, receive) as model:
        whose = scope.get(WHOSE, "")
        yield await plan_inspection(body, model, state.rules, state.anchors, whose)


async def _status(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(server_status(state.models, state.rules), send)


async def _health(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    told = health(state.models)
    await send_json(told, send, 200 if told["status"] == "ok" else 503)


async def send_workbench(send: Send) -> None:
    """The page on which a person asks the models."""
    await browser_page("workbench", "llterm").send(send)


async def _workbench(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_workbench(send)


async def _version(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    await send_json({"version": f"llterm {__version__}"}, send)


async def _metrics(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
    if not state.metrics:
        raise ApiError(404, "Metrics are not served", "They are off.",
                       "Start the server with --metrics.", code="metrics_off")  # fmt: skip
    generators = [model.generator for model in state.models.loaded]
    text = state.counts.text(state.open.count, generators)
    await send_text(text, "text/plain; version=0.0.4", send)


def _answering(
    kind: type[msgspec.Struct],
    answer: Callable[[ServerState, Any, ServedModel], Coroutine[Any, Any, Any]],
) -> Respond:
    """Answers a body of this kind whole, by the model that it names."""

    async def respond(state: ServerState, scope: Scope, receive: Receive, send: Send) -> None:
        body: Any = read_body(await read_whole(receive), kind)
        async with using(state, body.model, receive) as model:
            told = await state.open.finish(answer(state, body, model), receive)
        await send_json(told, send)

    return respond


_input_tokens = _answering(
    ChatBody, lambda state, body, model: chat_tokens(body, model, state.rules)
)
_response_tokens = _answering(
    ResponseBody, lambda state, body, model: response_tokens(body, model, state.rules)
)
_template = _answering(ChatBody, lambda _, body, model: applied_template(body, model))
_embeddings = _answering(
    EmbeddingsBody, lambda state, body, model: embedded(body, model, state.rules)
)
_llamacpp_embeddings = _answering(
    LlamaCppEmbeddingBody, lambda state, body, model: embedded_llamacpp(body, model, state.rules)
)
_tokenize = _answering(TokenizeBody, lambda _, body, model: tokenized(body, model))
_attention = _answering(AttentionBody, lambda _, body, model: shown_attention(body, model))
_classify = _answering(ClassifyBody, lambda _, body, model: classified(body, model))
_attribution = _answering(
    AttributionBody, lambda state, body, model: state.attributions.answer(body, model)
)


ROUTES: tuple[ServerRoute, ...] = (
    ServerRoute(("/v1/completions",), "POST", "Go on with a text, or with several.",
                _completions, CompletionBody),
    ServerRoute(("/v1/chat/completions", "/chat/completions"), "POST", "Answer a chat.",
                _chats, ChatBody),
    ServerRoute(("/v1/chat/completions/input_tokens", "/chat/completions/input_tokens"), "POST",
                "How many tokens a chat has.", _input_tokens, ChatBody),
    ServerRoute(("/v1/responses/input_tokens", "/responses/input_tokens"), "POST",
                "The same of what a response is asked for.", _response_tokens, ResponseBody),
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
    ServerRoute(HEALTH, "GET", "Whether the server is there.", _health, open=True),
    ServerRoute((WORKBENCH,), "GET", "A page on which a person asks the models.", _workbench,
                kind="text/html", open=True),
    ServerRoute(("/version",), "GET", "The server's version.", _version),
    ServerRoute(("/metrics",), "GET", "Counters for Prometheus, where they are on.", _metrics,
                kind="text/plain"),
    *LOOM_ROUTES,
    *ADMIN_ROUTES,
)  # fmt: skip
