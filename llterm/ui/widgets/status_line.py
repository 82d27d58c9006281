"""One line of pieces, left and right, that repaints only when it says something else."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from llterm.ui.widgets.text_fit import fit_pieces


class StatusLine(Static):
    """A line of text. What it says is never markup."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("", id=id, classes=classes, markup=False)
        self._pieces: Sequence[str] = ()

    def say(self, *pieces: str) -> None:
        """Say as many of these as fit, most telling first, in their order."""
        if tuple(pieces) != tuple(self._pieces):
            self._pieces = pieces
            self._fill()

    def on_resize(self) -> None:
        self._fill()

    def _fill(self) -> None:
        line = fit_pieces(list(self._pieces), max(self.size.width, 1))
        if str(self.content) != line:
            self.update(Content(line), layout=False)


class NameLine(StatusLine):
    """The story's name and length; the name is kept and cut last."""

    def _fill(self) -> None:
        name, *rest = self._pieces or ("",)
        line = fit_pieces([name, *rest], max(self.size.width, 1))
        content = Content(line).stylize("bold", 0, min(len(name), len(line)))
        if self.content != content:
            self.update(content, layout=False)
