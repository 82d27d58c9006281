"""Models side by side at one place: a column each, with candidates and bars. A line-API widget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from llterm.number_format import bar, percent
from llterm.ui.widgets.text_fit import crop

HUES = 6
"""Colours there are; more models share them, and are told apart by their letters."""
HEAD = 2
"""Lines above the candidates."""
LEAST = 19
"""Cells of a column."""


def letter(index: int) -> str:
    """What a model is called where there is room for one sign: A to Z, then a to z."""
    signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return signs[index % len(signs)]


@dataclass(frozen=True, slots=True)
class ColumnLine:
    """A line of a column."""

    text: str
    p: float
    marks: str = ""
    """Letters of the models whose first choice it is."""
    stands: bool = False


@dataclass(frozen=True, slots=True)
class ModelColumn:
    """One model, or the mix."""

    title: str
    note: str
    voice: int | None
    """The model's index; None: the mix."""
    candidates: Sequence[ColumnLine] = ()
    gone: bool = False
    """It failed, or is left out."""


class ModelColumns(Widget):
    """Shows columns, those that fit, the chosen one always among them."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "voices--bar",
        "voices--chosen",
        "voices--faint",
        "voices--head",
        *(f"voice--{n}" for n in range(HUES)),
    }

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._columns: Sequence[ModelColumn] = ()
        self._chosen = 0
        self._row = 0
        self._bars = True

    def show(self, columns: Sequence[ModelColumn], chosen: int, row: int, *, bars: bool) -> None:
        """`chosen` is the column of the cursor, `row` its candidate."""
        shown = self._columns, self._chosen, self._row, self._bars
        if (columns, chosen, row, bars) != shown:
            self._columns, self._chosen, self._row, self._bars = columns, chosen, row, bars
            self.refresh()

    @property
    def rows(self) -> int:
        """Candidates that fit."""
        return max(self.size.height - HEAD, 1)

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        segments: list[Segment] = []
        for number, width in self._visible():
            column = self._columns[number]
            text, style = self._line(column, number, y, width - 1, base)
            segments += [Segment(text, style), Segment(" ", base)]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _visible(self) -> list[tuple[int, int]]:
        """Numbers and widths of the columns on screen; the mix keeps its place."""
        count = max(min(len(self._columns), self.size.width // LEAST), 1)
        width = max(self.size.width // count, 2)
        rest = list(range(1, len(self._columns)))
        start = max(min(self._chosen - (count - 1), len(rest) - (count - 1)), 0)
        if count == 1:
            return [(self._chosen, width)] if self._columns else []
        return [(n, width) for n in [0, *rest[start : start + count - 1]] if n < len(self._columns)]

    def _line(
        self, column: ModelColumn, number: int, y: int, width: int, base: Style
    ) -> tuple[str, Style]:
        chosen = number == self._chosen
        hue = base if column.voice is None else base + self._part(f"voice--{column.voice % HUES}")
        if y == 0:
            mark = "▸" if chosen else " "
            return _fit(f"{mark}{column.title}", width), hue + self._part("voices--head")
        if y == 1:
            return _fit(f" {column.note}", width), base + self._part("voices--faint")
        if y - HEAD >= len(column.candidates):
            return " " * width, base
        candidate = column.candidates[y - HEAD]
        figure = percent(candidate.p).rjust(6)
        size = max(min(width - 14 - len(figure), 10), 0) if self._bars else 0
        drawn = bar(candidate.p, size) if size else ""
        marks = f" {candidate.marks}" if candidate.marks else ""
        room = width - cell_len(figure) - size - 2 - cell_len(marks)
        text = (
            f"{'•' if candidate.stands else ' '}{_fit(candidate.text, room)}{marks} {drawn}{figure}"
        )
        style = hue if not column.gone else base + self._part("voices--faint")
        if chosen and y - HEAD == self._row:
            style += self._part("voices--chosen")
        return _fit(text, width), style

    def _part(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)


def _fit(text: str, width: int) -> str:
    shown = crop(text, width)
    return shown + " " * max(width - cell_len(shown), 0)
