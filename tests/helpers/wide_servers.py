"""Servers whose model knows every byte, as real ones do, in three ways of telling a vocabulary;
over HTTP, so that commands and jobs reach them by an address.

Whatever goes in or out by an id is noted: `strange` are ids of requests that no answer had held.
"""

from __future__ import annotations

from asyncio import StreamWriter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from llterm.backends.remote.transport import RequestRefused
from llterm.core.tokens import EncodesHere, Tail, Token
from tests.helpers.fake_servers import EchoServer, LlamaServer, VllmServer
from tests.helpers.faulty_server import FaultyServer, Request, events, reply, status
from tests.helpers.little_model import END, Server

WORDS: Sequence[bytes] = (
    b"Once", b" the", b" fox", b" slept", b" a", b" moon", b" rose", b" and", b" then", b" there",
)  # fmt: skip
WIDE: Sequence[bytes] = (b"<|endoftext|>", *(bytes([byte]) for byte in range(256)), *WORDS)
LINES: Mapping[bytes, Mapping[bytes, float]] = {
    b" the": {b" fox": 0.5, b" moon": 0.3, b" a": 0.05},
    b" a": {b" fox": 0.4, b" moon": 0.4},
    b" fox": {b" slept": 0.6, b" rose": 0.2, b".": 0.1},
    b" moon": {b" rose": 0.7, b" slept": 0.1},
    b" slept": {b".": 0.6, b" and": 0.2},
    b" rose": {b".": 0.5, b" and": 0.3},
    b" and": {b" then": 0.4, b" the": 0.3, b" a": 0.2},
}
USUAL: Mapping[bytes, float] = {b" the": 0.4, b" a": 0.3, b" there": 0.1}


def wide_cut(data: bytes) -> Tail:
    """The text's tokens, the longest first."""
    ids: list[int] = []
    while data:
        fitting = [id for id, piece in enumerate(WIDE) if id and data.startswith(piece)]
        ids.append(max(fitting, key=lambda id: len(WIDE[id])))
        data = data[len(WIDE[ids[-1]]) :]
    return tuple(ids)


def wide_chances(tokens: Tail) -> dict[int, float]:
    """Every token's probability, most probable first."""
    return dict(_after(WIDE[tokens[-1]] if tokens else b""))


@cache
def _after(last: bytes) -> Mapping[int, float]:
    likely = {WIDE.index(data): p for data, p in LINES.get(last, USUAL).items()}
    left = [id for id in range(len(WIDE)) if id not in likely]
    # A slope keeps the others apart, so that no order rests on ties.
    weights = {id: 1.0 / (1 + rank) ** 1.5 for rank, id in enumerate(reversed(left))}
    share = (1.0 - sum(likely.values())) / sum(weights.values())
    every = {**likely, **{id: share * weight for id, weight in weights.items()}}
    return dict(sorted(every.items(), key=lambda item: (-item[1], item[0])))


class WideVocabulary(EncodesHere):
    """The same tokens in this process."""

    fingerprint = "wide"
    size = len(WIDE)
    prefix: Tail = ()

    def token(self, id: int) -> Token:
        return Token(id, WIDE[id], special=id == END, end=id == END)

    def encode(self, data: bytes) -> Tail:
        return wide_cut(data)


class Wide(Server):
    """A model that knows every byte."""

    vocabulary = WIDE
    halves = range(1 + 0x80, 1 + 0x100)

    def cut(self, data: bytes) -> Tail:
        return wide_cut(data)

    def chances(self, tokens: Tail) -> dict[int, float]:
        return wide_chances(tokens)


class WholeServer(Wide, LlamaServer):
    """Tells its whole vocabulary, and can be held to certain tokens: llama.cpp's."""

    paths: ClassVar[Mapping[str, Any]] = {
        **LlamaServer.paths,
        "/v1/models": {"object": "list", "data": [{"id": "tiny", "object": "model",
                       "owned_by": "llamacpp", "meta": {"vocab_type": 2, "n_vocab": len(WIDE)}}]},
    }  # fmt: skip


class LearnedServer(Wide, VllmServer):
    """Tells its vocabulary token by token, lists its best 20 and heals nothing: vLLM."""


class TextsServer(Wide, EchoServer):
    """Tells texts alone, and scores given ones: llama-cpp-python's."""


KINDS: Mapping[str, type[Wide]] = {
    "whole": WholeServer,
    "learned": LearnedServer,
    "texts": TextsServer,
}


class SpokenServer(FaultyServer):
    """A `Server` behind an address."""

    def __init__(self, model: Wide) -> None:
        super().__init__(self._answer)
        self.model = model
        self.told: set[int] = set()
        """Ids that an answer held."""
        self.strange: set[int] = set()
        """Ids that a prompt held before any answer did."""
        self.refused: list[str] = []
        """Of requests for what may follow a text: why they were refused."""

    async def _answer(self, request: Request, writer: StreamWriter) -> None:
        body = {} if request.method == "GET" else request.data
        self.strange |= set(_sent(body)) - self.told
        try:
            if request.method == "GET":
                data = (await self.model.get(request.path)).data
            elif body.get("stream"):
                data = [event for event in self.model.events(body) if event is not None]
                self.told |= set(_ids(data))
                writer.write(events(*data, done=False))
                return
            else:
                data = self.model.answer(request.path, body)
        except RequestRefused as refused:
            if "prompt" in body and "logprobs" not in refused.detail:
                self.refused.append(refused.detail)
            await status(refused.status, refused.detail)(request, writer)
            return
        self.told |= set(_ids(data))
        await reply(data)(request, writer)


def _sent(body: Mapping[str, Any]) -> Iterator[int]:
    """The ids of a request's prompts."""
    prompts = [body.get("prompt", ())]
    while prompts:
        prompt = prompts.pop()
        if isinstance(prompt, int):
            yield prompt
        elif not isinstance(prompt, str):
            prompts += prompt


def _ids(data: Any) -> Iterator[int]:
    """The ids that an answer holds, in the ways of vLLM and llama.cpp."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key in ("id", "tokens", "prompt_token_ids") and not isinstance(value, str):
                yield from _numbers(value)
            if key.startswith("token_id:"):
                yield int(key.removeprefix("token_id:"))
            yield from _ids(value)
    elif isinstance(data, list):
        for value in data:
            yield from _ids(value)


def _numbers(value: Any) -> Iterator[int]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, int):
            yield each
