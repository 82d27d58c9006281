"""Small questions: a line, or a text."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widgets import Input, Static

from llterm.ui.screens.dialog import Dialog
from llterm.ui.screens.edit_branch import TextDialog


class AskLine(Dialog[str]):
    """One line; gives back what stands in it."""

    KEYS = "⏎ done   Esc give up"

    def __init__(self, title: str, note: str, value: str = "") -> None:
        super().__init__()
        self._heading = title
        self._note, self._value = note, value

    @property
    def heading(self) -> str:
        return self._heading

    def body(self) -> ComposeResult:
        yield Static(self._note, classes="dialog--note", markup=False)
        yield Input(self._value, compact=True)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


class AskText(TextDialog):
    """A text of any length."""

    KEYS = "^J done   Esc give up"

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__(text)
        self._heading = title

    @property
    def heading(self) -> str:
        return self._heading
