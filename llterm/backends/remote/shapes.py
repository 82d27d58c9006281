"""The three shapes in which servers write probabilities, read with their checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from llterm.backends.remote.answer import AnswerValue
from llterm.backends.remote.steps import CompletionStep, Position, TokenCandidate
from llterm.backends.remote.token_spelling import vocabulary_bytes
from llterm.backends.remote.transport import BadAnswer
from llterm.core.display import label_text

_UNKNOWN = "\ufffd".encode()
NOTHING = -900.0
"""Servers write −9999 or −1000 for minus infinity."""
_ID = "token_id:"
_DECIMAL = re.compile("[0-9]{1,9}")
_BYTES = re.compile(r"bytes:((?:\\x[0-9a-fA-F]{2})+)")
Meaning = Callable[[str], TokenCandidate]
"""From a token as a server writes it; the logprob is put in afterwards."""


def choices(data: Any) -> Iterator[tuple[int, AnswerValue]]:
    """The answers to each prompt: its index, and the choice."""
    for choice in AnswerValue(data)["choices"].items():
        index = choice.get("index")
        yield (index.whole() if index else 0), choice


def only(data: Any) -> AnswerValue:
    """The first choice of an answer to one prompt. Raises BadAnswer where there is none."""
    return AnswerValue(data)["choices"][0]


def text_token(text: str) -> bytes | None:
    r"""The bytes of a token that is told as text; None where they cannot be known.

    Half a character is written as "", with U+FFFD, or (OpenAI) as `bytes:\xe2\x80`.
    """
    if found := _BYTES.fullmatch(text):
        return bytes.fromhex(found.group(1).replace("\\x", ""))
    if not text or "\ufffd" in text:
        return None
    return text.encode("utf-8", "replace")


def plain(text: str) -> TokenCandidate:
    """A token that is told as text alone."""
    return TokenCandidate(0.0, None, text_token(text))


def spelled(text: str) -> TokenCandidate:
    """A token that is told as it stands in the vocabulary's file, or as text."""
    if "Ġ" in text or "Ċ" in text:
        return TokenCandidate(0.0, None, vocabulary_bytes(text))
    return plain(text.replace("▁", " "))


def by_id(text: str) -> TokenCandidate:
    """A token that is told as `token_id:406` (vLLM); else as text."""
    if text.startswith(_ID) and _DECIMAL.fullmatch(text, len(_ID)):
        return TokenCandidate(0.0, int(text[len(_ID) :]))
    return plain(text)


def by_key(text: str) -> int | None:
    """An id that is the name of an entry; None where it is none."""
    return int(text) if _DECIMAL.fullmatch(text) else None


def legacy(logprobs: AnswerValue, meaning: Meaning = plain) -> list[Position]:
    """OpenAI's legacy arrays: `tokens`, `token_logprobs`, and `top_logprobs` as objects by token.

    A position without probabilities (the first of an echoed prompt) lists no candidates. Several
    tokens that the server writes alike are one entry there: they cannot be told apart.
    """
    tokens, own = logprobs["tokens"], logprobs["token_logprobs"]
    top = logprobs.get("top_logprobs")
    lines = list(top.items()) if top is not None else []
    positions: list[Position] = []
    for index, token in enumerate(tokens.items()):
        chosen, logprob = meaning(token.text()), own[index]
        if logprob.value is None or index >= len(lines) or lines[index].value is None:
            positions.append((chosen, ()))
        else:
            chosen = chosen._replace(logprob=number(logprob))
            positions.append((chosen, _entries(lines[index], meaning)))
    return positions


def _entries(line: AnswerValue, meaning: Meaning) -> list[TokenCandidate]:
    if not isinstance(line.value, dict):
        raise BadAnswer(
            "The server's answer cannot be read",
            f"{label_text(line.place)} is no object by token.",
            "",
        )
    return [
        meaning(text)._replace(logprob=number(AnswerValue(value, f"{line.place}.{text}")))
        for text, value in line.value.items()
    ]


def content(entries: Iterable[AnswerValue], *, id_key: str = "id") -> list[Position]:
    """Chat's shape: a list of `{token, logprob, bytes, top_logprobs: […]}`."""
    return [
        (_entry(entry, id_key), [_entry(item, id_key) for item in top.items()])
        for entry in entries
        if (top := entry.get("top_logprobs")) is not None
    ]


def _entry(entry: AnswerValue, id_key: str) -> TokenCandidate:
    id = entry.get(id_key)
    listed = entry.get("bytes")
    data = listed.exact() if listed is not None else text_token(entry["token"].text())
    if data is not None and (not data or _UNKNOWN in data):
        # Some servers make the bytes from the text that they show.
        data = None
    return TokenCandidate(number(entry["logprob"]), id.whole() if id is not None else None, data)


def number(part: AnswerValue) -> float:
    """A logprob; −∞ where the server means that."""
    found = part.number()
    return found if found > NOTHING else float("-inf")


def steps(line: int, positions: Iterable[Position]) -> Iterator[CompletionStep]:
    """The positions of one line in order; those without candidates are left out."""
    for at, (chosen, listed) in enumerate(positions):
        if listed:
            yield CompletionStep(line, at, chosen, listed)
