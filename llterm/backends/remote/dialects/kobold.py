"""KoboldCpp, by `/api/v1/generate`: text in, five to ten candidates as text out, one at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from llterm.backends.chat_formats import ChatFormat, own_format
from llterm.backends.remote.answer import AnswerValue
from llterm.backends.remote.dialect import KnownServer
from llterm.backends.remote.discovery import Discovery, positive_number
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    HttpCall,
    ServerTraits,
    content,
    steps,
)

MOST = 10
"""Newer ones; 1.102 lists five, whatever is asked."""


@dataclass(frozen=True, slots=True)
class KoboldDialect(KnownServer):
    """A KoboldCpp server."""

    name: ClassVar[str] = "kobold"
    template: str = ""

    @classmethod
    async def detect(cls, discovery: Discovery, model: str | None) -> Self | None:
        about = await discovery.table("/api/extra/version")
        if about.get("result") != "KoboldCpp":
            return None
        named = (await discovery.table("/api/v1/model")).get("result")
        context_length = (await discovery.table("/api/extra/true_max_context_length")).get("value")
        traits = ServerTraits(
            server=f"KoboldCpp {about.get('version', '')}".strip(),
            model=model or str(named or "model"), context=positive_number(context_length, 4096),
            top=MOST, lines=False, cache="the last prompt", slots=1,
            prefill="raw text after the model's template, which it tells",
        )  # fmt: skip
        template = (await discovery.table("/props")).get("chat_template")
        return cls(traits, template if isinstance(template, str) else "")

    def call(self, request: CompletionRequest) -> HttpCall:
        """Every filter is off: its candidates are those that the filters leave."""
        (prompt,) = request.prompts
        body = {
            "prompt": prompt,
            "max_length": request.tokens,
            "max_context_length": self.traits.context,
            "temperature": 1.0,
            "top_k": 0,
            "top_p": 1.0,
            "min_p": 0.0,
            "typical": 1.0,
            "tfs": 1.0,
            "rep_pen": 1.0,
            "trim_stop": False,
            "logprobs": True,
        }
        return HttpCall("/api/v1/generate", body)

    def chat_format(self, special: Collection[bytes]) -> ChatFormat | None:
        """The model's template. The server begins texts itself as the model wants."""
        return own_format(self.template, "", "") if self.template else None

    def read(self, data: Any) -> Iterable[CompletionStep]:
        for line, result in enumerate(AnswerValue(data)["results"].items()):
            logprobs = result.get("logprobs")
            if logprobs is not None:
                entries = logprobs["content"].items()
                yield from steps(line, content(entries, id_key="token_id"))
