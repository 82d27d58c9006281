"""Charts by position: a line a model, a column a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from llterm.ui.mix.model_columns import HUES, letter
from llterm.ui.widgets.text_fit import crop

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

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "voices--chosen",
        "voices--faint",
        *(f"voice--{n}" for n in range(HUES)),
    }

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
        name = crop(_label(chart), named - 1)
        segments = [Segment(name + " " * (named - cell_len(name)), hue)]
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
