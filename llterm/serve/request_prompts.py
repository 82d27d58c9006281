"""Prompts as clients give them, in the model's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llterm.core.tokens import Tail, text_bytes
from llterm.serve.api_errors import bad_field, too_long
from llterm.serve.served_models import ServedModel

Part = str | Sequence[int]


@dataclass(frozen=True, slots=True)
class RequestPrompt:
    """One prompt of a request."""

    tokens: Tail
    """With the model's own prefix before a text."""
    text: str
    """As it was given; of token ids, what they stand for."""


async def read_prompt(
    parts: Sequence[Part], model: ServedModel, *, special: bool = True, param: str = "prompt"
) -> RequestPrompt:
    """A text, token ids, or a mix of both. `special`: a text begins as the model wants texts to.

    Raises ApiError where it is nothing, names no tokens of this model, or does not fit.
    """
    vocabulary = model.vocabulary
    ids: list[int] = []
    text = ""
    if special and parts and isinstance(parts[0], str):
        ids += vocabulary.prefix
    for part in parts:
        if isinstance(part, str):
            _check_size(part, model, param)
            ids += await vocabulary.tokenize(part.encode())
            text += part
        else:
            checked = model.check_ids(part, param)
            ids += checked
            text += text_bytes(vocabulary, checked).decode("utf-8", "replace")
    if not ids:
        raise bad_field(param, "The prompt is empty", "This model needs a beginning.")
    if len(ids) >= model.room:
        raise too_long(len(ids), model.room, param)
    return RequestPrompt(tuple(ids), text)


def _check_size(text: str, model: ServedModel, param: str) -> None:
    """Refuse at once what cannot fit however it is cut: no token of a model has so many bytes."""
    longest = 512
    if len(text) > model.room * longest:
        raise too_long(len(text) // longest, model.room, param)
