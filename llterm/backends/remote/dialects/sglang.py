"""SGLang, by its native `/generate`: ids both ways, any number of candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from llterm.backends.chat_formats import Messages
from llterm.backends.remote.answer import AnswerValue
from llterm.backends.remote.detokenizer import Detokenizer
from llterm.backends.remote.dialect import KnownServer, has_no_template
from llterm.backends.remote.discovery import Discovery, positive_number
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    HttpCall,
    Position,
    Prompt,
    ServerTraits,
    TokenCandidate,
    number,
)
from llterm.backends.remote.token_spelling import spread, token_ids
from llterm.backends.remote.transport import RequestRefused, Transport
from llterm.core.conversation import THOUGHTLESS
from llterm.core.tokens import Tail, Token
from llterm.errors import CapabilityMissing


@dataclass(frozen=True, slots=True)
class SglangDialect(KnownServer):
    """An SGLang server."""

    name: ClassVar[str] = "sglang"
    by_ids: ClassVar[bool] = True
    detokenizer: Detokenizer = field(default_factory=Detokenizer, repr=False, compare=False)

    @classmethod
    async def detect(cls, discovery: Discovery, model: str | None) -> Self | None:
        info = await discovery.table("/get_model_info")
        if "is_generation" not in info:
            return None
        about = await discovery.table("/get_server_info")
        listed = await discovery.models()
        context = next(
            (n for one in listed if (n := positive_number(one.get("max_model_len")))), 4096
        )
        traits = ServerTraits(
            server=f"SGLang {about.get('version', '')}".strip(),
            model=model or str(info.get("model_path", "model")), context=context,
            ids_in=True, ids_out=True, lists=True, reads=True, raw=True,
            prefill="token ids after the chat that it writes",
            cache="all requests, by common beginning",
            slots=16,
        )  # fmt: skip
        return cls(traits)

    def call(self, request: CompletionRequest) -> HttpCall:
        body = {
            "input_ids": request.prompt,
            "sampling_params": {"max_new_tokens": request.tokens, "temperature": 0},
            "return_logprob": True,
            "top_logprobs_num": request.top,
        }
        return HttpCall("/generate", body)

    def read(self, data: Any) -> Iterable[CompletionStep]:
        whole = AnswerValue(data)
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
                yield CompletionStep(line, at, _candidate(own), listed, new, None if at else reused)

    def scoring_call(self, prompt: Prompt, top: int) -> HttpCall:
        call = self.call(CompletionRequest([prompt], top))
        return HttpCall(call.path, {**call.body, "logprob_start_len": 0})

    def read_scoring(self, data: Any) -> Sequence[Position]:
        """`[logprob, id, text]` for each token, its logprob null at first."""
        meta = AnswerValue(data)["meta_info"]
        positions: list[Position] = []
        tops = list(meta["input_top_logprobs"].items())
        for at, own in enumerate(meta["input_token_logprobs"].items()):
            if own[0].value is None or at >= len(tops) or tops[at].value is None:
                positions.append((TokenCandidate(0.0, own[1].whole()), ()))
            else:
                positions.append((_candidate(own), [_candidate(one) for one in tops[at].items()]))
        return positions

    async def tokenize(self, transport: Transport, text: str) -> Sequence[Token]:
        """Its ids, with the text shared out among those that are parts of characters."""
        ids = await self.cut(transport, text)
        known = await self.tokens(transport, list(dict.fromkeys(ids)))
        data = spread([known[id].data if id in known else None for id in ids], text.encode())
        return [Token(id, piece) for id, piece in zip(ids, data or (), strict=False)]

    async def tokens(self, transport: Transport, ids: Sequence[int]) -> Mapping[int, Token]:
        return await self.detokenizer.tokens(self, transport, ids)

    async def listing(self, transport: Transport, most: int) -> Sequence[Token]:
        return await self.detokenizer.listing(self, transport, most)

    def learn(self, tokens: Sequence[Token]) -> None:
        self.detokenizer.learn(tokens)

    async def cut(self, transport: Transport, text: str) -> Sequence[int]:
        body = {"prompt": text, "add_special_tokens": False}
        return token_ids((await transport.post("/tokenize", body)).data)

    async def joined(self, transport: Transport, ids: Sequence[int]) -> str:
        body = {"tokens": ids, "skip_special_tokens": False}
        return AnswerValue((await transport.post("/detokenize", body)).data)["text"].text()

    async def apply_template(
        self, transport: Transport, messages: Messages
    ) -> Sequence[Token] | None:
        body = {"messages": messages, "add_generation_prompt": True,
                "chat_template_kwargs": THOUGHTLESS}  # fmt: skip
        try:
            ids = token_ids((await transport.post("/tokenize", body)).data)
        except RequestRefused as error:
            if has_no_template(error):
                return None
            raise CapabilityMissing(
                "This server did not open the chat",
                f"{self.traits.server} says: {error.detail or error.title}.",
                "SGLang writes chats from version 0.5.23 on, for models with a Jinja template.",
            ) from error
        known = await self.tokens(transport, list(dict.fromkeys(ids)))
        return [known.get(id) or Token(id, b"") for id in ids]

    async def prefix(self, transport: Transport) -> Tail:
        answer = await transport.post("/tokenize", {"prompt": "", "add_special_tokens": True})
        return tuple(token_ids(answer.data))


def _candidate(entry: AnswerValue) -> TokenCandidate:
    return TokenCandidate(number(entry[0]), entry[1].whole())
