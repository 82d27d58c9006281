"""How a text longer than a model's context is read: in windows that overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


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
