"""A suggestion, to be rewritten before it is accepted."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding

from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.widgets.fields import Area


class TextDialog(Dialog[str]):
    """A small editor; gives back its text, or None when the person gave up."""

    BINDINGS = [Binding("ctrl+j,ctrl+enter,ctrl+s", "done", "Done", show=False, priority=True)]  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def body(self) -> ComposeResult:
        yield Area(self._text)

    def on_mount(self) -> None:
        area = self.query_one(Area)
        area.move_cursor(area.document.end)

    def action_done(self) -> None:
        self.dismiss(self.query_one(Area).text)


class EditBranch(TextDialog):
    """The text of a branch as it would be added to the story."""

    TITLE = "Edit the suggestion"
    KEYS = "^J accept   Esc give up"


class PutText(TextDialog):
    """A text to stand where a token of the story stands."""

    TITLE = "Put a text here"
    KEYS = "^J put it here; the old text stays a branch   Esc give up"
