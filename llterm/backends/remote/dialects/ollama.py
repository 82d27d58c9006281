"""Ollama, by `/api/generate` in raw mode: text in, at most 20 candidates as text out.

A step whose chosen token shows no text (an end, half a character) has no probabilities at all; it
is asked again by chance, with another seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from llterm.backends.chat_formats import Messages
from llterm.backends.remote.answer import AnswerValue
from llterm.backends.remote.dialect import KnownServer
from llterm.backends.remote.discovery import Discovery
from llterm.backends.remote.model_choice import OfferedModel, choose_model
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    HttpCall,
    Position,
    ServerTraits,
    content,
    steps,
)
from llterm.backends.remote.transport import Transport
from llterm.errors import CapabilityMissing, ModelError

MOST = 20
CONTEXT = 4096
"""Tokens that it lets a model see where `num_ctx` was not set."""


@dataclass(frozen=True, slots=True)
class OllamaDialect(KnownServer):
    """An Ollama server."""

    name: ClassVar[str] = "ollama"
    by_ids: ClassVar[bool] = False
    model: str

    @classmethod
    async def detect(cls, discovery: Discovery, model: str | None) -> Self | None:
        version = (await discovery.table("/api/version")).get("version")
        listed = (await discovery.table("/api/tags")).get("models")
        if not isinstance(version, str) or not isinstance(listed, list):
            return None
        names = [str(one.get("name")) for one in listed if isinstance(one, dict)]
        if model is None and not names:
            raise ModelError(
                "Ollama has no model", "Its list is empty.", "`ollama pull` fetches one."
            )
        running = (await discovery.table("/api/ps")).get("models") if len(names) > 1 else None
        entries = running if isinstance(running, list) else []
        loaded = {str(entry.get("name")) for entry in entries if isinstance(entry, dict)}
        offered = [OfferedModel(name, name in loaded) for name in names]
        name = model or choose_model(offered, discovery.transport.name) or names[0]
        traits = ServerTraits(
            server=f"Ollama {version}", model=name, context=CONTEXT, top=MOST, raw=True,
            prefill="raw text after the chat that it writes", cache="one prompt a slot",
            slots=1, retries=2, context_told=False,
        )  # fmt: skip
        return cls(traits, name)

    def call(self, request: CompletionRequest) -> HttpCall:
        options: dict[str, Any] = {"num_predict": request.tokens, "temperature": 0}
        if request.attempt:
            options.update(temperature=1.5, seed=request.attempt)
        (prompt,) = request.prompts
        body = {
            "model": self.model,
            "prompt": prompt,
            "raw": True,
            "stream": False,
            "logprobs": True,
            "top_logprobs": request.top,
            "options": options,
        }
        return HttpCall("/api/generate", body)

    async def apply_template(self, transport: Transport, messages: Messages) -> str:
        """The text that its chat would send to the model; nothing is written."""
        body = {
            "model": self.model,
            "messages": messages,
            "stream": False,
            "think": False,
            "_debug_render_only": True,
            # One that does not know this field writes an answer: a short one will do.
            "options": {"num_predict": 1},
        }
        answer = AnswerValue((await transport.post("/api/chat", body)).data)
        if (debug_info := answer.get("_debug_info")) is None:
            raise CapabilityMissing(
                "This server did not open the chat",
                f"{self.traits.server} does not show how it writes one.",
                "Update Ollama, or name the model's format by chat_template in llterm.toml.",
            )
        return debug_info["rendered_template"].text()

    def read(self, data: Any) -> Iterable[CompletionStep]:
        answer = AnswerValue(data)
        logprobs = answer.get("logprobs")
        if logprobs is not None:
            text = answer["response"].text().encode("utf-8", "replace")
            yield from steps(0, _together(content(logprobs.items()), text))


def _together(positions: Sequence[Position], text: bytes) -> Iterator[Position]:
    """The positions as far as their tokens make up the text: steps may have been left out."""
    at = 0
    for chosen, listed in positions:
        data = chosen.data or b""
        if text[at : at + len(data)] != data:
            return
        at += len(data)
        yield chosen, listed
