"""A text as prose, each token upon the colour of a value: a line-API widget with a cursor.

Without colours a line of glyphs stands under every line of text. Values below 0 are underlined, so
that their sign does not rest on a hue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from llterm.core.display import visible
from llterm.ramps import Depth, glyph, paint, signed_glyph, signed_paint
from llterm.ui.widgets.cells import crop
from llterm.ui.widgets.scrolling import set_virtual_height

DEPTHS: dict[str, Depth] = {
    "truecolor": "truecolor",
    "256": "256",
    "standard": "16",
    "windows": "16",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A token, or a part of one, on a line."""

    number: int
    text: str
    left: int
    width: int


@dataclass(frozen=True, slots=True)
class Shading:
    """What is shown: one entry a token."""

    data: Sequence[bytes] = ()
    values: Sequence[float | None] = ()
    """−1 to 1; None: it has none."""
    signed: bool = False
    target: int = -1
    """Number of the token that the values are about; it has none itself."""


class Shaded(ScrollView, can_focus=True):
    """Tokens in lines; arrows, home, end and the mouse move the cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "shaded--cursor",
        "shaded--faint",
        "shaded--target",
    }
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("left,h", "move(-1)", show=False),
        Binding("right,l", "move(1)", show=False),
        Binding("up,k", "move_line(-1)", show=False),
        Binding("down,j", "move_line(1)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end,G", "move(1000000)", show=False),
    ]

    def __init__(self, moved: Callable[[], None], *, id: str | None = None) -> None:
        """`moved` is called when the cursor went to another token."""
        super().__init__(id=id)
        self._moved = moved
        self._depth: Depth = "none"
        self._shading = Shading()
        self._lines: list[list[Cell]] = []
        self._laid_out: tuple[int, Sequence[bytes]] | None = None
        self.chosen = 0
        """Number of the token at the cursor."""

    def show(self, shading: Shading) -> None:
        """Show these tokens; the cursor stays where it is."""
        self._shading = shading
        self.chosen = min(max(self.chosen, 0), max(len(shading.data) - 1, 0))
        self._lay_out()
        self.refresh()

    def go_to(self, number: int) -> None:
        """Put the cursor on a token and scroll to it."""
        self.chosen = min(max(number, 0), max(len(self._shading.data) - 1, 0))
        self._reveal()
        self.refresh()
        self._moved()

    def action_move(self, step: int) -> None:
        self.go_to(self.chosen + step)

    def action_move_line(self, step: int) -> None:
        line, cell = self._where()
        target = line + step
        if cell is None or not 0 <= target < len(self._lines) or not self._lines[target]:
            return
        middle = cell.left + cell.width // 2
        nearest = min(self._lines[target], key=lambda one: abs(one.left + one.width // 2 - middle))
        self.go_to(nearest.number)

    async def _on_click(self, event: events.Click) -> None:
        line = (event.y + int(self.scroll_offset.y)) // self._rows
        if line < len(self._lines):
            x = event.x
            found = [one for one in self._lines[line] if one.left <= x < one.left + one.width]
            if found:
                self.go_to(found[0].number)

    # --- layout

    @property
    def _rows(self) -> int:
        """Screen lines a line of text."""
        return 2 if self._depth == "none" else 1

    def on_mount(self) -> None:
        system = None if self.app.no_color else self.app.console.color_system
        self._depth = DEPTHS.get(system or "", "none")

    def on_resize(self) -> None:
        self._lay_out()
        self._reveal()

    def _lay_out(self) -> None:
        width = max(self.scrollable_content_region.width, 4)
        if self._laid_out != (width, self._shading.data):
            self._laid_out = (width, self._shading.data)
            self._lines = lay_out(self._shading.data, width)
        set_virtual_height(self, len(self._lines) * self._rows)

    def _where(self) -> tuple[int, Cell | None]:
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
        draw = self._marks if part else self._words
        return Strip([draw(cell, base) for cell in cells]).adjust_cell_length(self.size.width, base)

    def legend(self) -> list[tuple[str, Style]]:
        """The scale, from the least value to the largest, as text and style."""
        signed = self._shading.signed
        values = [n / 5 for n in range(-5, 6)] if signed else [n / 9 for n in range(10)]
        return [
            (self._glyph(one) if self._depth == "none" else " ", self._style(one, Style()))
            for one in values
        ]

    def _words(self, cell: Cell, base: Style) -> Segment:
        value = self._shading.values[cell.number]
        if cell.number == self._shading.target:
            style = base + self._part("target")
        elif value is None:
            style = base + self._part("faint")
        else:
            style = self._style(value, base)
        if cell.number == self.chosen:
            style += self._part("cursor")
        return Segment(cell.text, style)

    def _marks(self, cell: Cell, base: Style) -> Segment:
        value = self._shading.values[cell.number]
        mark = " " if value is None else self._glyph(value)
        return Segment(mark * cell.width, base)

    def _glyph(self, value: float) -> str:
        return signed_glyph(value) if self._shading.signed else glyph(value)

    def _style(self, value: float, base: Style) -> Style:
        if self._depth == "none":
            return base
        signed = self._shading.signed
        found = (signed_paint if signed else paint)(value, self._depth)
        below = signed and value < -0.05
        back, front = Color.from_rgb(*found.back), Color.from_rgb(*found.ink)
        return base + Style(color=front, bgcolor=back, underline=below)

    def _part(self, name: str) -> Style:
        return self.get_component_rich_style(f"shaded--{name}", partial=True)


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
