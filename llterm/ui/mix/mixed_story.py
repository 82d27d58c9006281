"""The mixed story: every token in the colour of the model that gave it, its letter below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style

from llterm.ramps import paint
from llterm.ui.mix.model_columns import HUES, VOICES
from llterm.ui.widgets.text_fit import crop
from llterm.ui.widgets.token_lines import Cell, TokenLines, upon

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

    COMPONENT_CLASSES = VOICES

    def __init__(self, picked: Callable[[int], None], *, id: str | None = None) -> None:
        """`picked` is called with the number of a token that was clicked."""
        super().__init__(id=id)
        self._picked = picked
        self.words: Sequence[ShownToken] = ()

    def show(self, words: Sequence[ShownToken], chosen: int) -> None:
        """Show these; the cursor is on token number `chosen`, or after the last."""
        if words == self.words and chosen == self.chosen:
            return
        self.words, self.chosen = words, chosen
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
        return [*(word.data for word in self.words), END]

    def _pick(self, number: int) -> None:
        self._picked(number)

    def _word(self, cell: Cell, base: Style) -> Segment:
        style = base
        if cell.number < len(self.words):
            style = self._style(self.words[cell.number], base)
        if cell.number == self.chosen:
            style += self._part("voices--chosen")
        return Segment(cell.text, style)

    def _mark(self, cell: Cell, base: Style) -> Segment:
        if cell.number >= len(self.words):
            return Segment(" " * cell.width, base)
        word = self.words[cell.number]
        style = (
            base + self._part("voices--faint") if word.heat is not None else self._style(word, base)
        )
        # A word that begins with a space has its letter under the first letter.
        indent = " " if cell.text.startswith(" ") and cell.width > len(word.mark) else ""
        return Segment(crop(indent + word.mark, cell.width).ljust(cell.width), style)

    def _style(self, word: ShownToken, base: Style) -> Style:
        if word.heat is not None and self.depth != "none":
            return base + upon(paint(word.heat, self.depth))
        return base if word.voice is None else base + self._part(f"voice--{word.voice % HUES}")
