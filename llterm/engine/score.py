"""Reads a text of any length with a backend, window by window."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Literal

from llterm.core.query import Backend, Cost, ScoresInColumns
from llterm.core.scored_text import ReadingColumns, TokenReading, read
from llterm.core.tokens import Tail
from llterm.core.windows import Window, halves, overlapping

Method = Literal["overlap", "halves"]


async def score_text(
    backend: Backend,
    ids: Tail,
    *,
    window: int,
    stride: int,
    method: Method = "overlap",
    keep: int = 5,
    head: Tail | None = None,
) -> AsyncIterator[tuple[TokenReading | ReadingColumns, Cost]]:
    """Each token that can be scored, in order, with what it cost: one by one, or many in columns
    where the backend gives these.

    `ids` are the text's tokens without the vocabulary's prefix; `window` counts that prefix. The
    first token of a text is left out where the model has no prefix to read it after. With
    `halves` only the tokens that llama.cpp's perplexity counts are given. `head` stands in the
    prefix's place: a chat that the text is a reply to.
    """
    prefix = backend.vocabulary.prefix if head is None else head
    text = prefix + ids
    if method == "halves":
        windows = halves(len(text), window)
    else:
        windows = overlapping(len(ids), window - len(prefix), stride)
    for seen in windows:
        tokens, start, shift = _tokens(text, prefix, seen, method)
        if isinstance(backend, ScoresInColumns):
            columns = backend.score_columns(tokens, start, keep, aside=False)
            async with aclosing(columns) as parts:
                async for part in parts:
                    yield ReadingColumns(part, backend.vocabulary, part.first + shift), part.cost
            continue
        async with aclosing(backend.score(tokens, start, keep)) as scores:
            async for scored in scores:
                yield read(scored, backend.vocabulary, scored.index + shift), scored.cost


def _tokens(text: Tail, prefix: Tail, seen: Window, method: Method) -> tuple[Tail, int, int]:
    """What the model is given, the first token to score in it, and how its places are shifted."""
    if method == "halves":
        tokens = prefix[:1] + text[seen.begin + len(prefix[:1]) : seen.end]
        return tokens, seen.first - seen.begin, seen.begin - len(prefix)
    ids = text[len(prefix) :]
    start = len(prefix) + seen.first - seen.begin
    return prefix + ids[seen.begin : seen.end], start, seen.begin - len(prefix)
