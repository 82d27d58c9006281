"""Two branches side by side: what they share, then word by word how they differ, with figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from llterm.core.branch_comparison import BranchComparison as Compared
from llterm.core.branch_comparison import ComparedStretch, ComparedWord, compare
from llterm.core.display_text import visible
from llterm.core.loom_tree import LoomTree
from llterm.number_format import count_of, percent
from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.widgets.text_fit import crop

_SHARED = 400
"""Bytes of the shared beginning that are shown."""
Piece = tuple[str, str]
"""Text and style."""


class ComparisonColumns(Static):
    """Both columns, as wide as there is room."""

    def __init__(self, comparison: Compared) -> None:
        super().__init__(markup=False)
        self._found = comparison

    def on_resize(self) -> None:
        width = max((self.size.width - 3) // 2, 10)
        self.update(side_by_side(self._found.shared, self._found.parts, width))


class ComparisonDialog(Dialog[None]):
    """Words that differ are bold and underlined, each with its probability if a model wrote it."""

    TITLE = "Two branches"
    KEYS = "↑↓ scroll   Esc close"
    BINDINGS = [  # noqa: RUF012
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
    ]

    def __init__(self, loom: LoomTree, left: int, right: int) -> None:
        super().__init__()
        self._found = compare(loom, left, right)

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield ComparisonColumns(self._found)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


def side_by_side(shared: bytes, parts: Sequence[ComparedStretch], width: int) -> Content:
    """Both columns, each of so many cells; equal words stand on the same lines."""
    head = visible(shared[-_SHARED:]).replace("⏎", " ")
    lines = [Content.styled(f"{'…' if len(shared) > _SHARED else ''}{head}", "$ghost"), Content("")]
    sides = [[word for part in parts for word in (part.one, part.other)[n]] for n in (0, 1)]
    lines.append(_row([(figures(sides[0]), "$accent")], [(figures(sides[1]), "$accent")], width))
    for part in parts:
        left, right = (_wrapped(words, part.same, width) for words in (part.one, part.other))
        for n in range(max(len(left), len(right))):
            lines.append(
                _row(left[n] if n < len(left) else [], right[n] if n < len(right) else [], width)
            )
    return Content("\n").join(lines)


def figures(words: Iterable[ComparedWord]) -> str:
    """How many words a side has, and its bits where models wrote all of it."""
    known = list(words)
    logprobs = [word.logprob for word in known if word.logprob is not None]
    said = count_of(len(known), "word")
    if logprobs:
        said += f", {count_of(round(-sum(logprobs) / math.log(2)), 'bit')}"
        if len(logprobs) < len(known):
            said += f" in {len(logprobs):,} of them"
    return said


def _wrapped(words: Sequence[ComparedWord], same: bool, width: int) -> list[list[Piece]]:
    lines: list[list[Piece]] = [[]] if words else []
    used = 0
    for word in words:
        text = visible(word.data.strip()) or "⏎"
        figure = "" if same or word.logprob is None else f"·{percent(math.exp(word.logprob))}"
        size = cell_len(text) + len(figure) + 1
        if used and used + size > width:
            lines.append([])
            used = 0
        shown = crop(text, max(width - len(figure) - 1, 1))
        lines[-1] += [
            (shown, "$foreground" if same else "bold underline"),
            (f"{figure} ", "$ghost"),
        ]
        used += cell_len(shown) + len(figure) + 1
        if b"\n" in word.data and lines[-1]:
            lines.append([])
            used = 0
    return lines


def _row(left: Sequence[Piece], right: Sequence[Piece], width: int) -> Content:
    room = width - sum(cell_len(text) for text, _ in left)
    return Content.assemble(*left, " " * max(room, 0), (" │ ", "$ghost"), *right)
