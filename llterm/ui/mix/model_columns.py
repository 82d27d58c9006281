"""Models side by side: a column each at one place, with candidates and bars; charts by position.

Line-API widgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from llterm.number_format import bar, percent
from llterm.ui.widgets.text_fit import fill

HUES = 6
"""Colours there are; more models share them, and are told apart by their letters."""
VOICES = {"voices--chosen", "voices--faint", "voices--head", *(f"voice--{n}" for n in range(HUES))}
"""Parts of these widgets that a theme styles."""
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

    COMPONENT_CLASSES = VOICES

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
            return fill(f"{mark}{column.title}", width), hue + self._part("voices--head")
        if y == 1:
            return fill(f" {column.note}", width), base + self._part("voices--faint")
        if y - HEAD >= len(column.candidates):
            return " " * width, base
        candidate = column.candidates[y - HEAD]
        figure = percent(candidate.p).rjust(6)
        size = max(min(width - 14 - len(figure), 10), 0) if self._bars else 0
        drawn = bar(candidate.p, size) if size else ""
        marks = f" {candidate.marks}" if candidate.marks else ""
        room = width - cell_len(figure) - size - 2 - cell_len(marks)
        text = (
            f"{'•' if candidate.stands else ' '}{fill(candidate.text, room)}{marks} {drawn}{figure}"
        )
        style = hue if not column.gone else base + self._part("voices--faint")
        if chosen and y - HEAD == self._row:
            style += self._part("voices--chosen")
        return fill(text, width), style

    def _part(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)


_EIGHTHS = " ▁▂▃▄▅▆▇█"
NAME = 12
"""Cells that a model's name has at least; longer ones take up to a quarter of the width."""


@dataclass(frozen=True, slots=True)
class ModelChart:
    """One model along the text."""

    voice: int
    name: str
    values: Sequence[float | None]
    """0 to 1, a token each; None: not read, or it does not speak."""
    here: str
    """Its figure at the cursor."""


class ModelCharts(Widget):
    """Shows as many charts as fit, the chosen one among them, around the cursor."""

    COMPONENT_CLASSES = VOICES

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = ""
        self._charts: Sequence[ModelChart] = ()
        self._chosen = 0
        self._at = 0

    def show(self, title: str, charts: Sequence[ModelChart], chosen: int, at: int) -> None:
        """`chosen` is a model's index, `at` the token of the cursor."""
        self._title, self._charts, self._chosen, self._at = title, charts, chosen, at
        self.refresh()

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        if y == 0:
            faint = base + self._part("voices--faint")
            return Strip([Segment(f" {self._title}", faint)]).adjust_cell_length(
                self.size.width, base
            )
        room = max(self.size.height - 1, 1)
        first = max(min(self._chosen - room + 1, len(self._charts) - room), 0)
        number = first + y - 1
        segments = self._chart(self._charts[number], base) if number < len(self._charts) else []
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _chart(self, chart: ModelChart, base: Style) -> list[Segment]:
        hue = base + self._part(f"voice--{chart.voice % HUES}")
        named = self._named
        width = max(self.size.width - named - 9, 4)
        left = max(min(self._at - width // 2, len(chart.values) - width), 0)
        segments = [Segment(fill(_label(chart), named - 1) + " ", hue)]
        for number in range(left, min(left + width, len(chart.values))):
            value = chart.values[number]
            sign = "·" if value is None else _EIGHTHS[min(max(round(value * 8), 0), 8)]
            style = base + self._part("voices--faint") if value is None else hue
            if number == self._at:
                style += self._part("voices--chosen")
            segments.append(Segment(sign, style))
        return [*segments, Segment(f" {chart.here}", hue)]

    @property
    def _named(self) -> int:
        """Cells of the names, and one between them and the chart."""
        longest = max((cell_len(_label(chart)) for chart in self._charts), default=0)
        return max(min(longest + 1, self.size.width // 4), NAME)

    def _part(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)


def _label(chart: ModelChart) -> str:
    return f" {letter(chart.voice)} {chart.name}"
