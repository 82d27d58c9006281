"""Sampled continuations at the cursor, side by side, next to the weave: the classic loom.

They belong to the place they were drawn at, as a weave does, and come back with it after an undo.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from llterm.core.query import Source
from llterm.core.sampling.sampler_chain import Chain
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.stops import Stopper
from llterm.core.tokens import Tail
from llterm.engine.draw import Drawing, Line, Start
from llterm.errors import LltermError, UsageError
from llterm.session.document import Document
from llterm.session.lines import pack_lines
from llterm.session.refusals import unforeseen
from llterm.session.samples import Sample, find
from llterm.session.woven import Woven

log = logging.getLogger(__name__)

STORY = 4096
"""Bytes of the story that bans look back on."""


class Host(Protocol):
    """What sampling needs of a session."""

    @property
    def document(self) -> Document: ...

    @property
    def source(self) -> Source | None: ...

    @property
    def stale(self) -> bool: ...

    @property
    def shown(self) -> object: ...

    @property
    def sampling(self) -> Sampling: ...

    @property
    def chain(self) -> Chain: ...

    def here(self) -> Woven: ...

    async def settle(self, woven: Woven) -> None: ...


class Continuations:
    """Draws lines by the sampler chain; one decode a token for all of them."""

    def __init__(self, host: Host, changed: Callable[[], None]) -> None:
        self._host = host
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._lines: Sequence[Sample] = ()
        self._drawn: Woven | None = None
        """Where they are drawn."""
        self.ended: Callable[[LltermError], None] = lambda _: None
        """Told of a failure; a stop says nothing."""

    @property
    def running(self) -> bool:
        return self._task is not None

    @property
    def going(self) -> int:
        """How many lines are still drawn."""
        return sum(one.finish is None for one in self._lines) if self.running else 0

    def start(self, count: int, tokens: int, *, sentence: bool) -> None:
        """Draw so many more lines at the cursor, before those that are there. Returns at once.

        Numbers go on from those there, so with a seed the same lines come again, and others after
        them. `sentence`: each ends where a sentence ends. Raises LltermError without a model.
        """
        self.stop()
        woven = self._host.here()
        self._host.document.checkpoint()
        sampling, source = self._host.sampling, self._host.source
        assert source is not None
        first = max((one.number for one in woven.samples), default=-1) + 1
        samples = [Sample(first + n, woven.weave.residue, sampling) for n in range(count)]
        woven.samples[:0] = self._lines = samples
        self._drawn = woven

        def begin() -> Drawing:
            # The chain is made for the vocabulary, which a server may tell only now.
            return make_drawing(woven, self._host.document, source, self._host.chain, samples,
                                tokens, sentence=sentence)  # fmt: skip

        self._task = asyncio.get_running_loop().create_task(self._draw(begin, woven, samples))
        self._changed()

    def stop(self) -> None:
        """Draw no further; what there is stays."""
        if self._task is not None:
            self._task.cancel()
            self._end()

    async def wait(self) -> None:
        """Until nothing is drawn."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def keep(self, but: Tail = ()) -> int:
        """Hang the lines on show under the story's end, as unread branches of the loom; how many.

        `but`: the row of a line that is to be accepted instead. Those that hang there already are
        passed over. Raises UsageError where the cursor is not at the end.
        """
        document, source = self._host.document, self._host.source
        if document.cursor != len(document.text) or self._host.stale:
            raise UsageError(
                "There are no samples to keep here",
                "Branches hang under the end of the story.",
                "Go there, and sample.",
            )
        samples = self._host.here().samples
        assert source is not None
        document.checkpoint()
        loom = document.loom
        beside = [loom.nodes[id] for id in loom.children.get(loom.head, ())]
        there = {loom.pieces[one.piece].ids for one in beside if len(one.slices) == 1}
        runs = {one.ids: one.run(len(one.steps), source)
                for one in samples if one is not find(samples, but) and one.data}  # fmt: skip
        kept = [run for run in runs.values() if run.ids not in there]
        document.branches.plant(loom.head, kept)
        return len(kept)

    async def _draw(
        self, begin: Callable[[], Drawing], woven: Woven, samples: Sequence[Sample]
    ) -> None:
        error: LltermError | None = None
        try:
            await self._host.settle(woven)
            for one in samples:
                one.residue = woven.weave.residue
            drawing = begin()
            async with aclosing(follow(drawing, woven, samples)) as drawn:
                async for _ in drawn:
                    if self._host.shown is not woven or self._host.stale:
                        break
                    self._changed()
            error = next((line.error for line in drawing.lines if line.error), None)
        except LltermError as failed:
            error = failed
        except Exception as fault:
            log.exception("sampling failed")
            error = unforeseen("Sampling failed", fault)
        self._end()
        if error is not None:
            self.ended(error)

    def _end(self) -> None:
        self._task = None
        for one in self._lines:
            one.finish = one.finish or "stopped"
        self._lines = ()
        self._save()
        self._changed()

    def _save(self) -> None:
        """Put the lines into the loom, so that they come back with their place."""
        woven, source = self._drawn, self._host.source
        self._drawn = None
        if woven is None or source is None:
            return
        if blob := pack_lines(woven.weave, woven.samples, source):
            self._host.document.save_lines(woven.place[0], blob)


def make_drawing(
    woven: Woven,
    document: Document,
    source: Source,
    chain: Chain,
    samples: Sequence[Sample],
    tokens: int,
    *,
    sentence: bool,
) -> Drawing:
    """The drawing of these lines where a weave hangs, under its constraint, at the cursor."""
    weave = woven.weave
    stopper = Stopper(replace(weave.rules, auto_stop=sentence), weave.before)
    return Drawing(
        source,
        chain,
        Start(weave.anchor.tokens, document.bytes_before(document.cursor)[-STORY:], weave.residue),
        [Line(one.number, tokens, stopper) for one in samples],
        weave.constraint,
        weave.healer,
    )


async def follow(
    drawing: Drawing, woven: Woven, samples: Sequence[Sample]
) -> AsyncGenerator[Sample]:
    """Draw, and let each sample take its line's tokens; yields after each token."""
    by_number = {one.number: one for one in samples}
    async with aclosing(drawing.run()) as tokens:
        async for one in tokens:
            sample = by_number[one.line.number]
            sample.take(one, woven.weave.mask(sample.ids))
            yield sample
    for line in drawing.lines:
        by_number[line.number].finish = line.finish
