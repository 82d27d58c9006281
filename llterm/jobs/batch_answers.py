"""What answers the rows of a batch, and what is read of an answer: texts, tokens, probabilities."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from llterm.core.batch_row import BatchRow
from llterm.core.query import Backend
from llterm.engine.generation import Generator
from llterm.errors import LltermError

Body = Mapping[str, Any]
_BYTES = "bytes:"


class RowRefused(LltermError):
    """A row that cannot be answered."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        """`error`: as OpenAI's servers tell it: `message`, `type`, `param`, `code`."""
        super().__init__(str(error.get("message") or f"Status {status}"))
        self.status = status
        self.error = error


class ChoiceToken(NamedTuple):
    """A token of an answer, as it is told there."""

    text: str
    logprob: float
    top: Mapping[str, float]
    """Candidates by text."""

    data: bytes


@dataclass(frozen=True, slots=True)
class AnsweredChoice:
    """One text of an answer."""

    text: str
    finish: str | None
    tokens: Sequence[ChoiceToken] | None
    """None where its logprobs are not told, or are mixed with the prompt's."""

    @property
    def logprob(self) -> float | None:
        """Of all of it, natural, of the raw model; None where that is not told."""
        if self.tokens is None:
            return None
        return math.fsum(token.logprob for token in self.tokens)


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """What came of a row."""

    body: Body
    """As OpenAI's servers answer."""
    choices: Sequence[AnsweredChoice]
    """Its texts; their logprobs may be told here and not there."""


class RowAnswers(Protocol):
    """Whoever answers: a model in this process, or a server."""

    @property
    def width(self) -> int:
        """Rows that are well asked at once."""

    async def answer(self, row: BatchRow, body: Body) -> RowAnswer:
        """The answer to the row with this body. Raises RowRefused for this row alone; any other
        LltermError is the end of them all."""


Answering = Callable[[Generator, Backend, int], RowAnswers]
"""Who answers bodies with a model in this process, which draws so many texts at once."""


def choices_of(answer: Body, *, echo: bool = False) -> list[AnsweredChoice]:
    """The texts of an answer, of completions or of chats; what cannot be read is left out.

    `echo`: its logprobs begin with the prompt's.
    """
    choices = answer.get("choices")
    return [
        _choice(each, echo=echo)
        for each in (choices if isinstance(choices, list) else ())
        if isinstance(each, Mapping)
    ]


def tokens_of_answer(answer: Body) -> tuple[int, int]:
    """Tokens of the prompt, and of what was drawn, as the answer counts them."""
    usage = answer.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    prompt, drawn = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return (prompt if isinstance(prompt, int) else 0, drawn if isinstance(drawn, int) else 0)


def _choice(choice: Body, *, echo: bool) -> AnsweredChoice:
    message = choice.get("message")
    text = message.get("content") if isinstance(message, Mapping) else choice.get("text")
    finish, logprobs = choice.get("finish_reason"), choice.get("logprobs")
    tokens: list[ChoiceToken] | None = None
    if isinstance(logprobs, Mapping) and not echo:
        try:
            tokens = list(_legacy(logprobs) if "tokens" in logprobs else _contents(logprobs))
        except (TypeError, ValueError, KeyError, AttributeError):
            tokens = None
    return AnsweredChoice(
        text if isinstance(text, str) else "", finish if isinstance(finish, str) else None, tokens
    )


def _legacy(logprobs: Body) -> Iterator[ChoiceToken]:
    texts, values = logprobs["tokens"], logprobs["token_logprobs"]
    tops = logprobs.get("top_logprobs") or [None] * len(texts)
    for text, value, top in zip(texts, values, tops, strict=True):
        listed = {name: float(each) for name, each in (top or {}).items()}
        yield ChoiceToken(str(text), float(value), listed, _spelled(str(text)))


def _spelled(text: str) -> bytes:
    """The bytes of a token; those that are no text are spelled `bytes:\\xf0\\x9f`."""
    spelled = text.removeprefix(_BYTES)
    if spelled == text or not re.fullmatch(r"(\\x[0-9a-f]{2})+", spelled):
        return text.encode()
    return bytes.fromhex(spelled.replace("\\x", ""))


def _contents(logprobs: Body) -> Iterator[ChoiceToken]:
    for entry in logprobs["content"]:
        text = str(entry["token"])
        top = {each["token"]: float(each["logprob"]) for each in entry.get("top_logprobs") or ()}
        data = entry.get("bytes")
        yield ChoiceToken(
            text, float(entry["logprob"]), top, text.encode() if data is None else bytes(data)
        )
