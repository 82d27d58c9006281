"""Small questions: a line, or a text."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widgets import Static

from llterm.core.display import area_text
from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.dialogs.text_dialogs import TextDialog
from llterm.ui.widgets.fields import Field


class AskLine(Dialog[str]):
    """One line; gives back what stands in it."""

    KEYS = "⏎ done   Esc give up"

    def __init__(self, title: str, note: str, value: str = "") -> None:
        super().__init__()
        self.title = title
        self._note, self._value = note, value

    def body(self) -> ComposeResult:
        yield Static(area_text(self._note), classes="dialog--note", markup=False)
        yield Field(self._value)

    @on(Field.Submitted)
    def _submitted(self, event: Field.Submitted) -> None:
        self.dismiss(event.value)


class AskText(TextDialog):
    """A text of any length."""

    KEYS = "^J done   Esc give up"

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__(text)
        self.title = title
