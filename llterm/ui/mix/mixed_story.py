"""The mixed story: every token in the colour of the model that gave it, its letter below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from llterm.ramps import paint
from llterm.ui.mix.model_columns import HUES
from llterm.ui.widgets.text_fit import crop
from llterm.ui.widgets.token_lines import Cell, TokenLines

END = "▏".encode()
"""Stands for what may come after the last token."""


@dataclass(frozen=True, slots=True)
class ShownToken:
    """A token as it is shown."""

    data: bytes
    mark: str = ""
    """What stands below it: letters of models."""
    voice: int | None = None
    """Whose it is."""
    heat: float | None = None
    """0 to 1: coloured by that rather than by the model."""


class MixedStory(TokenLines, can_focus=False):
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
        self._words: Sequence[ShownToken] = ()

    def show(self, words: Sequence[ShownToken], chosen: int) -> None:
        """Show these; the cursor is on token number `chosen`, or after the last."""
        if words == self._words and chosen == self.chosen:
            return
        self._words, self.chosen = words, chosen
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

    # --- painting

    def _tokens(self) -> Sequence[bytes]:
        return [*(word.data for word in self._words), END]

    def _pick(self, number: int) -> None:
        self._picked(number)

    def _word(self, cell: Cell, base: Style) -> Segment:
        style = base
        if cell.number < len(self._words):
            style = self._style(self._words[cell.number], base)
        if cell.number == self.chosen:
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

    def _style(self, word: ShownToken, base: Style) -> Style:
        if word.heat is not None and self._depth != "none":
            colors = paint(word.heat, self._depth)
            return base + Style(
                color=Color.from_rgb(*colors.ink), bgcolor=Color.from_rgb(*colors.back)
            )
        return base if word.voice is None else base + self._part(f"voice--{word.voice % HUES}")
