"""TabbyAPI (ExLlama), by `/v1/completions`: text in, the vocabulary's pieces out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from llterm.backends.chat_formats import ChatFormat, own_format
from llterm.backends.remote.dialect import KnownServer
from llterm.backends.remote.discovery import Discovery, positive_number
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    HttpCall,
    ServerTraits,
    choices,
    legacy,
    spelled,
    steps,
)


@dataclass(frozen=True, slots=True)
class TabbyDialect(KnownServer):
    """A TabbyAPI server."""

    name: ClassVar[str] = "tabby"
    model: str
    template: str = ""

    @classmethod
    async def detect(cls, discovery: Discovery, model: str | None) -> Self | None:
        if not any(one.get("owned_by") == "tabbyAPI" for one in await discovery.models()):
            return None
        card = await discovery.table("/v1/model")
        name = model or str(card.get("id", "model"))
        parameters = card.get("parameters")
        said = parameters if isinstance(parameters, dict) else {}
        context_length = said.get("max_seq_len")
        traits = ServerTraits(
            server="TabbyAPI", model=name, context=positive_number(context_length, 4096),
            lists=True, prefill="raw text after the model's template, which it tells",
            cache="all requests, in pages",
        )  # fmt: skip
        template = said.get("prompt_template_content")
        return cls(traits, name, template if isinstance(template, str) else "")

    def call(self, request: CompletionRequest) -> HttpCall:
        body = {
            "model": self.model,
            "prompt": request.prompt,
            "max_tokens": request.tokens,
            "temperature": 1.0,
            "top_k": 1,
            # A number of one lists nothing beside the choice.
            "logprobs": max(request.top, 2),
        }
        return HttpCall("/v1/completions", body)

    def chat_format(self, special: Collection[bytes]) -> ChatFormat | None:
        """The model's template. The server begins texts itself as the model wants."""
        return own_format(self.template, "", "") if self.template else None

    def read(self, data: Any) -> Iterable[CompletionStep]:
        for line, choice in choices(data):
            logprobs = choice.get("logprobs")
            if logprobs is not None:
                yield from steps(line, legacy(logprobs, spelled))
