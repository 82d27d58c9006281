"""llama.cpp's own server, by its native `/completion`: ids and exact bytes both ways.

It lists any number of candidates from the raw distribution, whatever the sampler does. It loses
a whole position where the chosen token ends in the middle of a character; a bias towards a plain
token, which leaves the listed figures as they are, brings it back. Some builds (b10434) lose the
whole answer instead, of several prompts all of them, where what was written is no UTF-8.

A router has several models and loads them as they are asked for: every request names one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self
from urllib.parse import urlencode

from llterm.backends.chat_formats import ChatFormat, own_format, plain_format
from llterm.backends.remote.answer import LARGEST, AnswerValue
from llterm.backends.remote.dialect import KnownServer
from llterm.backends.remote.discovery import Discovery, positive_number
from llterm.backends.remote.model_choice import listing
from llterm.backends.remote.server_faults import is_unwritten
from llterm.backends.remote.server_vocabulary import is_end
from llterm.backends.remote.steps import (
    LEAD,
    PLAIN_TEXT,
    CompletionRequest,
    CompletionStep,
    HttpCall,
    ServerTraits,
    TokenCandidate,
    number,
    shown_name,
    text_token,
)
from llterm.backends.remote.transport import BadAnswer, RequestRefused, Transport
from llterm.core.display_text import label_text
from llterm.core.tokens import Tail, Token
from llterm.errors import ModelError

CHATML = "<|im_start|>"
LONGEST = 300
"""Characters that are shown of what a server says."""
FORCE = 1000.0
"""A bias that decides the choice."""
AMONG = 100.0
"""A bias that leaves e^-100 to the others, and the favoured ones as they are to each other."""
FIELDS = ("index", "tokens", "tokens_predicted", "tokens_evaluated", "completion_probabilities",
          "stop_type", "timings/prompt_n", "timings/cache_n", "error")  # fmt: skip


@dataclass(frozen=True, slots=True)
class LlamaDialect(KnownServer):
    """A llama.cpp server."""

    name: ClassVar[str] = "llama"
    model: str | None = None
    size: int | None = None
    kind: int = 0
    eos: str = ""
    begin: str = ""
    template: str = ""
    plain: list[int] = field(default_factory=list)
    """A token of one plain character, once the vocabulary is known."""

    @classmethod
    async def detect(cls, discovery: Discovery, model: str | None) -> Self | None:
        properties = await discovery.table("/props")
        if "default_generation_settings" not in properties:
            return None
        if properties.get("role") == "router":
            model = model or await discovery.chosen_model()
            if model is None:
                raise ModelError(
                    f"{discovery.transport.name} has no model",
                    "It is a llama.cpp router, and its list is empty.",
                    "--models-dir names a folder with .gguf files when it is started.",
                )
            properties = await _of_router(discovery, model)
        props = AnswerValue(properties)
        meta, listed = _meta(await discovery.models(), model)
        settings = props["default_generation_settings"].value
        per_slot = settings.get("n_ctx") if isinstance(settings, dict) else None
        told = (per_slot, meta.get("n_ctx"), meta.get("n_ctx_train"))
        context = next((n for n in map(positive_number, told) if n), 2048)
        slots = props.get("total_slots")
        build = props.get("build_info")
        alias = props.get("model_path") or props.get("model_alias")
        eos, begin = props.get("eos_token"), props.get("bos_token")
        template = props.get("chat_template")
        size, kind = meta.get("n_vocab"), meta.get("vocab_type")
        traits = ServerTraits(
            server=f"llama.cpp {build.text() if build else ''}".strip(),
            model=model or listed or (alias.text() if alias else "model"),
            context=context,
            ids_in=True, ids_out=True, bytes_out=True, lists=True, streams=True, favours=True,
            raw=True, prefill="token ids after the model's template, which it tells",
            cache="one prompt a slot", slots=slots.whole(1, 4096) if slots else 1,
        )  # fmt: skip
        return cls(
            traits, model, positive_number(size) or None, positive_number(kind),
            eos.text() if eos else "", begin.text() if begin else "",
            template.text() if template else "",
        )  # fmt: skip

    def call(self, request: CompletionRequest) -> HttpCall:
        body = self._named({
            "prompt": request.prompt,
            "n_predict": request.tokens,
            "n_probs": request.top,
            "samplers": [] if request.among else ["top_k"],
            "top_k": 1,
            "temperature": 1.0,
            "cache_prompt": True,
            "return_tokens": True,
            "response_fields": FIELDS,
        })  # fmt: skip
        if request.stream:
            body.update(stream=True, timings_per_token=True)
        favour = request.favour or (tuple(self.plain) if request.tokens == 1 else ())
        if favour:
            bias = AMONG if request.among else FORCE
            body["logit_bias"] = [[id, bias + LEAD * (id == request.first)] for id in favour]
        if request.among:
            body["post_sampling_probs"] = True
        return HttpCall("/completion", body)

    def read(self, data: Any) -> Iterable[CompletionStep]:
        if data is None:
            return
        whole = AnswerValue(data)
        for item in whole.items() if isinstance(data, list) else (whole,):
            yield from _steps(item)

    def chat_format(self, special: Collection[bytes]) -> ChatFormat:
        # For a model without a template the server tells ChatML's, which such a model never saw.
        borrowed = CHATML in self.template and bool(special) and CHATML.encode() not in special
        if not self.template or borrowed:
            return plain_format(known=False)
        return own_format(self.template, self.begin, self.eos)

    async def tokenize(self, transport: Transport, text: str) -> Sequence[Token]:
        body = {"content": text, "add_special": False, "parse_special": False, "with_pieces": True}
        found = AnswerValue((await transport.post("/tokenize", self._named(body))).data)["tokens"]
        return [Token(one["id"].whole(), _piece(one["piece"])) for one in found.items()]

    async def tokens(self, transport: Transport, ids: Sequence[int]) -> Mapping[int, Token]:
        return {}

    async def prefix(self, transport: Transport) -> Tail:
        body = self._named({"content": "", "add_special": True})
        found = AnswerValue((await transport.post("/tokenize", body)).data)["tokens"]
        return tuple(one.whole() for one in found.items())

    async def vocabulary(
        self, transport: Transport, most: int
    ) -> tuple[int, Sequence[Token]] | None:
        """From one distribution over all of it: every id with its bytes."""
        if self.size is None or self.size > most:
            return None
        listed = await self._listed(transport, CompletionRequest([(0,)], self.size))
        if not listed:
            # The choice was half a character. Any other will do: the list is the same.
            plain = [token.id for token in await self.tokenize(transport, PLAIN_TEXT)]
            listed = await self._listed(
                transport, CompletionRequest([(0,)], self.size, favour=tuple(plain[-1:]))
            )
        if len(listed) < self.size:
            # It lists some candidates only: its tokens are learned as they are seen.
            return None
        if set(listed) != set(range(self.size)):
            raise BadAnswer(
                "The server does not tell its vocabulary",
                f"It listed {len(listed):,} of {self.size:,} tokens.",
                'Update the server, or set dialect = "completions".',
            )
        names = await self._names(
            transport, [id for id in range(self.size) if not listed[id]], listed
        )
        tokens = [
            Token(id, listed[id] or names[id], special=not listed[id],
                  end=not listed[id] and (is_end(names[id]) or names[id].decode() == self.eos))
            for id in range(self.size)
        ]  # fmt: skip
        self.learn(tokens)
        return self.kind, tokens

    def learn(self, tokens: Sequence[Token]) -> None:
        plain = PLAIN_TEXT.encode()
        self.plain[:] = [one.id for one in tokens if one.data == plain and not one.special][:1]

    async def _listed(
        self, transport: Transport, request: CompletionRequest
    ) -> dict[int | None, bytes | None]:
        """Every candidate at one position with its bytes; none where the answer was lost."""
        try:
            answer = await transport.post("/completion", self.call(request).body)
        except RequestRefused as error:
            if not is_unwritten(error):
                raise
            return {}
        return {one.id: one.data for step in self.read(answer.data) for one in step.listed}

    def _named(self, body: dict[str, Any]) -> dict[str, Any]:
        """With the model's name, where the person gave one: one server may have several."""
        return {**body, "model": self.model} if self.model else body

    async def _names(
        self, transport: Transport, ids: Sequence[int], listed: Mapping[int | None, bytes | None]
    ) -> Mapping[int, bytes]:
        """Names of tokens that stand for no text, all of them by one request.

        A line break between them tells them apart.
        """
        between = next((id for id, data in listed.items() if data == b"\n"), None)
        names: list[str] = []
        if between is not None and ids:
            asked = [one for id in ids for one in (id, between)]
            answer = await transport.post("/detokenize", self._named({"tokens": asked}))
            names = AnswerValue(answer.data)["content"].text().split("\n")[:-1]
        if len(names) != len(ids):
            return {id: b"<|%d|>" % id for id in ids}
        return {id: name.strip().encode() or b"<|%d|>" % id
                for id, name in zip(ids, names, strict=True)}  # fmt: skip


async def _of_router(discovery: Discovery, model: str) -> dict[str, Any]:
    """What a router says of one of its models, which it loads for that: it may take minutes.

    Raises ModelError where it has no such model, or will not load it.
    """
    address, names = discovery.transport.name, await discovery.model_names()
    try:
        properties = (await discovery.transport.get(f"/props?{urlencode({'model': model})}")).data
    except RequestRefused as error:
        if error.status in (401, 403):
            raise
        has = f" It has {listing(names)}." if names and model not in names else ""
        raise ModelError(
            f"{address} does not open the model {shown_name(model)}",
            f"{error.cause}{has}",
            "Check the name; a router that was started with --no-models-autoload wants it loaded"
            " first, by its web page or POST /models/load.",
        ) from None
    await discovery.models_anew()
    return properties if isinstance(properties, dict) else {}


def _meta(models: Sequence[Mapping[str, Any]], model: str | None) -> tuple[dict[str, Any], str]:
    """What `/v1/models` says of the model that is meant, and its name."""
    for entry in models:
        if model is None or entry.get("id") == model:
            meta = entry.get("meta")
            return (meta if isinstance(meta, dict) else {}), str(entry.get("id", ""))
    return {}, ""


def _steps(item: AnswerValue) -> Iterator[CompletionStep]:
    if (error := item.get("error")) is not None:
        message = error.get("message") if isinstance(error.value, dict) else None
        words = message.text() if message else ""
        raise BadAnswer("The server gave up", label_text(words[:LONGEST]), "Try again.")
    listed = item.get("completion_probabilities")
    if listed is None:
        return
    index, tokens, predicted = item.get("index"), item.get("tokens"), item.get("tokens_predicted")
    evaluated, reused = _timing(item, "prompt_n"), _timing(item, "cache_n")
    ids = tokens.value if tokens is not None and isinstance(tokens.value, list) else None
    before = max(predicted.whole() - len(ids), 0) if predicted is not None and ids else 0
    for at, one in enumerate(listed.items()):
        chosen, top = _position(one)
        if chosen.id is not None and ids and (at >= len(ids) or ids[at] != chosen.id):
            # Positions inside a character are left out: what follows cannot be placed.
            return
        first = before + at == 0
        yield CompletionStep(
            index.whole() if index else 0, before + at, chosen, top,
            evaluated if first and evaluated else 1, reused if first else None,
        )  # fmt: skip


def _timing(item: AnswerValue, name: str) -> int | None:
    """A timing: among the others, or where it was chosen as a field, under its full name."""
    timings = item.get("timings")
    found = timings.get(name) if timings is not None else item.get(f"timings/{name}")
    return found.whole() if found is not None else None


def _position(place: AnswerValue) -> tuple[TokenCandidate, list[TokenCandidate]]:
    if (old := place.get("probs")) is not None:
        # Before December 2024: text and probability alone.
        top = [TokenCandidate(_log(entry["prob"]), None, text_token(entry["tok_str"].text()))
               for entry in old.items()]  # fmt: skip
        text = place.get("content")
        return TokenCandidate(-math.inf, None, text_token(text.text() if text else "")), top
    entries = place.get("top_logprobs") or place["top_probs"]
    return _candidate(place), [_candidate(entry) for entry in entries.items()]


def _candidate(entry: AnswerValue) -> TokenCandidate:
    value = entry.value
    try:
        # The way that thousands of entries take; anything odd is told by the slower one below.
        logprob = value["logprob"] if "logprob" in value else math.log(value["prob"] or 1e-45)
        id, data = value["id"], value["bytes"]
        if type(logprob) is not float or type(id) is not int or type(data) is not list:
            raise TypeError
        if not 0 <= id <= LARGEST:
            raise ValueError
        return TokenCandidate(logprob if logprob > -900 else -math.inf, id, bytes(data))
    except (KeyError, TypeError, ValueError):
        chance = entry.get("prob")
        told = _log(chance) if chance is not None else number(entry["logprob"])
        return TokenCandidate(told, entry["id"].whole(), entry["bytes"].exact())


def _log(p: AnswerValue) -> float:
    found = p.number()
    return math.log(found) if found > 0 else -math.inf


def _piece(piece: AnswerValue) -> bytes:
    return piece.exact() if isinstance(piece.value, list) else piece.text().encode()
