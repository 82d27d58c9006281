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
from llterm.backends.llamacpp.kv_cache import TRUNK, KVCache
from llterm.backends.llamacpp.path_states import PathState
from llterm.core.tokens import Anchor, Tail, common
from llterm.errors import LltermError

WORTH = 64
"""Fewer tokens are evaluated again rather than copied."""
MOST_BYTES = 512 * 2**20
"""What all images may take; those put aside first are let go."""
PINNED = 4 << 30
"""What all pinned states may take."""
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
    alone: bool = False
    """It is the trunk's sequence, and there is to be no other when it is put back."""


class CacheImages:
    """What was put aside of one context."""

    def __init__(self, context: Any) -> None:
        self._llama = library()
        self._context = context
        self._images: list[CacheImage] = []
        """The one put aside last stands last."""
        self._pinned: dict[Tail, PathState] = {}
        """States that are kept until they are released."""

    def put(self, contents: CacheContents) -> None:
        """Copy what the context holds now."""
        state = self._read(_ALL, MOST_BYTES)
        if state is not None:
            self._images.append(CacheImage(contents.copied(), state))
            self._let_go()

    def pin(self, tokens: Tail) -> PathState:
        """Keep what the trunk's sequence holds now, which is these tokens' without the last.
        Raises LltermError where memory is too small."""
        room = PINNED - sum(len(state.data) for state in self._pinned.values())
        state = self._read(TRUNK, room)
        if state is None:
            raise LltermError(
                "There is no room for this state",
                f"Pinned states may take {PINNED >> 30} GiB in all.",
                "Release another one.",
            )
        return self.take(PathState(tokens, bytes(state)))

    def take(self, state: PathState) -> PathState:
        """Keep a state."""
        self._pinned[state.tokens] = state
        return state

    def release(self, tokens: Tail) -> bool:
        """Keep it no longer. Returns whether there was one."""
        return self._pinned.pop(tokens, None) is not None

    def held(self, tokens: Tail) -> int:
        """How many of these tokens any of them spares."""
        sizes = [image.contents.cache.known(tokens) for image in self._images]
        return max([*sizes, *(common(pin[:-1], tokens) for pin in self._pinned)], default=0)

    def is_pinned(self, tokens: Tail) -> bool:
        return tokens in self._pinned

    def _read(self, sequence: int, most: int) -> ctypes.Array[ctypes.c_uint8] | None:
        """What a sequence holds; None where that is too large."""
        size = self._llama.llama_state_seq_get_size(self._context, sequence)
        if size > most:
            return None
        state = (ctypes.c_uint8 * size)()
        read = self._llama.llama_state_seq_get_data(self._context, state, size, sequence)
        return state if read == size else None

    def find(
        self, run: ContextRun, anchor: Anchor | None, trunk: Tail, held: int, cache: KVCache
    ) -> CacheImage | None:
        """This run's contents, or others with its anchor, with as much of its trunk as the `held`
        tokens that are there, or any with clearly more of it. `cache`: what there is now."""
        best, most = None, held + WORTH - 1
        for image in reversed(self._images):
            contents = image.contents
            size = contents.cache.held(trunk)
            same = anchor is not None and contents.anchor is anchor
            if (same or run in contents.runs) and size >= held:
                return image
            if size > most:
                best, most = image, size
        for tokens, state in self._pinned.items():
            pinned = cache.holding(tokens[:-1])
            size = pinned.held(trunk)
            if size > max(most, held):
                array = (ctypes.c_uint8 * len(state.data)).from_buffer_copy(state.data)
                best, most = CacheImage(CacheContents(pinned), array, alone=True), size
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
        sequence = TRUNK if image.alone else _ALL
        put = self._llama.llama_state_seq_set_data(self._context, image.state, size, sequence)
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
