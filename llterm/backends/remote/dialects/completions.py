"""Plain OpenAI completions: text in, text out, as OpenAI's legacy models, llama-cpp-python's
server and many others speak it. What a server takes of it is found out by trying."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from llterm.backends.remote.dialect import KnownServer
from llterm.backends.remote.discovery import Discovery
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    HttpCall,
    Position,
    Prompt,
    ServerTraits,
    choices,
    content,
    legacy,
    only,
    steps,
)

CONTEXT = 4096
"""Tokens a model is taken to see where its server does not say."""
MOST = 5
"""Candidates that OpenAI's own legacy models list."""


@dataclass(frozen=True, slots=True)
class EchoedCompletions(KnownServer, ABC):
    """A server that can echo the prompt in its completions, in OpenAI's legacy arrays."""

    @abstractmethod
    def call(self, request: CompletionRequest) -> HttpCall:
        """The request as the dialect writes it."""

    def scoring_call(self, prompt: Prompt, top: int) -> HttpCall:
        call = self.call(CompletionRequest([prompt], top))
        return HttpCall(call.path, {**call.body, "echo": True})

    def read_scoring(self, data: Any) -> Sequence[Position]:
        """The echoed tokens, without the one that the server wrote after them."""
        choice = only(data)
        return legacy(choice["logprobs"])[:-1]


@dataclass(frozen=True, slots=True)
class CompletionsDialect(EchoedCompletions):
    """A server with `/v1/completions`."""

    name: ClassVar[str] = "completions"
    model: str

    @classmethod
    async def detect(cls, discovery: Discovery, model: str | None) -> Self | None:
        listed = await discovery.models()
        name = model or await discovery.chosen_model()
        if name is None:
            return None
        traits = ServerTraits(
            "OpenAI's completions",
            name,
            CONTEXT,
            top=MOST,
            context_told=False,
            prefill="raw text; `chat_template` names the chat's format",
        )
        if any(entry.get("owned_by") == "me" for entry in listed):
            # One lock around the model, and a list of prompts makes it fail.
            return cls(replace(traits, server="llama-cpp-python's server", slots=1), name)
        return cls(replace(traits, lists=True), name)

    def call(self, request: CompletionRequest) -> HttpCall:
        body = {
            "model": self.model,
            "prompt": request.prompt,
            "max_tokens": request.tokens,
            "temperature": 0,
            "logprobs": request.top,
        }
        return HttpCall("/v1/completions", body)

    def read(self, data: Any) -> Iterable[CompletionStep]:
        for line, choice in choices(data):
            logprobs = choice.get("logprobs")
            if logprobs is None:
                continue
            entries = logprobs.get("content")
            yield from steps(line, content(entries.items()) if entries else legacy(logprobs))
