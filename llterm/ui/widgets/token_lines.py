"""Tokens as prose, one of them chosen: a line-API widget's lines, and what is common to painting.

Under every line of text may stand a line of marks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from llterm.core.display_text import visible
from llterm.ramps import Depth, Paint
from llterm.ui.widgets.text_fit import crop
from llterm.ui.widgets.virtual_height import set_virtual_height

_DEPTHS: dict[str, Depth] = {
    "truecolor": "truecolor",
    "256": "256",
    "standard": "16",
    "windows": "16",
}


def depth_of(app: App[object]) -> Depth:
    """The colours that its terminal has."""
    system = None if app.no_color else app.console.color_system
    return _DEPTHS.get(system or "", "none")


def upon(paint: Paint) -> Style:
    """Ink upon a colour."""
    return Style(color=Color.from_rgb(*paint.ink), bgcolor=Color.from_rgb(*paint.back))


@dataclass(frozen=True, slots=True)
class Cell:
    """A token, or a part of one, on a line."""

    number: int
    text: str
    left: int
    width: int


class TokenLines(ScrollView):
    """Tokens in lines. Subclasses say which, how they look, and what a click on one does."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.depth: Depth = "none"
        self._lines: list[list[Cell]] = []
        self._laid_out: tuple[int, Sequence[bytes]] | None = None
        self.chosen = 0
        """Number of the chosen token."""

    # --- for subclasses

    @abstractmethod
    def _tokens(self) -> Sequence[bytes]:
        """What is laid out."""

    @abstractmethod
    def _word(self, cell: Cell, base: Style) -> Segment:
        """How a token looks."""

    @abstractmethod
    def _mark(self, cell: Cell, base: Style) -> Segment:
        """What stands below it."""

    @abstractmethod
    def _pick(self, number: int) -> None:
        """A token was clicked."""

    @property
    def _rows(self) -> int:
        """Screen lines a line of text."""
        return 2

    # --- layout

    def on_mount(self) -> None:
        self.depth = depth_of(self.app)

    def on_resize(self) -> None:
        self._lay_out()
        self._reveal()

    async def _on_click(self, event: events.Click) -> None:
        line = (event.y + int(self.scroll_offset.y)) // self._rows
        if line < len(self._lines):
            cells = [
                cell for cell in self._lines[line] if cell.left <= event.x < cell.left + cell.width
            ]
            if cells:
                self._pick(cells[0].number)

    def _lay_out(self) -> None:
        width, tokens = max(self.scrollable_content_region.width, 4), self._tokens()
        if self._laid_out != (width, tokens):
            self._laid_out = (width, tokens)
            self._lines = lay_out(tokens, width)
        set_virtual_height(self, len(self._lines) * self._rows)

    def _where(self) -> tuple[int, Cell | None]:
        """The chosen token's line, and its first cell there."""
        for number, line in enumerate(self._lines):
            for cell in line:
                if cell.number == self.chosen:
                    return number, cell
        return 0, None

    def _reveal(self) -> None:
        line, _ = self._where()
        region = Region(0, line * self._rows, 1, self._rows)
        self.scroll_to_region(region, animate=False, force=True)

    # --- painting

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        line, part = divmod(y + int(self.scroll_offset.y), self._rows)
        cells = self._lines[line] if line < len(self._lines) else []
        draw = self._mark if part else self._word
        return Strip([draw(cell, base) for cell in cells]).adjust_cell_length(self.size.width, base)

    def _part(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)


def lay_out(tokens: Sequence[bytes], width: int) -> list[list[Cell]]:
    """Tokens in lines of at most `width` cells; a line begins with a word where it can."""
    lines: list[list[Cell]] = [[]]
    used = 0
    for word in _words(tokens):
        size = sum(cell_len(text) for _, text in word)
        if used and used + size > width and size <= width:
            lines.append([])
            used = 0
        for number, text in word:
            wide = cell_len(text)
            if used and used + wide > width:
                lines.append([])
                used = 0
            shown = crop(text, width)
            lines[-1].append(Cell(number, shown, used, cell_len(shown)))
            used += min(wide, width)
            if text.endswith("⏎"):
                lines.append([])
                used = 0
    return lines


def _words(tokens: Sequence[bytes]) -> list[list[tuple[int, str]]]:
    """Runs of tokens that make a word: a space or a line break begins the next."""
    words: list[list[tuple[int, str]]] = []
    for number, data in enumerate(tokens):
        text = visible(data).replace("␣", " ") or "·"
        if not words or text.startswith((" ", "⏎")) or words[-1][-1][1].endswith(("⏎", " ")):
            words.append([])
        words[-1].append((number, text))
    return words
