"""Whose a context's cells are: questions that take turns on it find what they left.

Several questions may be under way. Who goes on looks first whether its cells are still there; what
others had in their place is put aside. Runs on the owner thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from llterm.backends.llamacpp.binding import Stopped
from llterm.backends.llamacpp.cache_images import CacheContents, CacheImage, CacheImages, ContextRun
from llterm.backends.llamacpp.context_decoder import ContextDecoder
from llterm.backends.llamacpp.kv_cache import TRUNK, CopyCells
from llterm.backends.llamacpp.loader import LoadedModel
from llterm.backends.llamacpp.path_states import PathState
from llterm.core.query import Cost, HeldPath
from llterm.core.tokens import Anchor, Tail
from llterm.errors import LltermError

CHUNK = 256
"""Most tokens a decode while a long prompt is evaluated: a stop waits for no more than one."""
CROWDED_CHUNK = 64
"""The same while others wait."""
NEW_STORY = 8
"""A text that shares less than this part of its tokens with the last one starts an empty cache."""
Kept = Generator[None, None, Cost]
"""Lets cells be somebody's; returns what that cost. Gives way between parts of a long text."""


class CellOwners:
    """Who has what in one context."""

    def __init__(
        self, loaded: LoadedModel, decoder: ContextDecoder, crowded: Callable[[], bool]
    ) -> None:
        """`crowded`: whether others wait for the context."""
        self._loaded = loaded
        self._decoder = decoder
        self._images = CacheImages(loaded.context)
        self._crowded = crowded

    @property
    def _contents(self) -> CacheContents:
        return self._decoder.contents

    @contextmanager
    def run(self) -> Iterator[ContextRun]:
        """A question under way; at its end nothing is kept for its sake."""
        run = ContextRun()
        try:
            yield run
        finally:
            run.open = False
            self._contents.runs.discard(run)
            self._images.leave(run)
            self._decoder.drop_beside(run)

    def keep_story(self, run: ContextRun, anchor: Anchor) -> Kept:
        """Let the trunk be this anchor's, and the paths that were asked after it."""
        story = anchor.tokens[:-1]
        self._come(run, anchor, story)
        # Another search has its paths in cells of its own, where that shows in the figures.
        anew = self._loaded.ordered and anchor is not self._contents.anchor
        if not anew and self._contents.cache.trunk == story:
            return Cost()
        return (yield from self._move_trunk(run, anchor, story))

    def pin(self, run: ContextRun, tokens: Tail) -> Generator[None, None, PathState]:
        """Keep the state after these tokens, less the last, until it is released. Raises
        LltermError where there is no room."""
        anchor = Anchor(tokens)
        yield from self.keep_story(run, anchor)
        return self._images.pin(tokens)

    def release(self, tokens: Tail) -> bool:
        """Keep a path's state no longer. Returns whether there was one."""
        return self._images.release(tokens)

    def take(self, state: PathState) -> None:
        """Keep a state of this model, to be put back when it is of use."""
        self._images.take(state)

    def held(self, tokens: Tail) -> HeldPath:
        """How much of a path is evaluated already."""
        held = max(self._contents.cache.known(tokens), self._images.held(tokens))
        return HeldPath(held, self._images.is_pinned(tokens))

    def keep_read(self, run: ContextRun, tokens: Tail, begin: int, first: int) -> Kept:
        """Let the trunk be the first tokens of a text that is read in its place."""
        trunk = tokens[:first]
        self._come(run, None, trunk)
        if first > begin:
            run.reached = first
            if self._contents.cache.trunk == trunk:
                return Cost()
        return (yield from self._move_trunk(run, None, trunk))

    def keep_beside(self, run: ContextRun, tokens: Tail, begin: int, first: int) -> Kept:
        """Let the sequence beside the trunk hold the first tokens of a text."""
        decoder = self._decoder
        if self._contents.beside is not run and first > begin:
            image = self._images.find(run, None, (), 0, self._contents.cache)
            if image is not None:
                self._exchange(run, image, ())
        if self._contents.beside is run:
            return Cost()
        cost = Cost()
        if self._contents.cache.common(tokens) < begin:
            self._come(run, None, tokens[:begin])
            cost = yield from self._move_trunk(run, None, tokens[:begin])
        decoder.drop_beside(None)
        self._contents.beside = run
        self._contents.runs.add(run)
        decoder.make([CopyCells(TRUNK, decoder.beside, 0, begin)])
        for start in range(begin, first, decoder.room):
            part = tokens[start : min(start + decoder.room, first)]
            decoder.part(part, start, decoder.beside, every=False)
            cost += Cost(len(part), len(part), 1)
        return cost

    def keep_alone(self, run: ContextRun, anchor: Anchor) -> Kept:
        """Let the trunk be this anchor's, which is this run's own, with the run's path beside it,
        and nothing else."""
        cost = yield from self.keep_story(run, anchor)
        if self._contents.beside is not run:
            decoder, end = self._decoder, len(anchor.tokens) - 1
            decoder.drop_beside(None)
            self._contents.beside = run
            run.path = ()
            if end:
                decoder.make([CopyCells(TRUNK, decoder.beside, 0, end)])
        return cost

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
        cache = contents.cache
        image = self._images.find(run, anchor, trunk, cache.held(trunk), cache)
        self._exchange(run, image, trunk)

    def _exchange(self, run: ContextRun, image: CacheImage | None, trunk: Tail) -> None:
        """Let the context hold what a run goes on with, or begins in where it has no image."""
        contents = self._contents
        contents.runs.discard(run)
        if contents.worth(trunk):
            self._images.put(contents)
            self._decoder.drop_beside(None)
        contents.runs.clear()
        if image is not None:
            if image.alone:
                self._decoder.clear(data=True)
            restored = self._images.restore(image, run)
            if restored is None:
                self._decoder.clear(data=True)
            else:
                self._decoder.contents = restored
        self._contents.runs.add(run)

    def _move_trunk(self, run: ContextRun, anchor: Anchor | None, trunk: Tail) -> Kept:
        """Make the sequences share this prefix; only what is not held yet is evaluated. Gives way
        between parts that were not evaluated for this run before."""
        decoder = self._decoder
        cost = Cost()
        while True:
            same = self._contents.cache.common(trunk)
            if same <= len(trunk) // NEW_STORY and not 0 < run.reached <= same:
                # KVCache in order from the first on: sums are rounded as they are for this text
                # alone.
                decoder.clear(data=self._loaded.whole)
            moves, held = self._contents.cache.move_trunk(trunk)
            decoder.make(moves)
            self._contents.anchor = anchor
            while held < len(trunk):
                size = CROWDED_CHUNK if self._crowded() else CHUNK
                part = trunk[held : held + min(size, decoder.room)]
                before = decoder.spent
                try:
                    decoder.part(part, held, TRUNK, every=False)
                except (Stopped, LltermError):
                    decoder.make(self._contents.cache.cut_trunk(held))
                    raise
                held += len(part)
                cost += decoder.spent - before
                if run.reached < held < len(trunk) and self._crowded():
                    decoder.make(self._contents.cache.cut_trunk(held))
                    run.reached = held
                    yield None
                    self._come(run, anchor, trunk)
                    break
            else:
                run.reached = max(run.reached, held)
                return cost
