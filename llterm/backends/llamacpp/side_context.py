"""A second context on the same weights, for one question, freed right after it.

What the first one holds for the story stays untouched, and its state is copied where that saves an
evaluation. Runs on the owner thread only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.backends.llamacpp import thread_budget
from llterm.backends.llamacpp.binding import Batch, Stopped, decode_error, library
from llterm.backends.llamacpp.loader import LoadedModel, context_params
from llterm.core.query import Query
from llterm.core.tokens import Tail, common
from llterm.errors import LltermError

CHUNK = 128
"""Tokens a decode: a stop waits for no more, and progress is told as often."""
ANCHOR, FIRST = 0, 1
"""Sequences: what all queries begin with, and the first query."""
_LANES = 32
"""Most queries a decode."""


@dataclass(frozen=True, slots=True)
class TokenRun:
    """Tokens to evaluate in one sequence from a position on; the last one's logits are read."""

    sequence: int
    start: int
    tokens: Tail


class SideContext:
    """A context of its own."""

    def __init__(
        self,
        loaded: LoadedModel,
        cells: int,
        *,
        sequences: int = 1,
        batch: int = CHUNK,
        watch: Any = None,
    ) -> None:
        """`watch`: an evaluation callback of llama.cpp; flash attention is off then, which would
        not make the tensors it looks for. Raises LltermError where memory is too small."""
        self._llama = library()
        self._loaded = loaded
        self._pairs = loaded.pairs and watch is None
        settings = loaded.settings
        if watch is not None and settings.quantised_cache:
            # Quantised values need flash attention.
            settings = replace(settings, kv_type="f16")
        params = context_params(self._llama, settings, cells, sequences + 1)
        params.n_batch = params.n_ubatch = batch
        if watch is not None:
            params.cb_eval = watch
            params.flash_attn_type = 0
        loaded.stop.attach(params)
        self._spare = sequences
        self._context = self._llama.llama_init_from_model(loaded.model, params)
        if not self._context:
            raise LltermError(
                "There is not enough memory",
                f"A second context of {cells:,} tokens beside the story's could not be made.",
                "Close other programs, or ask about an earlier token.",
            )
        self._memory = self._llama.llama_get_memory(self._context)
        self._batch = Batch(self._llama, batch)
        self._size = self._llama.llama_vocab_n_tokens(
            self._llama.llama_model_get_vocab(loaded.model)
        )

    def close(self) -> None:
        self._batch.free()
        self._llama.llama_free(self._context)

    def prepare(self, tokens: Tail, held: Tail) -> Generator[None, None, int]:
        """Let the anchor sequence hold these tokens; yields after each decode. Returns how many had
        to be evaluated.

        `held` is what the first context's sequence 0 stands for.
        """
        copied = self._take_over(tokens, held)
        for start in range(copied, len(tokens), self._batch.size):
            self._decode([TokenRun(ANCHOR, start, tokens[start : start + self._batch.size])])
            yield None
        return len(tokens) - copied

    def append(self, tokens: Tail, start: int) -> None:
        """Evaluate these, one decode at most, after the `start` tokens that the anchor holds."""
        self._decode([TokenRun(ANCHOR, start, tokens)])

    def _take_over(self, tokens: Tail, held: Tail) -> int:
        """Copy what the first context holds of these tokens. Returns how many were copied.

        Nothing of states that are copied as a whole only, nor of sliding windows: a copy of those
        has the last tokens alone.
        """
        size = common(tokens, held)
        if self._loaded.whole or not size:
            return 0
        llama, main = self._llama, self._loaded.context
        # The sequence for doubles is empty between decodes.
        memory, spare = llama.llama_get_memory(main), self._loaded.sequences
        llama.llama_memory_seq_cp(memory, ANCHOR, spare, 0, size)
        room = llama.llama_state_seq_get_size(main, spare)
        state = (ctypes.c_uint8 * room)()
        got = llama.llama_state_seq_get_data(main, state, room, spare)
        llama.llama_memory_seq_rm(memory, spare, -1, -1)
        put = llama.llama_state_seq_set_data(self._context, state, got, ANCHOR) if got else 0
        first = llama.llama_memory_seq_pos_min(self._memory, ANCHOR)
        last = llama.llama_memory_seq_pos_max(self._memory, ANCHOR)
        if put and (first, last) == (0, size - 1):
            return size
        llama.llama_memory_clear(self._memory, True)
        return 0

    def copy(self, source: int, target: int, size: int) -> None:
        """Let a sequence begin as another one does."""
        stop = -1 if self._loaded.whole else size
        if size:
            self._llama.llama_memory_seq_cp(self._memory, source, target, 0, stop)

    def drop(self, sequence: int) -> None:
        """Empty a sequence."""
        self._llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def logits(self, parts: Sequence[TokenRun]) -> NDArray[np.float32]:
        """Evaluate these and read the logits after the last token of each, shape (parts, ids)."""
        self._decode(parts)
        raw = self._llama.llama_get_logits(self._context)
        return np.ctypeslib.as_array(raw, (len(parts), self._size)).copy()

    def _decode(self, parts: Sequence[TokenRun]) -> None:
        if self._loaded.stop:
            raise Stopped
        batch = self._batch
        batch.clear()
        for part in parts:
            batch.add(part.tokens, part.start, part.sequence, last=True)
        alone = batch.count == 1 and self._pairs
        if alone:
            batch.add_double(self._spare)
        batch.raw.n_tokens = batch.count
        with thread_budget.reserved(self._loaded.threads):
            code = int(self._llama.llama_decode(self._context, batch.raw))
        if alone:
            self.drop(self._spare)
        if code == 2:
            raise Stopped
        if code:
            raise decode_error(code)


def read(
    loaded: LoadedModel, held: Tail, tokens: Tail, begin: int
) -> Iterator[tuple[int, NDArray[np.float32], int] | None]:
    """The logits after each token from index `begin` on but for the last, part after part: where a
    part begins, its logits of shape (tokens, ids), and how many tokens it took; None after each
    decode that gave none."""
    end = len(tokens) - 1
    context = SideContext(loaded, end + CHUNK)
    with closing(context):
        extra = yield from context.prepare(tokens[:begin], held)
        for first in range(begin, end, CHUNK):
            part = tokens[first : min(first + CHUNK, end)]
            runs = [TokenRun(ANCHOR, first + n, (token,)) for n, token in enumerate(part)]
            yield first, context.logits(runs), extra + len(part)
            extra = 0


Answered = tuple[list[Query], NDArray[np.float32], list[int]]
"""Queries, their logits, and how many tokens each took."""


def answer(
    loaded: LoadedModel, held: Tail, queries: Sequence[Query]
) -> Iterator[tuple[Answered, int] | None]:
    """Answer queries that share an anchor; with each burst the tokens of the anchor it took; None
    after each decode that answered nothing.

    The first is evaluated first; of every other one only what follows its common beginning with
    that one. Nothing of them is kept: the context needs cells for the anchor, the first query and
    one decode.
    """
    anchor = queries[0].path.anchor.tokens
    longest = max(len(query.path.tail) for query in queries)
    batch = max(CHUNK, longest)
    lanes = max(min(_LANES, loaded.sequences - FIRST - 1, len(queries)), 1)
    cells = len(anchor) + longest + 2 * batch
    context = SideContext(loaded, cells, sequences=FIRST + 1 + lanes, batch=batch)
    with closing(context):
        extra = yield from context.prepare(anchor, held)
        first = queries[0].path.tail
        context.copy(ANCHOR, FIRST, len(anchor))
        logits = context.logits([TokenRun(FIRST, len(anchor), first)])
        yield ([queries[0]], logits, [len(first)]), extra
        waiting = list(queries[1:])
        while waiting:
            asked, parts = _next(waiting, first, len(anchor), lanes, batch, whole=loaded.whole)
            for part in parts:
                source = ANCHOR if loaded.whole else FIRST
                context.copy(source, part.sequence, part.start)
            logits = context.logits(parts)
            for part in parts:
                context.drop(part.sequence)
            yield (asked, logits, [len(part.tokens) for part in parts]), 0
            del waiting[: len(asked)]


def _next(
    waiting: Sequence[Query], first: Tail, start: int, lanes: int, room: int, *, whole: bool
) -> tuple[list[Query], list[TokenRun]]:
    """As many of the queries, in order, as one decode takes, and what to evaluate for them."""
    asked: list[Query] = []
    parts: list[TokenRun] = []
    for query in waiting[:lanes]:
        tail = query.path.tail
        same = 0 if whole else min(common(tail, first), len(tail) - 1)
        room -= len(tail) - same
        if room < 0:
            break
        asked.append(query)
        parts.append(TokenRun(FIRST + 1 + len(parts), start + same, tail[same:]))
    return asked, parts
