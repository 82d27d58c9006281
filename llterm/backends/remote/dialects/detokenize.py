"""The bytes of ids that a server knows only by its `/detokenize`: many by one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from llterm.backends.remote.answer import HINT, Part
from llterm.backends.remote.wire import BadAnswer, Wire
from llterm.core.tokens import Token

T = TypeVar("T")


async def detokenized(
    wire: Wire, ids: Sequence[int], between: int, fields: Mapping[str, Any], key: str
) -> Mapping[int, Token]:
    """What each id means. `between` is a line break's id: it stands between the others.

    Parts of characters come back as U+FFFD and are left out: their bytes are not told. Raises
    LltermError.
    """
    text = await _text(wire, [between, *(one for id in ids for one in (id, between))], fields, key)
    parts = text.split("\n")[1:-1]
    if len(parts) != len(ids):
        # Some of them hold line breaks themselves: one at a time, behind a line break.
        parts = [(await _text(wire, [between, id], fields, key))[1:] for id in ids]
    return {id: Token(id, part.encode("utf-8", "replace"))
            for id, part in zip(ids, parts, strict=True)
            if part and "\ufffd" not in part}  # fmt: skip


def last(tokens: Sequence[T]) -> T:
    """The last token that a server found in a text. Raises BadAnswer where it found none."""
    if not tokens:
        raise BadAnswer("The server's answer cannot be read", "It finds no token in a text.", HINT)
    return tokens[-1]


def paired(ids: Sequence[int], data: Sequence[bytes]) -> list[Token]:
    """Tokens by their ids and bytes. Raises BadAnswer where there are more of one than of the
    other."""
    if len(ids) != len(data):
        why = f"It tells {len(ids):,} tokens and the texts of {len(data):,}."
        raise BadAnswer("The server's answer cannot be read", why, HINT)
    return [Token(id, one) for id, one in zip(ids, data, strict=True)]


async def _text(wire: Wire, ids: Sequence[int], fields: Mapping[str, Any], key: str) -> str:
    answer = await wire.post("/detokenize", {**fields, "tokens": ids})
    return Part(answer.data)[key].text()
