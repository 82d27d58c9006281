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
            data = part.encode()
            check_size(len(ids) + len(data) // model.longest, model, param, known=False)
            ids += await vocabulary.tokenize(data)
            text += part
        else:
            checked = model.check_ids(part, param)
            ids += checked
            text += text_bytes(vocabulary, checked).decode("utf-8", "replace")
    if not ids:
        raise bad_field(param, "The prompt is empty", "This model needs a beginning.")
    check_size(len(ids), model, param)
    return RequestPrompt(tuple(ids), text)


def check_size(tokens: int, model: ServedModel, param: str, *, known: bool = True) -> None:
    """Raise ApiError where so many tokens leave no room for one more. Not `known`: they are so many
    at the least.

    A text is not cut into tokens where it cannot fit however that is done: to do so takes a hundred
    times its bytes.
    """
    if tokens >= model.room:
        raise too_long(tokens, model.room, param, known=known)
