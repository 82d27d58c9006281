"""TabbyAPI (ExLlama), by `/v1/completions`: text in, the vocabulary's pieces out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from llterm.backends.chat_formats import ChatFormat, own_format
from llterm.backends.remote.dialects.asking import Visit, figure_of
from llterm.backends.remote.dialects.shapes import choices, legacy, spelled, steps
from llterm.backends.remote.steps import Ask, Call, Step, Traits


@dataclass(frozen=True, slots=True)
class Tabby:
    """A TabbyAPI server."""

    name: ClassVar[str] = "tabby"
    traits: Traits
    model: str
    template: str = ""

    @classmethod
    async def meet(cls, visit: Visit, model: str | None) -> Self | None:
        if not any(one.get("owned_by") == "tabbyAPI" for one in await visit.models()):
            return None
        card = await visit.table("/v1/model")
        name = model or str(card.get("id", "model"))
        parameters = card.get("parameters")
        said = parameters if isinstance(parameters, dict) else {}
        told = said.get("max_seq_len")
        traits = Traits(
            server="TabbyAPI", model=name, context=figure_of(told, 4096),
            lists=True, prefill="raw text after the model's template, which it tells",
            cache="all requests, in pages",
        )  # fmt: skip
        template = said.get("prompt_template_content")
        return cls(traits, name, template if isinstance(template, str) else "")

    def knowing(self, traits: Traits) -> Self:
        return replace(self, traits=traits)

    def request(self, ask: Ask) -> Call:
        prompts = list(ask.prompts)
        body = {
            "model": self.model,
            "prompt": prompts[0] if len(prompts) == 1 else prompts,
            "max_tokens": ask.tokens,
            "temperature": 1.0,
            "top_k": 1,
            # A number of one lists nothing beside the choice.
            "logprobs": max(ask.top, 2),
        }
        return Call("/v1/completions", body)

    def chat_format(self, special: Collection[bytes]) -> ChatFormat | None:
        """The model's template. The server begins texts itself as the model wants."""
        return own_format(self.template, "", "") if self.template else None

    def read(self, data: Any) -> Iterable[Step]:
        for line, choice in choices(data):
            logprobs = choice.get("logprobs")
            if logprobs is not None:
                yield from steps(line, legacy(logprobs, spelled))
