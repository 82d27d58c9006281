"""Samples at the cursor, side by side, next to the weave: the classic loom.

They belong to the place they were drawn at, as a weave does, and come back with it after an undo.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from llterm.core.query import Source
from llterm.core.sampling.sampler_chain import Chain
from llterm.core.stops import Stopper
from llterm.core.tokens import Tail
from llterm.engine.draw import Drawing, DrawingStart
from llterm.errors import LltermError, UsageError
from llterm.session.background_task import BackgroundTask, Reason
from llterm.session.cursor import Cursor
from llterm.session.document import Document
from llterm.session.placed_sample import PlacedSample, find
from llterm.session.placed_weave import PlacedWeave, SamplePath
from llterm.session.suggestions import WeaveBeginning


class SampleSet:
    """Draws samples by the sampler chain; one decode a token for all of them."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self.task = BackgroundTask("Sampling failed", self._ended)
        self._samples: Sequence[PlacedSample] = ()
        self._placed: PlacedWeave | None = None
        """Where they are drawn."""
        self.ended: Callable[[LltermError], None] = lambda _: None
        """Told of a failure; a stop says nothing."""

    @property
    def running(self) -> bool:
        return self.task.running

    @property
    def going(self) -> int:
        """How many samples are still drawn."""
        return sum(sample.finish is None for sample in self._samples) if self.running else 0

    def start(self, count: int, tokens: int, *, sentence: bool) -> None:
        """Draw so many more samples at the cursor, before those that are there. Returns at once.

        Numbers go on from those there, so with a seed the same samples come again, and others
        after them. `sentence`: each ends where a sentence ends. Raises LltermError without a model.
        """
        self.stop()
        self._cursor.document.checkpoint()
        begun = self._cursor.here()
        if isinstance(begun, PlacedWeave):
            self._begin(begun, count)
        self.task.start(lambda: self._draw(begun, count, tokens, sentence=sentence))
        self._cursor.changed()

    def stop(self) -> None:
        """Draw no further; what there is stays."""
        if self.task.stop():
            self._end()

    def keep(self, but: Tail = ()) -> int:
        """Hang the samples on show under the story's end, as unread branches of the loom. Returns
        how many.

        `but`: the row of a sample that is to be accepted instead. Those that hang there already are
        passed over. Raises UsageError where the cursor is not at the end.
        """
        document = self._cursor.document
        if document.cursor != len(document.text) or self._cursor.stale:
            raise UsageError(
                "There are no samples to keep here",
                "Branches hang under the end of the story.",
                "Go there, and sample.",
            )
        placed = self._cursor.shown
        samples = placed.samples if placed is not None else []
        document.checkpoint()
        loom = document.loom
        beside = [loom.nodes[id] for id in loom.children.get(loom.head, ())]
        hanging = {loom.pieces[node.piece].ids for node in beside if len(node.slices) == 1}
        accepted, source = find(samples, but), self._cursor.model
        runs = {sample.ids: SamplePath.of(sample).run(source)
                for sample in samples if sample is not accepted and sample.data}  # fmt: skip
        fresh = [run for run in runs.values() if run.ids not in hanging]
        document.branches.plant(loom.head, fresh)
        return len(fresh)

    def _begin(self, placed: PlacedWeave, count: int) -> None:
        """Put so many samples where this weave hangs; nothing is drawn of them yet."""
        sampling = self._cursor.sampling
        first = max((sample.number for sample in placed.samples), default=-1) + 1
        samples = [PlacedSample(first + n, placed.weave.residue, sampling) for n in range(count)]
        placed.samples[:0] = self._samples = samples
        self._placed = placed

    async def _draw(
        self, begun: PlacedWeave | WeaveBeginning, count: int, tokens: int, *, sentence: bool
    ) -> Reason:
        placed = await self._cursor.told(begun)
        if isinstance(begun, WeaveBeginning):
            self._begin(placed, count)
            self._cursor.changed()
        samples, source = self._samples, self._cursor.model
        chain, document = await self._cursor.chain(), self._cursor.document
        drawing = make_drawing(placed, document, source, chain, samples, tokens, sentence=sentence)
        async with aclosing(follow(drawing, samples)) as drawn:
            async for _ in drawn:
                if self._cursor.shown is not placed or self._cursor.stale:
                    break
                self._cursor.changed()
        return next((line.error for line in drawing.samples if line.error), "")

    def _ended(self, reason: Reason) -> None:
        self._end()
        if isinstance(reason, LltermError):
            self.ended(reason)

    def _end(self) -> None:
        for sample in self._samples:
            sample.finish = sample.finish or "stopped"
        placed, source = self._placed, self._cursor.source
        self._samples, self._placed = (), None
        if placed is not None and source is not None:
            self._cursor.suggestions.keep_samples(placed, source)
        self._cursor.changed()


def make_drawing(
    placed: PlacedWeave,
    document: Document,
    source: Source,
    chain: Chain,
    samples: Sequence[PlacedSample],
    tokens: int,
    *,
    sentence: bool,
) -> Drawing:
    """The drawing of these samples where a weave hangs, under its constraint, at the cursor."""
    weave = placed.weave
    return Drawing.of(
        source,
        chain,
        DrawingStart(weave.anchor.tokens, document.bytes_before(document.cursor), weave.residue),
        [sample.number for sample in samples],
        tokens,
        Stopper(replace(weave.rules, auto_stop=sentence), weave.before),
        constraint=weave.constraint,
        healer=weave.healer,
    )


async def follow(drawing: Drawing, samples: Sequence[PlacedSample]) -> AsyncGenerator[PlacedSample]:
    """Draw, and let each sample take its line's tokens; yields after each token."""
    by_number = {sample.number: sample for sample in samples}
    async with aclosing(drawing.run()) as tokens:
        async for drawn in tokens:
            sample = by_number[drawn.sample.number]
            sample.take(drawn)
            yield sample
    for ended in drawing.samples:
        by_number[ended.number].finish = ended.finish
