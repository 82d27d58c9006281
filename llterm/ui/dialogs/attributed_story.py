"""A text as prose, each token upon the colour of a value: prose with a cursor.

Without colours a line of glyphs stands under every line of text. Values below 0 are underlined, so
that their sign does not rest on a hue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding

from llterm.ramps import glyph, paint, signed_glyph, signed_paint
from llterm.ui.widgets.token_lines import Cell, TokenLines, upon


@dataclass(frozen=True, slots=True)
class TokenShading:
    """What is shown: one entry a token."""

    data: Sequence[bytes] = ()
    values: Sequence[float | None] = ()
    """−1 to 1; None: it has none."""
    signed: bool = False
    target: int = -1
    """Number of the token that the values are about; it has none itself."""


class AttributedStory(TokenLines, can_focus=True):
    """Tokens in lines; arrows, home, end and the mouse move the cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"shaded--cursor", "shaded--faint", "shaded--target"}
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
        self._shading = TokenShading()

    def show(self, shading: TokenShading) -> None:
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

    # --- painting

    def _tokens(self) -> Sequence[bytes]:
        return self._shading.data

    def _pick(self, number: int) -> None:
        self.go_to(number)

    @property
    def _rows(self) -> int:
        return 2 if self.depth == "none" else 1

    def legend(self) -> list[tuple[str, Style]]:
        """The scale, from the least value to the largest, as text and style."""
        signed = self._shading.signed
        values = [n / 5 for n in range(-5, 6)] if signed else [n / 9 for n in range(10)]
        return [
            (self._glyph(one) if self.depth == "none" else " ", self._style(one, Style()))
            for one in values
        ]

    def _word(self, cell: Cell, base: Style) -> Segment:
        value = self._shading.values[cell.number]
        if cell.number == self._shading.target:
            style = base + self._part("shaded--target")
        elif value is None:
            style = base + self._part("shaded--faint")
        else:
            style = self._style(value, base)
        if cell.number == self.chosen:
            style += self._part("shaded--cursor")
        return Segment(cell.text, style)

    def _mark(self, cell: Cell, base: Style) -> Segment:
        value = self._shading.values[cell.number]
        mark = " " if value is None else self._glyph(value)
        return Segment(mark * cell.width, base)

    def _glyph(self, value: float) -> str:
        return signed_glyph(value) if self._shading.signed else glyph(value)

    def _style(self, value: float, base: Style) -> Style:
        if self.depth == "none":
            return base
        signed = self._shading.signed
        colors = (signed_paint if signed else paint)(value, self.depth)
        return base + upon(colors) + Style(underline=signed and value < -0.05)
