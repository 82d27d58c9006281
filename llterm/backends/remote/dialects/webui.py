"""text-generation-webui, by `/v1/completions`: text in, any number of candidates as text out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from llterm.backends.chat_formats import Messages
from llterm.backends.remote.answer import AnswerValue
from llterm.backends.remote.dialects.completions import EchoedCompletions
from llterm.backends.remote.discovery import Discovery
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    HttpCall,
    Position,
    ServerTraits,
    TokenCandidate,
    choices,
    legacy,
    number,
    plain,
    steps,
)
from llterm.backends.remote.transport import Transport
from llterm.core.conversation import THOUGHTLESS


@dataclass(frozen=True, slots=True)
class WebuiDialect(EchoedCompletions):
    """A text-generation-webui server."""

    name: ClassVar[str] = "webui"
    by_ids: ClassVar[bool] = False

    @classmethod
    async def detect(cls, discovery: Discovery, model: str | None) -> Self | None:
        named = (await discovery.table("/v1/internal/model/info")).get("model_name")
        if not isinstance(named, str):
            return None
        traits = ServerTraits(
            server="text-generation-webui", model=model or named, context=4096, lists=True,
            prefill="raw text after the chat that it writes", cache="the loader's",
            context_told=False, slots=1,
        )  # fmt: skip
        return cls(traits)

    def call(self, request: CompletionRequest) -> HttpCall:
        body = {
            "prompt": request.prompt,
            "max_tokens": request.tokens,
            "temperature": 1,
            "top_k": 1,
            "logprobs": request.top,
        }
        return HttpCall("/v1/completions", body)

    async def apply_template(self, transport: Transport, messages: Messages) -> str:
        """What its chat would send to the model. It begins texts itself as the model wants."""
        body = {"messages": messages, "mode": "instruct", **THOUGHTLESS}
        answer = await transport.post("/v1/internal/chat-prompt", body)
        return AnswerValue(answer.data)["prompt"].text()

    def read(self, data: Any) -> Iterable[CompletionStep]:
        for line, choice in choices(data):
            logprobs = choice.get("logprobs")
            if logprobs is not None:
                yield from steps(line, _positions(logprobs))


def _positions(logprobs: AnswerValue) -> list[Position]:
    """Older versions tell the candidates alone: the most probable one is what was chosen."""
    if logprobs.get("tokens") is not None:
        return legacy(logprobs)
    positions: list[Position] = []
    for place in logprobs["top_logprobs"].items():
        listed = [
            plain(key)._replace(logprob=number(place[key]))
            for key in (place.object() if place.value else ())
        ]
        best = max(
            listed, key=lambda candidate: candidate.logprob, default=TokenCandidate(-math.inf)
        )
        positions.append((best, listed))
    return positions
