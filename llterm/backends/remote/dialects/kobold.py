"""KoboldCpp, by `/api/v1/generate`: text in, five to ten candidates as text out, one at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from llterm.backends.chat_formats import ChatFormat, own_format
from llterm.backends.remote.answer import Part
from llterm.backends.remote.dialects.asking import Visit, figure_of
from llterm.backends.remote.dialects.shapes import content, steps
from llterm.backends.remote.steps import Ask, Call, Step, Traits

MOST = 10
"""Newer ones; 1.102 lists five, whatever is asked."""


@dataclass(frozen=True, slots=True)
class Kobold:
    """A KoboldCpp server."""

    name: ClassVar[str] = "kobold"
    traits: Traits
    template: str = ""

    @classmethod
    async def meet(cls, visit: Visit, model: str | None) -> Self | None:
        about = await visit.table("/api/extra/version")
        if about.get("result") != "KoboldCpp":
            return None
        named = (await visit.table("/api/v1/model")).get("result")
        told = (await visit.table("/api/extra/true_max_context_length")).get("value")
        traits = Traits(
            server=f"KoboldCpp {about.get('version', '')}".strip(),
            model=model or str(named or "model"), context=figure_of(told, 4096),
            top=MOST, lines=False, cache="the last prompt", slots=1,
            prefill="raw text after the model's template, which it tells",
        )  # fmt: skip
        template = (await visit.table("/props")).get("chat_template")
        return cls(traits, template if isinstance(template, str) else "")

    def knowing(self, traits: Traits) -> Self:
        return replace(self, traits=traits)

    def request(self, ask: Ask) -> Call:
        """Every filter is off: its candidates are those that the filters leave."""
        (prompt,) = ask.prompts
        body = {
            "prompt": prompt,
            "max_length": ask.tokens,
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
        return Call("/api/v1/generate", body)

    def chat_format(self, special: Collection[bytes]) -> ChatFormat | None:
        """The model's template. The server begins texts itself as the model wants."""
        return own_format(self.template, "", "") if self.template else None

    def read(self, data: Any) -> Iterable[Step]:
        for line, result in enumerate(Part(data)["results"].items()):
            logprobs = result.get("logprobs")
            if logprobs is not None:
                entries = logprobs["content"].items()
                yield from steps(line, content(entries, id_key="token_id"))
