"""How much a model sees, where a server tells it only by refusing a text that is too long."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from llterm.backends.remote.discovery import positive_number
from llterm.backends.remote.transport import RequestRefused

LEAST = 64
"""Tokens: a model that sees fewer is none to go on with, and what was read as its context is none.
"""
SURE = 512
"""Tokens that any model sees: nothing is tried for so few."""
TIGHTER = 1.25
"""How much smaller the context is taken to be where a refusal does not say how far it was passed.
"""
_N, _A = r"(?P<context>\d[\d,]*)", r"(?P<asked>\d[\d,]*)"
_WORDINGS = tuple(
    re.compile(wording, re.IGNORECASE | re.DOTALL)
    for wording in (
        # OpenAI's completions, and llama-cpp-python's server: the sum, and the prompt of it
        rf"maximum context length is {_N} tokens.{{1,40}}requested [\d,]+ tokens \({_A} in",
        # OpenAI's chat, OpenRouter, SGLang: what the messages are, or the sum
        rf"maximum context length (?:is|of) {_N} tokens.{{1,90}}?{_A} (?:input tokens|tokens from|"
        r"of text input|in the messages)",
        rf"maximum context length (?:is|of) {_N} tokens.{{1,90}}?{_A} tokens",
        rf"maximum context length (?:is|of) {_N}",
        # vLLM
        rf"passed {_A} input tokens.{{1,90}}context length is only {_N} tokens",
        rf"length {_A}\) is longer than the maximum model length of {_N}",
        # llama.cpp's server, also in LiteLLM's words
        rf"request \({_A} tokens\) exceeds the available context size \({_N} tokens\)",
        # SGLang
        rf"input \({_A} tokens\) is longer than the model's context length \({_N} tokens\)",
        # text-generation-webui
        rf"count of your prompt \({_A}\).{{1,60}}model's context length \({_N}\)",
        # llama-cpp-python itself
        rf"requested tokens \({_A}\) exceed context window of {_N}",
        # TGI, Together
        rf"`inputs` must have less than {_N} tokens\. given: {_A}",
        rf"`inputs` tokens \+ `max_new_tokens` must be <= {_N}\. given: {_A}",
        # TabbyAPI
        rf"(?:prompt|context) length {_A} is greater than max_seq_len {_N}",
        # Mistral, Gemini, LM Studio, and others in about these words
        rf"prompt contains {_A} tokens.{{1,60}}model with {_N} maximum context",
        rf"token count \({_A}\) exceeds the maximum number of tokens allowed \({_N}\)",
        rf"first {_A} tokens.{{1,80}}context length of only {_N} tokens",
        rf"{_A} tokens > {_N} maximum",
        rf"longer than the model's context length of {_N}",
    )
)


@dataclass(frozen=True, slots=True)
class ContextLimit:
    """What a refusal tells."""

    context: int
    """Tokens that the model sees."""
    asked: int | None
    """Tokens of the text that was too long, as the server counts them."""


def context_limit(error: RequestRefused) -> ContextLimit | None:
    """What a refusal tells of the model's context; None where it is about something else."""
    for data in _objects(error.data):
        # llama.cpp's server says it in numbers too.
        if context := positive_number(data.get("n_ctx")):
            return ContextLimit(context, positive_number(data.get("n_prompt_tokens")) or None)
    for text in (*_texts(error.data), error.detail):
        for wording in _WORDINGS:
            if match := wording.search(text):
                context = _number(match["context"])
                asked = match.groupdict().get("asked")
                if context >= LEAST:
                    return ContextLimit(context, _number(asked) if asked else None)
    return None


class KnownContext:
    """How many of llterm's tokens a server's model sees, as far as that is known.

    Where paths go as text they are counted in tokens of llterm's own, and the server may make more
    of them: `share` of what it sees.
    """

    def __init__(self, tokens: int, *, exact: bool, spare: int = 0) -> None:
        """`tokens` is what the server says, or a guess. `exact`: it counts as llterm does; `spare`
        of them are never a text's."""
        self.told = tokens
        self.accepted = tokens if exact else min(SURE, tokens // 2)
        """Tokens of the longest text that is known to fit."""
        self.heard: Callable[[int], None] = lambda _: None
        """Hears what a server's refusal tells."""
        self._share = 1.0
        self._spare = spare

    @property
    def tokens(self) -> int:
        """Most tokens of a path, in llterm's own count."""
        return max(int(self.told * self._share) - self._spare, 1)

    def fits(self, count: int) -> None:
        """The server has taken so many."""
        self.accepted = max(self.accepted, count)

    def learn(self, error: RequestRefused, count: int) -> bool:
        """Take in a refusal of a text of `count` tokens. Returns whether it was refused for its
        length and the context is smaller than was thought."""
        limit = context_limit(error)
        if limit is None:
            return False
        before = self.tokens
        if limit.context != self.told:
            self.told = limit.context
            self.heard(limit.context)
        if limit.asked is not None and limit.asked > 0 and count > 0:
            self._share = min(count / limit.asked, 1.0)
        if self.tokens >= min(before, count):
            self._share = min(before, count) / (self.told * TIGHTER)
        self.accepted = 0
        return self.tokens >= LEAST


def _objects(data: Any) -> Iterator[dict[str, Any]]:
    """An error's answer and what it holds, as far as those are objects."""
    if isinstance(data, dict):
        yield data
        for part in data.values():
            yield from _objects(part)


def _texts(data: Any) -> Iterator[str]:
    """Every text in an error's answer, in whatever it is wrapped."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for part in data.values() if isinstance(data, dict) else data:
            yield from _texts(part)


def _number(digits: str) -> int:
    return int(digits.replace(",", "")[:9])
