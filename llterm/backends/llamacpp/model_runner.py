"""Answers queries on one context. Runs on the owner thread only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from llterm.backends.llamacpp import side_context, thread_budget
from llterm.backends.llamacpp.attention_capture import read_attention
from llterm.backends.llamacpp.binding import Batch, Stopped, decode_error, library
from llterm.backends.llamacpp.cache_images import CacheContents, CacheImage, CacheImages, ContextRun
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
Bursts = Generator[Burst[Answer] | None]
"""What a question is answered with; None where nothing is yet, but others may have a turn."""
_Part = tuple[int, Tail, NDArray[np.float32], Cost]
"""Of a text that is read: its first token's index, the tokens, the logits before each, the cost."""
CHUNK = 256
"""Most tokens a decode while a long prompt is evaluated: a stop waits for no more than one."""
CROWDED_CHUNK = 64
"""The same while others wait."""
NEW_STORY = 8
"""A text that shares less than this part of its tokens with the last one starts an empty cache."""
ASIDE = 512
"""Most tokens that are scored beside the story; more would need the cells of another story."""


class ModelRunner:
    """One context: its cells, its batch, and what it has spent.

    Several questions may be under way: at each burst one may give way to another, also at one that
    answers nothing. Who goes on looks first whether its cells are still there.
    """

    def __init__(self, loaded: LoadedModel, size: int, name: str) -> None:
        self._llama = library()
        self._loaded = loaded
        self._size = size
        self._name = name
        self._memory = self._llama.llama_get_memory(loaded.context)
        cache = KVCache(
            loaded.sequences, whole=loaded.whole, parked=loaded.parked, ordered=loaded.ordered
        )
        self._contents = CacheContents(cache)
        self._images = CacheImages(loaded.context)
        self.crowded: Callable[[], bool] = lambda: False
        """Whether others wait for the context, or for the end of each decode."""
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

    @property
    def _cache(self) -> KVCache:
        return self._contents.cache

    def apart(self, tokens: Tail, start: int, *, aside: bool) -> bool:
        """Whether a text is read in a context of its own."""
        return self._short_aside(tokens, start, aside=aside) and self._loaded.ordered

    def _short_aside(self, tokens: Tail, start: int, *, aside: bool) -> bool:
        return aside and not self._loaded.whole and len(tokens) - max(start, 1) < ASIDE

    def ask(self, queries: Sequence[Query]) -> Bursts[Fact | Failed]:
        """Facts in bursts, one burst a decode. Raises Stopped when the flag is set."""
        groups: dict[Anchor, list[Query]] = {}
        for query in queries:
            groups.setdefault(query.path.anchor, []).append(query)
        for anchor, group in groups.items():
            fitting, refused = self._fitting(group)
            if refused:
                yield partial(list, refused)
            if fitting:
                with self._run() as run:
                    yield from self._answer(run, anchor, fitting)

    def score(
        self, tokens: Tail, start: int, keep: int, *, aside: bool = True
    ) -> Bursts[ScoreColumns]:
        """The tokens from `start` on, in order; the one at 0 has nothing before it."""
        for part in self._read(tokens, start, aside=aside):
            yield part and partial(_scored, self._name, self._scratch, keep, part)

    def rows(self, tokens: Tail, start: int, *, aside: bool) -> Bursts[LogitRows]:
        """The logits before each of the tokens from `start` on, in order."""
        for part in self._read(tokens, start, aside=aside):
            yield part and partial(_rows, self._name, part)

    def _read(self, tokens: Tail, start: int, *, aside: bool) -> Iterator[_Part | None]:
        """Parts of a text.

        With `aside`, a short part beside a trunk that is there already is evaluated in a sequence
        of its own, so that the story, and what was woven after it, stay where they are.
        """
        if len(tokens) - 1 > self._loaded.window:
            raise _too_long(len(tokens) - 1, self._loaded.window)
        begin = max(start, 1) - 1
        if self.apart(tokens, start, aside=aside):
            yield from self._read_beside(tokens, begin)
            return
        # There is one sequence beside the story: who finds it taken reads in the story's place.
        aside = self._short_aside(tokens, start, aside=aside) and self._contents.beside is None
        most = min(rows_at_once(self._size), self._batch.size)
        first, end = begin, len(tokens) - 1
        with self._run() as run:
            while first < end:
                before = self._keep_beside if aside else self._keep_read
                cost = yield from before(run, tokens, begin, first)
                count = min(most, CROWDED_CHUNK) if self.crowded() else most
                part = tokens[first : min(first + count, end)]
                logits = self._decode_part(
                    part, first, self._beside if aside else TRUNK, every=True
                )
                if not aside:
                    self._cache.trunk = tokens[: first + len(part)]
                cost += Cost(len(part), len(part), 1)
                yield first + 1, tokens[first + 1 : first + 1 + len(part)], logits, cost
                first += len(part)

    def _read_beside(self, tokens: Tail, begin: int) -> Iterator[_Part | None]:
        """As `_read`, in a context of its own: beside the story's paths a text would stand in other
        cells than alone."""
        for part in side_context.read(self._loaded, self._cache.trunk, tokens, begin):
            if part is None:
                yield None
                continue
            first, logits, evaluated = part
            cost = Cost(evaluated, evaluated, 1)
            self.spent += cost
            yield first + 1, tokens[first + 1 : first + 1 + len(logits)], logits, cost

    def ask_beside(self, queries: Sequence[Query]) -> Bursts[Fact | Failed]:
        """As `ask`, in a context of their own; the queries have one anchor."""
        fitting, refused = self._fitting(list(queries))
        if refused:
            yield partial(list, refused)
        if not fitting:
            return
        for answer in side_context.answer(self._loaded, self._cache.trunk, fitting):
            if answer is None:
                yield None
                continue
            (asked, logits, sizes), extra = answer
            costs = [Cost(size) for size in sizes]
            costs[0] += Cost(extra, extra, 1)
            self.spent += sum(costs, Cost())
            yield partial(_answered, self._name, self._scratch, asked, logits, costs)

    def attention(self, tokens: Tail, rows: int, columns: int) -> Bursts[Attention]:
        """What the layers attend to at the end of a text, read in a context of its own."""
        if not 0 < len(tokens) <= self._loaded.window:
            raise _too_long(len(tokens), self._loaded.window)
        for attention in read_attention(
            self._loaded, self._name, self._cache.trunk, tokens, rows, columns
        ):
            if attention is None:
                yield None
                continue
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

    def _answer(
        self, run: ContextRun, anchor: Anchor, queries: list[Query]
    ) -> Bursts[Fact | Failed]:
        rest = anchor.tokens[-1:]
        waiting = [(query, rest + query.path.tail) for query in queries]
        while waiting:
            extra = yield from self._keep_story(run, anchor)
            plan = self._cache.plan([tail for _, tail in waiting], self._batch.size)
            if not plan.rows:
                # Every sequence is some query's source: one at a time, then.
                plan = self._cache.plan([waiting[0][1]], self._batch.size)
                plan.waiting = list(range(1, len(waiting)))
            self._make(plan.moves)
            rows = plan.rows
            done = self._decode_rows(rows, waiting)
            asked = [waiting[row.query][0] for row in rows[:done]]
            costs = [_cost(query, row) for query, row in zip(asked, rows, strict=False)]
            self.spent += sum(costs, Cost())
            costs[0] += self._call() + extra
            # The others' moves are of no use once somebody else had a turn.
            self._make([self._cache.undone(row) for row in rows[done:]])
            later = [row.query for row in rows[done:]] + plan.waiting
            waiting = [waiting[index] for index in later]
            yield partial(_answered, self._name, self._scratch, asked, self._logits(done), costs)

    @contextmanager
    def _run(self) -> Iterator[ContextRun]:
        """A question under way; at its end nothing is kept for its sake."""
        run = ContextRun()
        try:
            yield run
        finally:
            run.open = False
            self._contents.runs.discard(run)
            self._images.leave(run)
            self._drop_beside(run)

    def _keep_story(self, run: ContextRun, anchor: Anchor) -> Generator[None, None, Cost]:
        """Let the trunk be this anchor's, and the paths that were asked after it."""
        story = anchor.tokens[:-1]
        self._come(run, anchor, story)
        # Another search has its paths in cells of its own, where that shows in the figures.
        anew = self._loaded.ordered and anchor is not self._contents.anchor
        if not anew and self._cache.trunk == story:
            return Cost()
        return (yield from self._move_trunk(run, anchor, story))

    def _keep_read(
        self, run: ContextRun, tokens: Tail, begin: int, first: int
    ) -> Generator[None, None, Cost]:
        """Let the trunk be the first tokens of a text that is read in its place."""
        trunk = tokens[:first]
        self._come(run, None, trunk)
        if first > begin:
            run.reached = first
            if self._cache.trunk == trunk:
                return Cost()
        return (yield from self._move_trunk(run, None, trunk))

    def _keep_beside(
        self, run: ContextRun, tokens: Tail, begin: int, first: int
    ) -> Generator[None, None, Cost]:
        """Let the sequence beside the trunk hold the first tokens of a text."""
        if self._contents.beside is not run and first > begin:
            image = self._images.find(run, None, (), 0)
            if image is not None:
                self._exchange(run, image, ())
        if self._contents.beside is run:
            return Cost()
        cost = Cost()
        if self._cache.common(tokens) < begin:
            self._come(run, None, tokens[:begin])
            cost = yield from self._move_trunk(run, None, tokens[:begin])
        self._drop_beside(None)
        self._contents.beside = run
        self._contents.runs.add(run)
        self._make([CopyCells(TRUNK, self._beside, 0, begin)])
        for start in range(begin, first, self._batch.size):
            part = tokens[start : min(start + self._batch.size, first)]
            self._decode_part(part, start, self._beside, every=False)
            cost += Cost(len(part), len(part), 1)
        return cost

    @property
    def _beside(self) -> int:
        return self._loaded.sequences + 1

    def _drop_beside(self, run: ContextRun | None) -> bool:
        """Empty the sequence beside the trunk where it is this run's, or whoever's it is. Returns
        whether it was."""
        whose = self._contents.beside
        if whose is None or run not in (None, whose):
            return False
        self._contents.beside = None
        self._make([RemoveCells(self._beside, 0)])
        return True

    def _come(self, run: ContextRun, anchor: Anchor | None, trunk: Tail) -> None:
        """Go on where this run left off, or begin: this is to be the trunk. What others had here is
        put aside where it would be lost."""
        contents = self._contents
        if contents.runs == {run}:
            return
        anew = self._loaded.ordered and (anchor is None or anchor is not contents.anchor)
        # Who reads a text moves the trunk on.
        stays = anchor is not None and contents.cache.trunk == trunk
        if stays and (run in contents.runs or not anew):
            contents.runs.add(run)
            return
        image = self._images.find(run, anchor, trunk, contents.cache.held(trunk))
        self._exchange(run, image, trunk)

    def _exchange(self, run: ContextRun, image: CacheImage | None, trunk: Tail) -> None:
        """Let the context hold what a run goes on with, or begins in where it has no image."""
        contents = self._contents
        contents.runs.discard(run)
        if contents.worth(trunk):
            self._images.put(contents)
            self._drop_beside(None)
        contents.runs.clear()
        if image is not None:
            restored = self._images.restore(image, run)
            if restored is None:
                self._clear(data=True)
            else:
                self._contents = restored
        self._contents.runs.add(run)

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
                if self._drop_beside(None):
                    continue
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

    def _move_trunk(
        self, run: ContextRun, anchor: Anchor | None, trunk: Tail
    ) -> Generator[None, None, Cost]:
        """Make the sequences share this prefix; only what is not held yet is evaluated. Returns
        what that cost. Gives way between parts that were not evaluated for this run before."""
        cost = Cost()
        while True:
            same = self._cache.common(trunk)
            if same <= len(trunk) // NEW_STORY and not 0 < run.reached <= same:
                # KVCache in order from the first on: sums are rounded as they are for this text
                # alone.
                self._clear(data=self._loaded.whole)
            moves, held = self._cache.move_trunk(trunk)
            self._make(moves)
            self._contents.anchor = anchor
            while held < len(trunk):
                size = CROWDED_CHUNK if self.crowded() else CHUNK
                part = trunk[held : held + min(size, self._batch.size)]
                before = self.spent
                try:
                    self._decode_part(part, held, TRUNK, every=False)
                except (Stopped, LltermError):
                    self._make(self._cache.cut_trunk(held))
                    raise
                held += len(part)
                cost += self.spent - before
                if run.reached < held < len(trunk) and self.crowded():
                    self._make(self._cache.cut_trunk(held))
                    run.reached = held
                    yield None
                    self._come(run, anchor, trunk)
                    break
            else:
                run.reached = max(run.reached, held)
                return cost

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
            if code == 1 and sequence != self._beside and self._drop_beside(None):
                continue
            moves = self._cache.forget(0.5, set()) if code == 1 else []
            self._make(moves)
            if not moves:
                if self._loaded.whole:
                    # Nobody knows how far the state has come.
                    self._make(self._cache.cut_trunk(0))
                else:
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
        self._contents.beside = None

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


def _scored(model: str, scratch: RowScratch, keep: int, part: _Part) -> list[ScoreColumns]:
    first, tokens, logits, cost = part
    return [read_scores(logits, tokens, keep, model, scratch, first, cost)]


def _rows(model: str, part: _Part) -> list[LogitRows]:
    first, _, logits, cost = part
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
