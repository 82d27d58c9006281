"""vLLM, by `/v1/completions` with its own additions: ids both ways, prompt logprobs."""

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
    by_id,
    by_key,
    choices,
    legacy,
    number,
    only,
    steps,
)
from llterm.backends.remote.token_spelling import (
    guessed_bytes,
    paired,
    spelled_bytes,
    token_ids,
)
from llterm.backends.remote.transport import RequestRefused, Transport
from llterm.core.conversation import THOUGHTLESS
from llterm.core.tokens import Tail, Token

MOST = 20
"""`--max-logprobs`, where it was not set."""


@dataclass(frozen=True, slots=True)
class VllmDialect(KnownServer):
    """A vLLM server."""

    name: ClassVar[str] = "vllm"
    by_ids: ClassVar[bool] = True
    model: str
    detokenizer: Detokenizer = field(default_factory=Detokenizer, repr=False, compare=False)

    @classmethod
    async def detect(cls, discovery: Discovery, model: str | None) -> Self | None:
        models = [entry for entry in await discovery.models() if entry.get("owned_by") == "vllm"]
        if not models:
            return None
        # Adapters name their parent; one model may have several names, and one root.
        bases = [entry for entry in models if not entry.get("parent")] or models
        several = len({entry.get("root") for entry in bases}) > 1
        name = model or (several and await discovery.chosen_model()) or str(bases[0].get("id"))
        chosen = next((entry for entry in models if entry.get("id") == name), bases[0])
        version = (await discovery.table("/version")).get("version", "")
        context = chosen.get("max_model_len")
        traits = ServerTraits(
            server=f"vLLM {version}".strip(), model=name,
            context=positive_number(context, 4096),
            top=MOST, ids_in=True, ids_out=True, lists=True, reads=True, raw=True,
            prefill="token ids after the chat that it writes",
            cache="all requests, in blocks", slots=16,
        )  # fmt: skip
        return cls(traits, name)

    def call(self, request: CompletionRequest) -> HttpCall:
        body = {
            "model": self.model,
            "prompt": request.prompt,
            "max_tokens": request.tokens,
            "temperature": 0,
            "logprobs": request.top,
            "return_tokens_as_token_ids": True,
        }
        return HttpCall("/v1/completions", body)

    def read(self, data: Any) -> Iterable[CompletionStep]:
        for line, choice in choices(data):
            logprobs = choice.get("logprobs")
            if logprobs is not None:
                yield from steps(line, legacy(logprobs, by_id))

    def scoring_call(self, prompt: Prompt, top: int) -> HttpCall:
        call = self.call(CompletionRequest([prompt], top))
        body = {**call.body, "prompt_logprobs": top, "return_token_ids": True}
        return HttpCall(call.path, body)

    def read_scoring(self, data: Any) -> Sequence[Position]:
        """`prompt_logprobs`: an object by id for each token, its own among them; null first."""
        choice = only(data)
        ids = [one.whole() for one in choice["prompt_token_ids"].items()]
        positions: list[Position] = []
        for id, place in zip(ids, choice["prompt_logprobs"].items(), strict=False):
            if place.value is None:
                positions.append((TokenCandidate(0.0, id), ()))
                continue
            listed = [
                TokenCandidate(number(place[key]["logprob"]), by_key(key)) for key in place.object()
            ]
            own = next(
                (entry for entry in listed if entry.id == id), TokenCandidate(float("-inf"), id)
            )
            rank = place[str(id)].get("rank") if str(id) in place.value else None
            positions.append((own._replace(rank=rank.whole() if rank else None), listed))
        return positions

    async def tokenize(self, transport: Transport, text: str) -> Sequence[Token]:
        body = {"model": self.model, "prompt": text, "add_special_tokens": False,
                "return_token_strs": True}  # fmt: skip
        answer = AnswerValue((await transport.post("/tokenize", body)).data)
        ids = token_ids(answer.value)
        data = spelled_bytes([one.text() for one in answer["token_strs"].items()], text)
        return paired(ids, data)

    async def tokens(self, transport: Transport, ids: Sequence[int]) -> Mapping[int, Token]:
        return await self.detokenizer.tokens(self, transport, ids)

    async def listing(self, transport: Transport, most: int) -> Sequence[Token]:
        return await self.detokenizer.listing(self, transport, most)

    def learn(self, tokens: Sequence[Token]) -> None:
        self.detokenizer.learn(tokens)

    async def cut(self, transport: Transport, text: str) -> Sequence[int]:
        return [token.id for token in await self.tokenize(transport, text)]

    async def joined(self, transport: Transport, ids: Sequence[int]) -> str:
        answer = await transport.post("/detokenize", {"model": self.model, "tokens": ids})
        return AnswerValue(answer.data)["prompt"].text()

    async def apply_template(
        self, transport: Transport, messages: Messages
    ) -> Sequence[Token] | None:
        body = {"model": self.model, "messages": messages, "add_generation_prompt": True,
                "chat_template_kwargs": THOUGHTLESS, "return_token_strs": True}  # fmt: skip
        try:
            answer = AnswerValue((await transport.post("/tokenize", body)).data)
        except RequestRefused as error:
            if has_no_template(error):
                return None
            raise
        ids = token_ids(answer.value)
        data = guessed_bytes([one.text() for one in answer["token_strs"].items()])
        return paired(ids, data)

    async def prefix(self, transport: Transport) -> Tail:
        body = {"model": self.model, "prompt": "", "add_special_tokens": True}
        return tuple(token_ids((await transport.post("/tokenize", body)).data))
