"""Answers queries on one context. Runs on the owner thread only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from llterm.backends.llamacpp import side_context, thread_budget
from llterm.backends.llamacpp.attention_capture import read_attention
from llterm.backends.llamacpp.binding import Batch, Stopped, decode_error, library
from llterm.backends.llamacpp.kv_cache import TRUNK, CopyCells, DecodeRow, KVCache, RemoveCells
from llterm.backends.llamacpp.loader import LlamaSettings, LoadedModel
from llterm.backends.llamacpp.logit_buffers import LogitBuffers
from llterm.backends.llamacpp.logits import best_of, read_distributions, read_scores
from llterm.core.attention_weights import Attention
from llterm.core.logit_rows import RowScratch, rows_at_once
from llterm.core.query import Cost, Fact, Failed, LogitRows, Query, ScoreColumns
from llterm.core.tokens import Anchor, Tail
from llterm.errors import LltermError

log = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=Fact | Failed | ScoreColumns | LogitRows | Attention)
Burst = Callable[[], Sequence[Answer]]
"""What one decode answered, to be read from its logits on another thread."""
CHUNK = 256
"""Most tokens a decode while a long prompt is evaluated: a stop waits for no more than one."""
NEW_STORY = 8
"""A text that shares less than this part of its tokens with the last one starts an empty cache."""
ASIDE = 512
"""Most tokens that are scored beside the story; more would need the cells of another story."""


class ModelRunner:
    """One context: its cells, its batch, and what it has spent."""

    def __init__(self, loaded: LoadedModel, size: int, name: str) -> None:
        self._llama = library()
        self._loaded = loaded
        self._size = size
        self._name = name
        self._memory = self._llama.llama_get_memory(loaded.context)
        self._cache = KVCache(
            loaded.sequences, whole=loaded.whole, parked=loaded.parked, ordered=loaded.ordered
        )
        self._anchor: Anchor | None = None
        """What the paths in the cache were asked after."""
        limit = int(self._llama.llama_n_batch(loaded.context))
        self._batch = Batch(self._llama, limit)
        self.spent = Cost()
        self._buffers = LogitBuffers()
        self._scratch = RowScratch()
        """For bursts alone: they are read on one thread."""
        self._doubles = 0
        """Tokens evaluated beside a lone row, not booked yet."""

    @property
    def loaded(self) -> LoadedModel:
        """The weights, and what is known of them."""
        return self._loaded

    @property
    def settings(self) -> LlamaSettings:
        """What the model was opened with."""
        return self._loaded.settings

    def free(self) -> None:
        self._batch.free()
        self._llama.llama_free(self._loaded.context)
        self._llama.llama_model_free(self._loaded.model)

    def ask(self, queries: Sequence[Query]) -> Iterator[Burst[Fact | Failed]]:
        """Facts in bursts, one burst a decode. Raises Stopped when the flag is set."""
        groups: dict[Anchor, list[Query]] = {}
        for query in queries:
            groups.setdefault(query.path.anchor, []).append(query)
        for anchor, group in groups.items():
            fitting, refused = self._fitting(group)
            if refused:
                yield partial(list, refused)
            if fitting:
                yield from self._answer(anchor, fitting)

    def score(
        self, tokens: Tail, start: int, keep: int, *, aside: bool = True
    ) -> Iterator[Burst[ScoreColumns]]:
        """The tokens from `start` on, in order; the one at 0 has nothing before it."""
        for first, following, logits, cost in self._read(tokens, start, aside=aside):
            yield partial(_scored, self._name, self._scratch, first, following, keep, logits, cost)

    def rows(self, tokens: Tail, start: int, *, aside: bool) -> Iterator[Burst[LogitRows]]:
        """The logits before each of the tokens from `start` on, in order."""
        for first, _, logits, cost in self._read(tokens, start, aside=aside):
            yield partial(_rows, self._name, first, logits, cost)

    def _read(
        self, tokens: Tail, start: int, *, aside: bool
    ) -> Iterator[tuple[int, Tail, NDArray[np.float32], Cost]]:
        """Parts of a text: where it begins, its tokens, the logits before each, and the cost.

        With `aside`, a short part beside a trunk that is there already is evaluated in a sequence
        of its own, so that the story, and what was woven after it, stay where they are.
        """
        if len(tokens) - 1 > self._loaded.window:
            raise _too_long(len(tokens) - 1, self._loaded.window)
        begin = max(start, 1) - 1
        aside = aside and not self._loaded.whole and len(tokens) - begin <= ASIDE
        if aside and self._loaded.ordered:
            yield from self._read_beside(tokens, begin)
            return
        extra = Cost()
        if not aside or self._cache.common(tokens) < begin:
            extra = self._move_trunk(tokens[:begin])
        sequence = TRUNK
        if aside:
            sequence = self._loaded.sequences + 1
            self._make([CopyCells(TRUNK, sequence, 0, begin)])
        try:
            most = min(rows_at_once(self._size), self._batch.size)
            for first in range(begin, len(tokens) - 1, most):
                part = tokens[first : min(first + most, len(tokens) - 1)]
                logits = self._decode_part(part, first, sequence, every=True)
                if not aside:
                    self._cache.trunk = self._cache.trunk[:first] + part
                following = tokens[first + 1 : first + 1 + len(part)]
                cost = extra + Cost(len(part), len(part), 1)
                extra = Cost()
                yield first + 1, following, logits, cost
        finally:
            if aside:
                self._make([RemoveCells(sequence, 0)])

    def _read_beside(
        self, tokens: Tail, begin: int
    ) -> Iterator[tuple[int, Tail, NDArray[np.float32], Cost]]:
        """As `_read`, in a context of its own: beside the story's paths a text would stand in other
        cells than alone."""
        parts = side_context.read(self._loaded, self._cache.trunk, tokens, begin)
        for first, logits, evaluated in parts:
            cost = Cost(evaluated, evaluated, 1)
            self.spent += cost
            yield first + 1, tokens[first + 1 : first + 1 + len(logits)], logits, cost

    def ask_beside(self, queries: Sequence[Query]) -> Iterator[Burst[Fact | Failed]]:
        """As `ask`, in a context of their own; the queries have one anchor."""
        fitting, refused = self._fitting(list(queries))
        if refused:
            yield partial(list, refused)
        if not fitting:
            return
        for (asked, logits, sizes), extra in side_context.answer(
            self._loaded, self._cache.trunk, fitting
        ):
            costs = [Cost(size) for size in sizes]
            costs[0] += Cost(extra, extra, 1)
            self.spent += sum(costs, Cost())
            yield partial(_answered, self._name, self._scratch, asked, logits, costs)

    def attention(self, tokens: Tail, rows: int, columns: int) -> Iterator[Burst[Attention]]:
        """What the layers attend to at the end of a text, read in a context of its own."""
        if not 0 < len(tokens) <= self._loaded.window:
            raise _too_long(len(tokens), self._loaded.window)
        attention = read_attention(
            self._loaded, self._name, self._cache.trunk, tokens, rows, columns
        )
        self.spent += Cost(attention.evaluated)
        yield partial(list, [attention])

    def _fitting(self, queries: list[Query]) -> tuple[list[Query], list[Fact | Failed]]:
        """Those whose path the model can see, and refusals of the others."""
        window = self._loaded.window
        fitting: list[Query] = []
        refused: list[Fact | Failed] = []
        for query in queries:
            size = len(query.path.anchor.tokens) + len(query.path.tail)
            if 0 < size <= window:
                fitting.append(query)
            else:
                refused.append(Failed(query.path, _too_long(size, window)))
        return fitting, refused

    def _answer(self, anchor: Anchor, queries: list[Query]) -> Iterator[Burst[Fact | Failed]]:
        story, rest = anchor.tokens[:-1], anchor.tokens[-1:]
        # Another search has its paths in cells of its own, where that shows in the figures.
        anew = self._loaded.ordered and anchor is not self._anchor
        extra = self._move_trunk(story) if anew or self._cache.trunk != story else Cost()
        self._anchor = anchor
        waiting = [(query, rest + query.path.tail) for query in queries]
        while waiting:
            plan = self._cache.plan([tail for _, tail in waiting], self._batch.size)
            if not plan.rows:
                # Every sequence is some query's source: one at a time, then.
                plan = self._cache.plan([waiting[0][1]], self._batch.size)
                plan.waiting = list(range(1, len(waiting)))
            self._make(plan.moves)
            rows = plan.rows
            later = [waiting[index] for index in plan.waiting]
            while rows:
                done = self._decode_rows(rows, waiting)
                asked = [waiting[row.query][0] for row in rows[:done]]
                costs = [_cost(query, row) for query, row in zip(asked, rows, strict=False)]
                self.spent += sum(costs, Cost())
                costs[0] += self._call() + extra
                extra = Cost()
                logits = self._logits(done)
                yield partial(_answered, self._name, self._scratch, asked, logits, costs)
                rows = rows[done:]
            waiting = later

    def _decode_rows(self, rows: list[DecodeRow], waiting: list[tuple[Query, Tail]]) -> int:
        """Evaluate as many rows as fit into the cache, one at least. Returns their number."""
        count = len(rows)
        busy = {row.sequence for row in rows}
        while True:
            self._batch.clear()
            for row in rows[:count]:
                self._batch.add(row.tokens, row.start, row.sequence, last=True)
            code = self._decode()
            if code == 0:
                for row in rows[:count]:
                    self._cache.evaluated(row, waiting[row.query][1])
                return count
            if code == 1:
                moves = self._cache.forget(0.5, busy)
                self._make(moves)
                if moves:
                    continue
                if count > 1:
                    count //= 2
                    continue
            for row in rows:
                self._make([self._cache.undone(row)])
            self._fail(code)

    def _move_trunk(self, trunk: Tail) -> Cost:
        """Make the sequences share this prefix; only what is not held yet is evaluated."""
        before = self.spent
        if self._cache.common(trunk) <= len(trunk) // NEW_STORY:
            # KVCache in order from the first on: sums are rounded as they are for this text alone.
            self._clear(data=self._loaded.whole)
        moves, held = self._cache.move_trunk(trunk)
        self._make(moves)
        while held < len(trunk):
            part = trunk[held : held + min(CHUNK, self._batch.size)]
            try:
                self._decode_part(part, held, TRUNK, every=False)
            except (Stopped, LltermError):
                moves, _ = self._cache.move_trunk(trunk[:held])
                self._make(moves)
                raise
            held += len(part)
        return self.spent - before

    def _decode_part(
        self, part: Tail, start: int, sequence: int, *, every: bool
    ) -> NDArray[np.float32]:
        """Evaluate a run of tokens in one sequence; with `every`, the logits after each."""
        while True:
            self._batch.clear()
            self._batch.add(part, start, sequence, last=False, every=every)
            code = self._decode()
            if code == 0:
                break
            moves = self._cache.forget(0.5, set()) if code == 1 else []
            self._make(moves)
            if not moves:
                self._make([RemoveCells(sequence, start)])
                self._fail(code)
        self.spent += Cost(len(part), len(part))
        self._call()
        return self._logits(len(part) if every else 0)

    def _decode(self) -> int:
        if self._loaded.stop:
            return 2
        self._batch.raw.n_tokens = self._batch.count
        alone = self._batch.count == 1 and self._loaded.pairs
        if alone:
            self._batch.add_double(self._loaded.sequences)
            self._batch.raw.n_tokens = 2
            self._doubles += 1
        with thread_budget.reserved(self._loaded.threads):
            code = int(self._llama.llama_decode(self._loaded.context, self._batch.raw))
        if alone:
            self._make([RemoveCells(self._loaded.sequences, 0)])
        return code

    def _logits(self, rows: int) -> NDArray[np.float32]:
        """A copy: the next decode may begin while these are read."""
        raw = self._llama.llama_get_logits(self._loaded.context)
        return self._buffers.copy(np.ctypeslib.as_array(raw, (rows, self._size)))

    def _call(self) -> Cost:
        """Book a decode on what was spent."""
        cost = Cost(self._doubles, 0, 1)
        self._doubles = 0
        self.spent += cost
        return cost

    def _clear(self, *, data: bool) -> None:
        """Empty all cells; with `data` zero their memory too.

        An empty cell is masked, whatever stands in it. After a fault that may be no number; and a
        state has no mask. Zeroing a whole cache for each window of a text took a thirtieth of its
        time.
        """
        self._llama.llama_memory_clear(self._memory, data)
        self._cache.clear()

    def _make(self, moves: Sequence[CopyCells | RemoveCells]) -> None:
        llama, memory = self._llama, self._memory
        for move in moves:
            if isinstance(move, CopyCells):
                llama.llama_memory_seq_cp(memory, move.source, move.target, move.start, move.stop)
            else:
                llama.llama_memory_seq_rm(memory, move.sequence, move.start, -1)

    def _fail(self, code: int) -> None:
        if code == 2:
            raise Stopped
        if code == 1:
            raise LltermError(
                "The model's cache is full",
                "The story and the suggestions need more cells than the context has.",
                "Choose fewer beams or less depth, or set a larger --context.",
            )
        self._clear(data=True)
        raise decode_error(code)


def _cost(query: Query, row: DecodeRow) -> Cost:
    return Cost(len(row.tokens), 0 if query.path.tail else 1)


def _answered(
    model: str,
    scratch: RowScratch,
    queries: Sequence[Query],
    logits: NDArray[np.float32],
    costs: Sequence[Cost],
) -> list[Fact | Failed]:
    distributions = read_distributions(logits, queries, model, scratch)
    return [
        Fact(query.path, distribution, cost)
        for query, distribution, cost in zip(queries, distributions, costs, strict=True)
    ]


def _scored(
    model: str,
    scratch: RowScratch,
    first: int,
    tokens: Tail,
    keep: int,
    logits: NDArray[np.float32],
    cost: Cost,
) -> list[ScoreColumns]:
    return [read_scores(logits, tokens, keep, model, scratch, first, cost)]


def _rows(model: str, first: int, logits: NDArray[np.float32], cost: Cost) -> list[LogitRows]:
    best_of(logits, model)
    return [LogitRows(first, logits, cost)]


def _too_long(size: int, window: int) -> LltermError:
    if size == 0:
        return LltermError("There is no text to go on from", "", "Type a beginning.")
    return LltermError(
        "The context is full",
        f"This branch has {size:,} tokens, and the model sees {window:,}.",
        "Accept less at a time, choose less depth, or set a larger --context.",
    )
