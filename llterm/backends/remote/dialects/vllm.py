"""vLLM, by `/v1/completions` with its own additions: ids both ways, prompt logprobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from llterm.backends.chat_formats import THOUGHTLESS, Messages
from llterm.backends.remote.answer import Part
from llterm.backends.remote.dialects.asking import Visit, figure_of
from llterm.backends.remote.dialects.detokenize import detokenized, last, paired
from llterm.backends.remote.dialects.shapes import (
    by_id,
    by_key,
    choices,
    legacy,
    number,
    only,
    steps,
)
from llterm.backends.remote.dialects.spelling import guessed_bytes, spelled_bytes
from llterm.backends.remote.steps import Ask, Call, Candidate, Position, Prompt, Step, Traits
from llterm.backends.remote.wire import Wire
from llterm.core.tokens import Tail, Token

MOST = 20
"""`--max-logprobs`, where it was not set."""


@dataclass(frozen=True, slots=True)
class Vllm:
    """A vLLM server."""

    name: ClassVar[str] = "vllm"
    by_ids: ClassVar[bool] = True
    traits: Traits
    model: str

    @classmethod
    async def meet(cls, visit: Visit, model: str | None) -> Self | None:
        models = [one for one in await visit.models() if one.get("owned_by") == "vllm"]
        if not models:
            return None
        chosen = next((one for one in models if one.get("id") == model), models[0])
        name = model or str(chosen.get("id"))
        version = (await visit.table("/version")).get("version", "")
        context = chosen.get("max_model_len")
        traits = Traits(
            server=f"vLLM {version}".strip(), model=name,
            context=figure_of(context, 4096),
            top=MOST, ids_in=True, ids_out=True, lists=True, reads=True, raw=True,
            prefill="token ids after the chat that it writes",
            cache="all requests, in blocks", slots=16,
        )  # fmt: skip
        return cls(traits, name)

    def knowing(self, traits: Traits) -> Self:
        return replace(self, traits=traits)

    def request(self, ask: Ask) -> Call:
        prompts = [one if isinstance(one, str) else list(one) for one in ask.prompts]
        body = {
            "model": self.model,
            "prompt": prompts[0] if len(prompts) == 1 else prompts,
            "max_tokens": ask.tokens,
            "temperature": 0,
            "logprobs": ask.top,
            "return_tokens_as_token_ids": True,
        }
        return Call("/v1/completions", body)

    def read(self, data: Any) -> Iterable[Step]:
        for line, choice in choices(data):
            logprobs = choice.get("logprobs")
            if logprobs is not None:
                yield from steps(line, legacy(logprobs, by_id))

    def reading(self, prompt: Prompt, top: int) -> Call:
        call = self.request(Ask([prompt], top))
        body = {**call.body, "prompt_logprobs": top, "return_token_ids": True}
        return Call(call.path, body)

    def read_text(self, data: Any) -> Sequence[Position]:
        """`prompt_logprobs`: an object by id for each token, its own among them; null first."""
        choice = only(data)
        ids = [one.whole() for one in choice["prompt_token_ids"].items()]
        found: list[Position] = []
        for id, place in zip(ids, choice["prompt_logprobs"].items(), strict=False):
            if place.value is None:
                found.append((Candidate(0.0, id), ()))
                continue
            listed = [
                Candidate(number(place[key]["logprob"]), by_key(key)) for key in place.object()
            ]
            own = next((one for one in listed if one.id == id), Candidate(float("-inf"), id))
            rank = place[str(id)].get("rank") if str(id) in place.value else None
            found.append((own._replace(rank=rank.whole() if rank else None), listed))
        return found

    async def tokenize(self, wire: Wire, text: str) -> Sequence[Token]:
        body = {"model": self.model, "prompt": text, "add_special_tokens": False,
                "return_token_strs": True}  # fmt: skip
        answer = Part((await wire.post("/tokenize", body)).data)
        ids = [one.whole() for one in answer["tokens"].items()]
        data = spelled_bytes([one.text() for one in answer["token_strs"].items()], text)
        return paired(ids, data)

    async def tokens(self, wire: Wire, ids: Sequence[int]) -> Mapping[int, Token]:
        between = last(await self.tokenize(wire, "\n"))
        return await detokenized(wire, ids, between.id, {"model": self.model}, "prompt")

    async def opened(self, wire: Wire, messages: Messages) -> Sequence[Token]:
        body = {"model": self.model, "messages": messages, "add_generation_prompt": True,
                "chat_template_kwargs": THOUGHTLESS, "return_token_strs": True}  # fmt: skip
        answer = Part((await wire.post("/tokenize", body)).data)
        ids = [one.whole() for one in answer["tokens"].items()]
        data = guessed_bytes([one.text() for one in answer["token_strs"].items()])
        return paired(ids, data)

    async def prefix(self, wire: Wire) -> Tail:
        body = {"model": self.model, "prompt": "", "add_special_tokens": True}
        answer = Part((await wire.post("/tokenize", body)).data)
        return tuple(one.whole() for one in answer["tokens"].items())
