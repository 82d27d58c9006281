"""Fitting text into terminal cells. Pure: no Textual."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from rich.cells import cell_len, set_cell_size


def crop(text: str, width: int) -> str:
    """`text` in at most `width` cells, with an ellipsis where it is cut."""
    if len(text) <= width and cell_len(text) <= width:
        return text
    return set_cell_size(text[: width + 1], max(width - 1, 0)).rstrip() + "…" if width > 0 else ""


def crop_left(text: str, width: int) -> str:
    """The end of `text`, in at most `width` cells, with an ellipsis where it is cut."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) >= width:
        text = text[1:]
    return f"…{text}" if width > 0 else ""


def fill(text: str, width: int) -> str:
    """`text` in exactly `width` cells: cut, or with spaces after it."""
    return set_cell_size(crop(text, width), max(width, 0))


def fit_pieces(pieces: list[str], width: int) -> str:
    """As many of the pieces, in their order, as `width` cells hold; the first always, with an
    ellipsis where it is cut."""
    line = pieces[0] if pieces else ""
    for piece in pieces[1:]:
        longer = f"{line} · {piece}"
        line = longer if cell_len(longer) <= width else line
    return crop(line, width)


@lru_cache(maxsize=64)
def wrap(text: str, first: int, width: int) -> tuple[str, ...]:
    """Break prose into lines of at most `width` cells, the first of at most `first`.

    Breaks after spaces where there are any and keeps every character, so that the lines joined are
    `text` without its line breaks. The first line may be empty.
    """
    lines: list[str] = []
    for number, paragraph in enumerate(text.split("\n")):
        room = first if number == 0 else width
        lines.extend(_fold(paragraph, room, width))
    return tuple(lines)


def _fold(text: str, room: int, width: int) -> Iterator[str]:
    width = max(width, 2)
    line, cells = "", 0
    for word in _words(text):
        size = cell_len(word)
        # A space that hangs over the edge is not seen, and needs no line of its own.
        if cells + cell_len(word.rstrip(" ")) > room:
            yield line
            line, cells, room = "", 0, width
            while cell_len(word.rstrip(" ")) > width:
                head = _head(word, width)
                yield head
                word = word[len(head) :]
            size = cell_len(word)
        line, cells = line + word, cells + size
    yield line


def _words(text: str) -> Sequence[str]:
    """Words, each with the spaces after it."""
    words: list[str] = []
    start = 0
    for index in range(1, len(text)):
        if text[index] != " " and text[index - 1] == " ":
            words.append(text[start:index])
            start = index
    return [*words, text[start:]] if text else []


def _head(text: str, width: int) -> str:
    """As much of the beginning as `width` cells hold; at least a character."""
    cells = 0
    for index, sign in enumerate(text):
        cells += cell_len(sign)
        if cells > width:
            return text[: max(index, 1)]
    return text
