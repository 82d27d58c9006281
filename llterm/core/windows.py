"""Which part of a text longer than a model's context the model sees, and how that is told.

Two ways: to go on from a text's end, one rule for all that does; and to read all of it, in windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

RESERVE = 96
"""Tokens of the context kept free for what is to follow, at least."""
STEPS = 4
"""The window over a long text moves in steps of a quarter of the context: an accept or an edit at
the end seldom moves it, and where it stands depends on the text's tokens alone."""


def first_seen(count: int, head: int, context: int, ahead: int = 0) -> int:
    """Index of the first of `count` tokens that the model sees.

    `head` tokens stand before them and are always seen; `ahead` are to follow. The last token is
    seen however long the head is.
    """
    room = context - head - min(max(RESERVE, ahead), context // STEPS)
    step = max((context - head) // STEPS, 1)
    over = count - max(room, 1)
    return min(-(-over // step) * step, count - 1) if over > 0 else 0


@dataclass(frozen=True, slots=True)
class SeenStory:
    """How much of a story a model sees."""

    story: int = 0
    """Tokens of the story, up to where it goes on."""
    dropped: int = 0
    """How many of them, from the beginning, are out of sight."""
    start: int = 0
    """Bytes of the story that are out of sight."""
    hidden: int = 0
    """Tokens before the story that the person wrote: memory, or a chat."""
    chat: bool = False
    """Those are a chat."""

    @property
    def seen(self) -> int:
        """Tokens of the story in sight."""
        return self.story - self.dropped

    def dropping(self, context: int) -> str:
        """That the beginning is out of sight, as a sentence; empty where all is seen."""
        if not self.dropped:
            return ""
        return (
            f"The model sees {self.told(context)}: the first {self.dropped:,} are beyond its "
            f"context of {context:,}."
        )

    def told(self, context: int, *, memory: bool = True) -> str:
        """In words, beside what the model can see. Without `memory` that word is said elsewhere."""
        name = "chat " if self.chat else "memory " if memory else ""
        if self.dropped:
            before = f"; {name}{self.hidden:,}" if self.hidden else ""
            return f"the last {self.seen:,} of {self.story:,} tokens{before}"
        before = f" + {name}{self.hidden:,}" if self.hidden else ""
        return f"{self.story:,}{before} of {context:,} tokens"


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens `begin` to `end` of a text are seen, those from `first` on are scored."""

    begin: int
    first: int
    end: int


def overlapping(count: int, size: int, stride: int) -> Iterator[Window]:
    """Every token scored once, with `size - stride` tokens before it at least where there are any.

    `count` tokens in all, `size` a window, 1 ≤ `stride` ≤ `size`: how far windows are apart.
    """
    end = min(size, count)
    yield Window(0, 0, end)
    while end < count:
        first, end = end, min(end + stride, count)
        yield Window(end - size, first, end)


def halves(count: int, size: int) -> Iterator[Window]:
    """As llama.cpp's perplexity tool does it: windows side by side, the second half of each scored.

    Its first window token gives way to the model's begin-of-text token; what does not fill a
    window is left out. Source: `perplexity()` in llama.cpp's tools/perplexity/perplexity.cpp.
    """
    for begin in range(0, count - size + 1, size):
        yield Window(begin, begin + size // 2 + 1, begin + size)
