"""The mixed story: every token in the colour of the model that gave it, its letter below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from llterm.ramps import Depth, paint
from llterm.ui.widgets.cells import crop
from llterm.ui.widgets.scrolling import set_virtual_height
from llterm.ui.widgets.shaded import DEPTHS, Cell, lay_out
from llterm.ui.widgets.voices import HUES

END = "▏".encode()
"""Stands for what may come after the last token."""


@dataclass(frozen=True, slots=True)
class Word:
    """A token as it is shown."""

    data: bytes
    mark: str = ""
    """What stands below it: letters of models."""
    voice: int | None = None
    """Whose it is."""
    heat: float | None = None
    """0 to 1: coloured by that rather than by the model."""


class Voiced(ScrollView, can_focus=False):
    """Tokens in lines, a line of marks under each; the screen moves the cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "voices--chosen",
        "voices--faint",
        *(f"voice--{n}" for n in range(HUES)),
    }

    def __init__(self, picked: Callable[[int], None], *, id: str | None = None) -> None:
        """`picked` is called with the number of a token that was clicked."""
        super().__init__(id=id)
        self._picked = picked
        self._depth: Depth = "none"
        self._words: Sequence[Word] = ()
        self._lines: list[list[Cell]] = []
        self._laid_out: tuple[int, list[bytes]] = (0, [])
        self._chosen = 0

    def show(self, words: Sequence[Word], chosen: int) -> None:
        """Show these; the cursor is on token number `chosen`, or after the last."""
        if words == self._words and chosen == self._chosen:
            return
        self._words, self._chosen = words, chosen
        self._lay_out()
        self._reveal()
        self.refresh()

    def line_of(self, number: int, step: int) -> int:
        """The token that stands `step` lines away, nearest below or above."""
        line, cell = self._where()
        target = min(max(line + step, 0), len(self._lines) - 1)
        if cell is None or not self._lines[target]:
            return number
        return min(self._lines[target], key=lambda one: abs(one.left - cell.left)).number

    async def _on_click(self, event: events.Click) -> None:
        line = (event.y + int(self.scroll_offset.y)) // 2
        if line < len(self._lines):
            found = [one for one in self._lines[line] if one.left <= event.x < one.left + one.width]
            if found:
                self._picked(found[0].number)

    # --- layout

    def on_mount(self) -> None:
        system = None if self.app.no_color else self.app.console.color_system
        self._depth = DEPTHS.get(system or "", "none")

    def on_resize(self) -> None:
        self._lay_out()
        self._reveal()

    def _lay_out(self) -> None:
        width = max(self.scrollable_content_region.width, 4)
        data = [*(word.data for word in self._words), END]
        if self._laid_out != (width, data):
            self._laid_out = (width, data)
            self._lines = lay_out(data, width)
        set_virtual_height(self, 2 * len(self._lines))

    def _where(self) -> tuple[int, Cell | None]:
        for number, line in enumerate(self._lines):
            for cell in line:
                if cell.number == self._chosen:
                    return number, cell
        return 0, None

    def _reveal(self) -> None:
        line, _ = self._where()
        self.scroll_to_region(Region(0, 2 * line, 1, 2), animate=False, force=True)

    # --- painting

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        line, part = divmod(y + int(self.scroll_offset.y), 2)
        cells = self._lines[line] if line < len(self._lines) else []
        draw = self._mark if part else self._word
        return Strip([draw(cell, base) for cell in cells]).adjust_cell_length(self.size.width, base)

    def _word(self, cell: Cell, base: Style) -> Segment:
        style = base
        if cell.number < len(self._words):
            style = self._style(self._words[cell.number], base)
        if cell.number == self._chosen:
            style += self._part("voices--chosen")
        return Segment(cell.text, style)

    def _mark(self, cell: Cell, base: Style) -> Segment:
        if cell.number >= len(self._words):
            return Segment(" " * cell.width, base)
        word = self._words[cell.number]
        style = (
            base + self._part("voices--faint") if word.heat is not None else self._style(word, base)
        )
        # A word that begins with a space has its letter under the first letter.
        indent = " " if cell.text.startswith(" ") and cell.width > len(word.mark) else ""
        return Segment(crop(indent + word.mark, cell.width).ljust(cell.width), style)

    def _style(self, word: Word, base: Style) -> Style:
        if word.heat is not None and self._depth != "none":
            found = paint(word.heat, self._depth)
            return base + Style(
                color=Color.from_rgb(*found.ink), bgcolor=Color.from_rgb(*found.back)
            )
        return base if word.voice is None else base + self._part(f"voice--{word.voice % HUES}")

    def _part(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)
