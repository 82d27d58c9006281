"""OpenAI's chat, as hosted models speak it: the story is an answer that has begun.

Servers go on with a begun answer in different ways, and OpenAI's own not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from llterm.backends.remote.dialect import KnownServer
from llterm.backends.remote.discovery import Discovery
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    HttpCall,
    ServerTraits,
    choices,
    content,
    steps,
)
from llterm.errors import CapabilityMissing

MOST = 20
OPENING = (("user", "Write a story."),)
"""What the answer, which is the story, is an answer to where the person said nothing."""
_Fields = Mapping[str, Any]
_Way = tuple[str, _Fields, _Fields, _Fields]
_PREFIX: _Fields = {"prefix": True}
_CONTINUE: _Fields = {"continue_final_message": True, "add_generation_prompt": False}
HOSTS: Mapping[str, _Way | None] = {
    "api.openai.com": None,
    "api.deepseek.com": ("`prefix` on the last message", _PREFIX, {}, {}),
    "api.mistral.ai": ("`prefix` on the last message", _PREFIX, {}, {}),
    "openrouter.ai": ("the last message is the answer's beginning", {}, {},
                      {"provider": {"require_parameters": True}}),
}  # fmt: skip
"""By host: how it goes on, what that adds to the answer that has begun, to a request with one, and
to every request."""


@dataclass(frozen=True, slots=True)
class ChatDialect(KnownServer):
    """A server with `/v1/chat/completions`."""

    name: ClassVar[str] = "chat"
    takes_messages: ClassVar[bool] = True
    model: str
    message: _Fields = field(default_factory=dict)
    begun: _Fields = field(default_factory=dict)
    always: _Fields = field(default_factory=dict)

    @classmethod
    async def detect(cls, discovery: Discovery, model: str | None) -> Self | None:
        listed = await discovery.models()
        name = model or await discovery.chosen_model()
        if name is None:
            return None
        way = _way(discovery.transport.name, {str(entry.get("owned_by")) for entry in listed})
        if way is None:
            raise CapabilityMissing(
                "This server's chat cannot go on with a text",
                f"{discovery.transport.name} opens a new turn for every answer.",
                "Choose a server or a model with completions, or one whose chat takes a beginning.",
            )
        prefill, message, begun, always = way
        traits = ServerTraits(
            server="OpenAI's chat", model=name, context=8192, top=MOST, prefill=prefill,
            context_told=False,
        )  # fmt: skip
        return cls(traits, name, message, begun, always)

    def call(self, request: CompletionRequest) -> HttpCall:
        (prompt,) = request.prompts
        said = request.said[0] if request.said else ()
        messages: list[dict[str, Any]] = [
            {"role": role, "content": text} for role, text in said or OPENING
        ]
        if prompt:
            messages.append({"role": "assistant", "content": prompt, **self.message})
        body = {
            "model": self.model,
            "messages": messages,
            "max_tokens": request.tokens,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": request.top,
            **(self.begun if prompt else {}),
            **self.always,
        }
        return HttpCall("/v1/chat/completions", body)

    def read(self, data: Any) -> Iterable[CompletionStep]:
        for line, choice in choices(data):
            logprobs = choice.get("logprobs")
            entries = logprobs.get("content") if logprobs is not None else None
            if entries is not None:
                yield from steps(line, content(entries.items()))


def _way(address: str, owners: set[str]) -> _Way | None:
    """How this server goes on with an answer that has begun, or None where it cannot."""
    host = urlsplit(address.split()[0]).hostname or ""
    for known, way in HOSTS.items():
        if host == known or host.endswith(f".{known}"):
            return way
    if owners & {"vllm", "sglang", "tabbyAPI"}:
        return ("`continue_final_message`", {}, _CONTINUE, {})
    return ("the last message is the answer's beginning", {}, {}, {})
