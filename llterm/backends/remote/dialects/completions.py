"""Plain OpenAI completions: text in, text out, as OpenAI's legacy models, llama-cpp-python's
server and many others speak it. What a server takes of it is found out by trying."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from llterm.backends.remote.dialects.asking import Visit
from llterm.backends.remote.dialects.shapes import choices, content, legacy, only, steps
from llterm.backends.remote.steps import Ask, Call, Position, Prompt, Step, Traits

CONTEXT = 4096
"""Tokens a model is taken to see where its server does not say."""
MOST = 5
"""Candidates that OpenAI's own legacy models list."""


@dataclass(frozen=True, slots=True)
class Completions:
    """A server with `/v1/completions`."""

    name: ClassVar[str] = "completions"
    traits: Traits
    model: str

    @classmethod
    async def meet(cls, visit: Visit, model: str | None) -> Self | None:
        listed = await visit.models()
        name = model or next((str(one["id"]) for one in listed if "id" in one), None)
        if name is None:
            return None
        traits = Traits(
            "OpenAI's completions",
            name,
            CONTEXT,
            top=MOST,
            context_told=False,
            prefill="raw text; `chat_template` names the chat's format",
        )
        if any(one.get("owned_by") == "me" for one in listed):
            # One lock around the model, and a list of prompts makes it fail.
            return cls(replace(traits, server="llama-cpp-python's server", slots=1), name)
        return cls(replace(traits, lists=True), name)

    def knowing(self, traits: Traits) -> Self:
        return replace(self, traits=traits)

    def request(self, ask: Ask) -> Call:
        prompts = list(ask.prompts)
        body = {
            "model": self.model,
            "prompt": prompts[0] if len(prompts) == 1 else prompts,
            "max_tokens": ask.tokens,
            "temperature": 0,
            "logprobs": ask.top,
        }
        return Call("/v1/completions", body)

    def read(self, data: Any) -> Iterable[Step]:
        for line, choice in choices(data):
            logprobs = choice.get("logprobs")
            if logprobs is None:
                continue
            entries = logprobs.get("content")
            yield from steps(line, content(entries.items()) if entries else legacy(logprobs))

    def reading(self, prompt: Prompt, top: int) -> Call:
        call = self.request(Ask([prompt], top))
        return Call(call.path, {**call.body, "echo": True})

    def read_text(self, data: Any) -> Sequence[Position]:
        """The echoed tokens, without the one that the server wrote after them."""
        choice = only(data)
        return legacy(choice["logprobs"])[:-1]
