"""Answers queries on one context. Runs on the owner thread only."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from llterm.backends.llamacpp import side_context
from llterm.backends.llamacpp.attention_capture import read_attention
from llterm.backends.llamacpp.cache_images import ContextRun
from llterm.backends.llamacpp.cell_owners import CROWDED_CHUNK, CellOwners
from llterm.backends.llamacpp.context_decoder import ContextDecoder
from llterm.backends.llamacpp.embedding_context import LANES, EmbeddingContext
from llterm.backends.llamacpp.kv_cache import TRUNK, DecodeRow, RemoveCells
from llterm.backends.llamacpp.loader import LlamaSettings, LoadedModel
from llterm.backends.llamacpp.logits import best_of, read_distributions, read_scores
from llterm.backends.llamacpp.path_states import PathState
from llterm.core.attention_weights import Attention
from llterm.core.embeddings import Embeddings, unit_vectors
from llterm.core.logit_rows import RowScratch, rows_at_once
from llterm.core.query import Cost, Fact, Failed, HeldPath, LogitRows, Query, ScoreColumns
from llterm.core.tokens import Anchor, Tail, common
from llterm.errors import LltermError

Answer = TypeVar(
    "Answer",
    bound=Fact | Failed | ScoreColumns | LogitRows | Attention | Embeddings | PathState | HeldPath,
)
Burst = Callable[[], Sequence[Answer]]
"""What one decode answered, to be read from its logits on another thread."""
Bursts = Generator[Burst[Answer] | None]
"""What a question is answered with; None where nothing is yet, but others may have a turn."""
_Part = tuple[int, Tail, NDArray[np.float32], Cost]
"""Of a text that is read: its first token's index, the tokens, the logits before each, the cost."""
ASIDE = 512
"""Most tokens that are scored beside the story; more would need the cells of another story."""


class ModelRunner:
    """What can be asked of a model in one context.

    Several questions may be under way: at each burst one may give way to another, also at one that
    answers nothing.
    """

    def __init__(self, loaded: LoadedModel, size: int, name: str) -> None:
        """`size`: how many ids there are."""
        self._loaded = loaded
        self._size = size
        self._name = name
        self.crowded: Callable[[], bool] = lambda: False
        """Whether others wait for the context, or for the end of each decode."""
        self._decoder = ContextDecoder(loaded, size)
        self._owners = CellOwners(loaded, self._decoder, lambda: self.crowded())
        self._scratch = RowScratch()
        """For bursts alone: they are read on one thread."""
        self._embedding: EmbeddingContext | None = None

    @property
    def loaded(self) -> LoadedModel:
        """The weights, and what is known of them."""
        return self._loaded

    @property
    def settings(self) -> LlamaSettings:
        """What the model was opened with."""
        return self._loaded.settings

    @property
    def spent(self) -> Cost:
        """What was evaluated, in contexts of their own too."""
        return self._decoder.spent

    def free(self) -> None:
        if self._embedding is not None:
            self._embedding.free()
        self._decoder.free()

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
                with self._owners.run() as run:
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
        aside = (
            self._short_aside(tokens, start, aside=aside) and self._decoder.contents.beside is None
        )
        most = min(rows_at_once(self._size), self._decoder.room)
        first, end = begin, len(tokens) - 1
        with self._owners.run() as run:
            while first < end:
                keep = self._owners.keep_beside if aside else self._owners.keep_read
                cost = yield from keep(run, tokens, begin, first)
                count = min(most, CROWDED_CHUNK) if self.crowded() else most
                part = tokens[first : min(first + count, end)]
                sequence = self._decoder.beside if aside else TRUNK
                logits = self._decoder.part(part, first, sequence, every=True)
                if not aside:
                    self._decoder.cache.trunk = tokens[: first + len(part)]
                cost += Cost(len(part), len(part), 1)
                yield first + 1, tokens[first + 1 : first + 1 + len(part)], logits, cost
                first += len(part)

    def _read_beside(self, tokens: Tail, begin: int) -> Iterator[_Part | None]:
        """As `_read`, in a context of its own: beside the story's paths a text would stand in other
        cells than alone."""
        for part in side_context.read(self._loaded, self._decoder.cache.trunk, tokens, begin):
            if part is None:
                yield None
                continue
            first, logits, evaluated = part
            cost = Cost(evaluated, evaluated, 1)
            self._decoder.spent += cost
            yield first + 1, tokens[first + 1 : first + 1 + len(logits)], logits, cost

    def ask_beside(self, queries: Sequence[Query]) -> Bursts[Fact | Failed]:
        """As `ask`, in a context of their own; the queries have one anchor."""
        fitting, refused = self._fitting(list(queries))
        if refused:
            yield partial(list, refused)
        if not fitting:
            return
        for answer in side_context.answer(self._loaded, self._decoder.cache.trunk, fitting):
            if answer is None:
                yield None
                continue
            (asked, logits, sizes), extra = answer
            costs = [Cost(size) for size in sizes]
            costs[0] += Cost(extra, extra, 1)
            self._decoder.spent += sum(costs, Cost())
            yield partial(_answered, self._name, self._scratch, asked, logits, costs)

    def ask_in_order(self, queries: Sequence[Query]) -> Bursts[Fact | Failed]:
        """As `ask`, but each path stands alone in the cells behind the story's, in order, where
        that shows in the figures; the queries have one anchor."""
        if not self._loaded.ordered:
            yield from self.ask(queries)
            return
        fitting, refused = self._fitting(list(queries))
        if refused:
            yield partial(list, refused)
        if fitting:
            with self._owners.run() as run:
                yield from self._answer_in_order(run, fitting)

    def attention(self, tokens: Tail, rows: int, columns: int) -> Bursts[Attention]:
        """What the layers attend to at the end of a text, read in a context of its own."""
        if not 0 < len(tokens) <= self._loaded.window:
            raise _too_long(len(tokens), self._loaded.window)
        for attention in read_attention(
            self._loaded, self._name, self._decoder.cache.trunk, tokens, rows, columns
        ):
            if attention is None:
                yield None
                continue
            self._decoder.spent += Cost(attention.evaluated)
            yield partial(list, [attention])

    def pin(self, tokens: Tail) -> Bursts[PathState]:
        """The state after a path, less its last token, which is kept until it is released."""
        if not 1 < len(tokens) <= self._loaded.window:
            raise _too_long(len(tokens) if len(tokens) > 1 else 0, self._loaded.window)
        with self._owners.run() as run:
            state = yield from self._owners.pin(run, tokens)
        yield partial(list, [state])

    def held(self, tokens: Tail) -> Bursts[HeldPath]:
        """How much of a path is evaluated already."""
        yield partial(list, [self._owners.held(tokens)])

    def release(self, tokens: Tail) -> Bursts[HeldPath]:
        """How it was, before its state is kept no longer."""
        before = self._owners.held(tokens)
        self._owners.release(tokens)
        yield partial(list, [before])

    def take(self, state: PathState) -> Bursts[PathState]:
        """A state that is kept from now on."""
        self._owners.take(state)
        yield partial(list, [state])

    def embed(self, texts: Sequence[Tail]) -> Bursts[Embeddings]:
        """What texts are to the model, read in a context that is made on first use, and kept."""
        if self._embedding is None:
            loaded = self._loaded
            lanes = 1 if loaded.whole else LANES
            self._embedding = EmbeddingContext(
                loaded.model, loaded.settings, loaded.window, loaded.stop, lanes=lanes
            )
        rows = yield from self._embedding.vectors(texts)
        sizes = tuple(map(len, texts))
        self._decoder.spent += Cost(sum(sizes))
        yield partial(list, [Embeddings(unit_vectors(rows, self._name), sizes)])

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
        decoder = self._decoder
        rest = anchor.tokens[-1:]
        waiting = [(query, rest + query.path.tail) for query in queries]
        while waiting:
            extra = yield from self._owners.keep_story(run, anchor)
            plan = decoder.cache.plan([tail for _, tail in waiting], decoder.room)
            if not plan.rows:
                # Every sequence is some query's source: one at a time, then.
                plan = decoder.cache.plan([waiting[0][1]], decoder.room)
                plan.waiting = list(range(1, len(waiting)))
            decoder.make(plan.moves)
            rows = plan.rows
            done = decoder.rows(rows, [tail for _, tail in waiting])
            asked = [waiting[row.query][0] for row in rows[:done]]
            costs = [_cost(query, row) for query, row in zip(asked, rows, strict=False)]
            decoder.spent += sum(costs, Cost())
            costs[0] += decoder.book_call() + extra
            # The others' moves are of no use once somebody else had a turn.
            decoder.make([decoder.cache.undone(row) for row in rows[done:]])
            later = [row.query for row in rows[done:]] + plan.waiting
            waiting = [waiting[index] for index in later]
            yield partial(_answered, self._name, self._scratch, asked, decoder.logits(done), costs)

    def _answer_in_order(self, run: ContextRun, queries: Sequence[Query]) -> Bursts[Fact | Failed]:
        """Paths that begin alike follow each other: what they have in common is evaluated once."""
        decoder = self._decoder
        # Of its own: nothing that others asked after the story stands beside the path.
        anchor = Anchor(queries[0].path.anchor.tokens)
        end, rest = len(anchor.tokens) - 1, anchor.tokens[-1:]
        waiting = {rest + query.path.tail: query for query in queries}
        most = min(rows_at_once(self._size), decoder.room)
        cost = Cost()
        for path in _leaves(sorted(waiting)):
            while path in waiting:
                cost += yield from self._owners.keep_alone(run, anchor)
                same = common(run.path, path)
                part = path[same : same + most]
                decoder.make([RemoveCells(decoder.beside, end + same)])
                run.path = path[:same]
                logits = decoder.part(part, end + same, decoder.beside, every=True)
                run.path += part
                cost += Cost(len(part), 0, 1)
                rows = [n for n in range(len(part)) if path[: same + n + 1] in waiting]
                if not rows:
                    yield None
                    continue
                asked = [waiting.pop(path[: same + n + 1]) for n in rows]
                costs = [cost, *(Cost() for _ in asked[1:])]
                cost = Cost()
                yield partial(_answered, self._name, self._scratch, asked, logits[rows], costs)


def _leaves(paths: Sequence[Tail]) -> Iterator[Tail]:
    """Those of sorted paths that no other one goes on from."""
    for path, following in zip(paths, [*paths[1:], ()], strict=True):
        if following[: len(path)] != path:
            yield path


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
