"""Several models read one text at once, and are compared with a reference place by place.

The text goes past in parts. While one part is compared the next is evaluated; logits are kept of
no more than these two.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from llterm.core.comparison.divergence import ScoredTokens
from llterm.core.comparison.reference_comparison import ReferenceComparison, RowsOrScores
from llterm.core.logit_rows import Integers, rows_at_once
from llterm.core.query import Backend
from llterm.core.tokens import Tail
from llterm.engine.base_file import BaseFile, BaseWriter
from llterm.engine.whole_rows import PART, Numbers, rows_or_scores


@dataclass(frozen=True, slots=True)
class TextWindow:
    """A stretch of text that a model sees at once."""

    tokens: Tail
    """As the models are given them."""
    start: int
    """Index of the first token that is compared, 1 at least."""
    shift: int
    """Added to an index in `tokens`: the token's place in the text."""
    head: int = 0
    """How many of the tokens stand before the text; a model may read others in their place."""


@dataclass(frozen=True, slots=True)
class ModelReader:
    """A model, and what it reads before a text."""

    backend: Backend
    head: Tail | None = None
    """In place of a view's own; None: the view's own."""

    @property
    def whole(self) -> bool:
        """Whether it tells its whole vocabulary."""
        return self.backend.capabilities.full_vocabulary

    async def told(self, view: TextWindow, first: int, stop: int) -> RowsOrScores:
        """What it says of these tokens of a view: see `rows_or_scores`."""
        tokens, shift = view.tokens[:stop], 0
        if self.head is not None:
            tokens = self.head + tokens[view.head :]
            shift = len(self.head) - view.head
        return await rows_or_scores(self.backend, tokens, first + shift)


class ReferenceSource(Protocol):
    """What candidates are compared with."""

    @property
    def name(self) -> str: ...

    @property
    def raw(self) -> bool:
        """Whether its rows are logits; otherwise logprobs."""

    async def read(self, index: int, view: TextWindow, first: int, stop: int) -> RowsOrScores:
        """Rows, shape (stop - first, size), before these tokens of the view with this index, or
        how they were seen."""


class ModelReference:
    """A model as the reference; with a writer, its rows are kept in a base file too."""

    raw = True

    def __init__(
        self, reader: ModelReader, writer: BaseWriter | None = None, name: str | None = None
    ) -> None:
        self.name = name or reader.backend.name
        self._reader = reader
        self._writer = writer

    async def read(self, index: int, view: TextWindow, first: int, stop: int) -> RowsOrScores:
        rows = await self._reader.told(view, first, stop)
        if self._writer is not None:
            assert not isinstance(rows, ScoredTokens), "A base file is asked only of whole rows."
            await asyncio.to_thread(self._writer.add, np.asarray(rows, np.float32))
        return rows


class BaseFileReference:
    """A base file as the reference; its windows are the views."""

    raw = False

    def __init__(self, file: BaseFile) -> None:
        self.name = file.path.name
        self._file = file

    async def read(self, index: int, view: TextWindow, first: int, stop: int) -> Numbers:
        return await asyncio.to_thread(self._file.rows, index, first, stop)


def begin_comparison(reference: ReferenceSource, views: Sequence[TextWindow],
          names: Sequence[str]) -> ReferenceComparison:  # fmt: skip
    """An empty comparison over these views."""
    places = [one.shift + index for one in views for index in range(one.start, len(one.tokens))]
    return ReferenceComparison(reference.name, names, places)


async def compare(
    comparison: ReferenceComparison,
    reference: ReferenceSource,
    candidates: Sequence[ModelReader],
    views: Sequence[TextWindow],
) -> AsyncIterator[int]:
    """Fill a comparison; yields how many places it has, again and again.

    Raises LltermError. Cancelling leaves what there is.
    """
    comparing: asyncio.Task[None] | None = None
    most = rows_at_once(max((one.backend.vocabulary.size for one in candidates), default=1))
    try:
        for index, view in enumerate(views):
            for first in range(view.start, len(view.tokens), most):
                stop = min(first + most, len(view.tokens))
                base, *rows = await asyncio.gather(
                    reference.read(index, view, first, stop),
                    *(one.told(view, first, stop) for one in candidates),
                )
                if comparing is not None:
                    await comparing
                tokens = np.array(view.tokens[first:stop], np.int64)
                work = partial(_add, comparison, base, rows, tokens, raw=reference.raw)
                comparing = asyncio.create_task(asyncio.to_thread(work))
                yield comparison.done
        if comparing is not None:
            await comparing
            yield comparison.done
    finally:
        if comparing is not None:
            await asyncio.gather(comparing, return_exceptions=True)


def _add(
    comparison: ReferenceComparison,
    base: RowsOrScores,
    rows: Sequence[RowsOrScores],
    tokens: Integers,
    *,
    raw: bool,
) -> None:
    """Take in these places; the running figures are marked after every `PART` of them."""
    for first in range(0, len(tokens), PART):
        part = slice(first, first + PART)
        comparison.add(base[part], [each[part] for each in rows], tokens[part], raw=raw)
