"""Copies of all that a context holds, for those whose turn it is not.

Questions about different texts cannot all stand in one cache: in exact figures not even two about
one text, and each row looks at every cell. What the last one held is copied out, some milliseconds,
and put back when it goes on.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

from llterm.backends.llamacpp.binding import library
from llterm.backends.llamacpp.kv_cache import KVCache
from llterm.core.tokens import Anchor, Tail

WORTH = 64
"""Fewer tokens are evaluated again rather than copied."""
MOST_BYTES = 512 * 2**20
"""What all images may take; those put aside first are let go."""
STORIES = 4
"""Images that are kept though nobody waits for them: their search may go on."""
_ALL = -1
"""llama.cpp's name for every sequence."""


@dataclass(slots=True, eq=False)
class ContextRun:
    """One question to a context, from its first decode to its last."""

    open: bool = True
    """It may go on."""
    reached: int = 0
    """Tokens of its trunk that were evaluated for it: up to there it does not give way again."""
    path: Tail = ()
    """What the sequence beside the story holds after the trunk, where one path is read there."""


@dataclass(slots=True, eq=False)
class CacheContents:
    """What a context's cells stand for."""

    cache: KVCache
    anchor: Anchor | None = None
    """What the paths were asked after; None where a text was read."""
    runs: set[ContextRun] = field(default_factory=set)
    """Whose work it is."""
    beside: ContextRun | None = None
    """Whose text stands in the sequence beside the story."""

    def worth(self, trunk: Tail) -> bool:
        """Whether somebody may want it back once this is the trunk."""
        lost = len(self.cache.trunk) - self.cache.common(trunk)
        return any(run.open for run in self.runs) or (self.anchor is not None and lost >= WORTH)

    def copied(self) -> CacheContents:
        return CacheContents(self.cache.copied(), self.anchor, set(self.runs), self.beside)


@dataclass(slots=True, eq=False)
class CacheImage:
    """Contents, and the cells that stand for them."""

    contents: CacheContents
    state: ctypes.Array[ctypes.c_uint8]


class CacheImages:
    """What was put aside of one context."""

    def __init__(self, context: Any) -> None:
        self._llama = library()
        self._context = context
        self._images: list[CacheImage] = []
        """The one put aside last stands last."""

    def put(self, contents: CacheContents) -> None:
        """Copy what the context holds now."""
        size = self._llama.llama_state_seq_get_size(self._context, _ALL)
        if size > MOST_BYTES:
            return
        state = (ctypes.c_uint8 * size)()
        if self._llama.llama_state_seq_get_data(self._context, state, size, _ALL) != size:
            return
        self._images.append(CacheImage(contents.copied(), state))
        self._let_go()

    def find(
        self, run: ContextRun, anchor: Anchor | None, trunk: Tail, held: int
    ) -> CacheImage | None:
        """This run's contents, or others with its anchor, with as much of its trunk as the `held`
        tokens that are there, or any with clearly more of it."""
        best, most = None, held + WORTH - 1
        for image in reversed(self._images):
            contents = image.contents
            size = contents.cache.held(trunk)
            same = anchor is not None and contents.anchor is anchor
            if (same or run in contents.runs) and size >= held:
                return image
            if size > most:
                best, most = image, size
        return best

    def restore(self, image: CacheImage, run: ContextRun) -> CacheContents | None:
        """Let the context hold it again. Returns its contents; None where llama.cpp could not: the
        context is empty then."""
        contents = image.contents
        if contents.runs - {run}:
            # Others want it too.
            contents = contents.copied()
            if run not in contents.runs:
                contents.runs.clear()
        elif image in self._images:
            self._images.remove(image)
        size = len(image.state)
        put = self._llama.llama_state_seq_set_data(self._context, image.state, size, _ALL)
        return contents if put == size else None

    def leave(self, run: ContextRun) -> None:
        """It does not come back. A text that was read is of no use to others."""
        for image in self._images:
            image.contents.runs.discard(run)
        self._let_go()

    def _let_go(self) -> None:
        """Keep those that somebody waits for, and of stories the last ones, as memory allows."""
        room, stories = MOST_BYTES, STORIES
        kept: list[CacheImage] = []
        for image in reversed(self._images):
            waited_for = bool(image.contents.runs)
            story = not waited_for and image.contents.anchor is not None and stories > 0
            stories -= story
            if (waited_for or story) and len(image.state) <= room:
                room -= len(image.state)
                kept.append(image)
        self._images = kept[::-1]
