"""SGLang, by its native `/generate`: ids both ways, any number of candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from llterm.backends.chat_formats import THOUGHTLESS, Messages
from llterm.backends.remote.answer import Part
from llterm.backends.remote.dialects.asking import Visit, figure_of
from llterm.backends.remote.dialects.detokenize import detokenized, last
from llterm.backends.remote.dialects.shapes import number
from llterm.backends.remote.dialects.spelling import spread
from llterm.backends.remote.steps import Ask, Call, Candidate, Position, Prompt, Step, Traits
from llterm.backends.remote.wire import Refused, Wire
from llterm.core.tokens import Tail, Token
from llterm.errors import CapabilityMissing


@dataclass(frozen=True, slots=True)
class Sglang:
    """An SGLang server."""

    name: ClassVar[str] = "sglang"
    by_ids: ClassVar[bool] = True
    traits: Traits

    @classmethod
    async def meet(cls, visit: Visit, model: str | None) -> Self | None:
        info = await visit.table("/get_model_info")
        if "is_generation" not in info:
            return None
        about = await visit.table("/get_server_info")
        listed = await visit.models()
        context = next((n for one in listed if (n := figure_of(one.get("max_model_len")))), 4096)
        traits = Traits(
            server=f"SGLang {about.get('version', '')}".strip(),
            model=model or str(info.get("model_path", "model")), context=context,
            ids_in=True, ids_out=True, lists=True, reads=True, raw=True,
            prefill="token ids after the chat that it writes",
            cache="all requests, by common beginning",
            slots=16,
        )  # fmt: skip
        return cls(traits)

    def knowing(self, traits: Traits) -> Self:
        return replace(self, traits=traits)

    def request(self, ask: Ask) -> Call:
        prompts = [list(one) for one in ask.prompts]
        body = {
            "input_ids": prompts[0] if len(prompts) == 1 else prompts,
            "sampling_params": {"max_new_tokens": ask.tokens, "temperature": 0},
            "return_logprob": True,
            "top_logprobs_num": ask.top,
        }
        return Call("/generate", body)

    def read(self, data: Any) -> Iterable[Step]:
        whole = Part(data)
        for line, item in enumerate(whole.items() if isinstance(data, list) else (whole,)):
            meta = item["meta_info"]
            prompt, cached = meta.get("prompt_tokens"), meta.get("cached_tokens")
            reused = cached.whole() if cached else None
            rows = meta["output_token_logprobs"].items()
            for at, (own, top) in enumerate(
                zip(rows, meta["output_top_logprobs"].items(), strict=False)
            ):
                new = prompt.whole() - (reused or 0) if prompt and not at else 1
                listed = [_candidate(entry) for entry in top.items()]
                yield Step(line, at, _candidate(own), listed, new, None if at else reused)

    def reading(self, prompt: Prompt, top: int) -> Call:
        call = self.request(Ask([prompt], top))
        return Call(call.path, {**call.body, "logprob_start_len": 0})

    def read_text(self, data: Any) -> Sequence[Position]:
        """`[logprob, id, text]` for each token, its logprob null at first."""
        meta = Part(data)["meta_info"]
        found: list[Position] = []
        tops = list(meta["input_top_logprobs"].items())
        for at, own in enumerate(meta["input_token_logprobs"].items()):
            if own[0].value is None or at >= len(tops) or tops[at].value is None:
                found.append((Candidate(0.0, own[1].whole()), ()))
            else:
                found.append((_candidate(own), [_candidate(one) for one in tops[at].items()]))
        return found

    async def tokenize(self, wire: Wire, text: str) -> Sequence[Token]:
        """Its ids, with the text shared out among those that are parts of characters."""
        body = {"prompt": text, "add_special_tokens": False}
        ids = [one.whole() for one in _tokens(await wire.post("/tokenize", body))]
        line = await wire.post("/tokenize", {"prompt": "\n", "add_special_tokens": False})
        between = last(_tokens(line))
        known = await detokenized(
            wire, list(dict.fromkeys(ids)), between.whole(), {"skip_special_tokens": False}, "text"
        )
        data = spread([known[id].data if id in known else None for id in ids], text.encode())
        return [Token(id, one) for id, one in zip(ids, data or (), strict=False)]

    async def tokens(self, wire: Wire, ids: Sequence[int]) -> Mapping[int, Token]:
        line = await wire.post("/tokenize", {"prompt": "\n", "add_special_tokens": False})
        between = last(_tokens(line))
        return await detokenized(wire, ids, between.whole(), {"skip_special_tokens": False}, "text")

    async def opened(self, wire: Wire, messages: Messages) -> Sequence[Token]:
        body = {"messages": messages, "add_generation_prompt": True,
                "chat_template_kwargs": THOUGHTLESS}  # fmt: skip
        try:
            ids = [one.whole() for one in _tokens(await wire.post("/tokenize", body))]
        except Refused as error:
            raise CapabilityMissing(
                "This server did not open the chat",
                f"{self.traits.server} says: {error.detail or error.title}.",
                "SGLang writes chats from version 0.5.23 on, for models with a Jinja template.",
            ) from error
        known = await self.tokens(wire, list(dict.fromkeys(ids)))
        return [known.get(id) or Token(id, b"") for id in ids]

    async def prefix(self, wire: Wire) -> Tail:
        answer = await wire.post("/tokenize", {"prompt": "", "add_special_tokens": True})
        return tuple(one.whole() for one in _tokens(answer))


def _tokens(reply: Any) -> list[Part]:
    return list(Part(reply.data)["tokens"].items())


def _candidate(entry: Part) -> Candidate:
    return Candidate(number(entry[0]), entry[1].whole())
