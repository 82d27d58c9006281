"""text-generation-webui, by `/v1/completions`: text in, any number of candidates as text out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from llterm.backends.chat_formats import THOUGHTLESS, Messages
from llterm.backends.remote.answer import Part
from llterm.backends.remote.dialects.asking import Visit
from llterm.backends.remote.dialects.shapes import choices, legacy, number, only, plain, steps
from llterm.backends.remote.steps import Ask, Call, Candidate, Position, Prompt, Step, Traits
from llterm.backends.remote.wire import Wire


@dataclass(frozen=True, slots=True)
class Webui:
    """A text-generation-webui server."""

    name: ClassVar[str] = "webui"
    by_ids: ClassVar[bool] = False
    traits: Traits

    @classmethod
    async def meet(cls, visit: Visit, model: str | None) -> Self | None:
        named = (await visit.table("/v1/internal/model/info")).get("model_name")
        if not isinstance(named, str):
            return None
        traits = Traits(
            server="text-generation-webui", model=model or named, context=4096, lists=True,
            prefill="raw text after the chat that it writes", cache="the loader's",
            context_told=False, slots=1,
        )  # fmt: skip
        return cls(traits)

    def knowing(self, traits: Traits) -> Self:
        return replace(self, traits=traits)

    def request(self, ask: Ask) -> Call:
        prompts = list(ask.prompts)
        body = {
            "prompt": prompts[0] if len(prompts) == 1 else prompts,
            "max_tokens": ask.tokens,
            "temperature": 1,
            "top_k": 1,
            "logprobs": ask.top,
        }
        return Call("/v1/completions", body)

    async def opened(self, wire: Wire, messages: Messages) -> str:
        """What its chat would send to the model. It begins texts itself as the model wants."""
        body = {"messages": messages, "mode": "instruct", **THOUGHTLESS}
        return Part((await wire.post("/v1/internal/chat-prompt", body)).data)["prompt"].text()

    def read(self, data: Any) -> Iterable[Step]:
        for line, choice in choices(data):
            logprobs = choice.get("logprobs")
            if logprobs is not None:
                yield from steps(line, _positions(logprobs))

    def reading(self, prompt: Prompt, top: int) -> Call:
        call = self.request(Ask([prompt], top))
        return Call(call.path, {**call.body, "echo": True})

    def read_text(self, data: Any) -> Sequence[Position]:
        choice = only(data)
        return legacy(choice["logprobs"])[:-1]


def _positions(logprobs: Part) -> list[Position]:
    """Older versions tell the candidates alone: the most probable one is what was chosen."""
    if logprobs.get("tokens") is not None:
        return legacy(logprobs)
    found: list[Position] = []
    for place in logprobs["top_logprobs"].items():
        listed = [
            plain(key)._replace(logprob=number(place[key]))
            for key in (place.object() if place.value else ())
        ]
        best = max(listed, key=lambda one: one.logprob, default=Candidate(-math.inf))
        found.append((best, listed))
    return found
