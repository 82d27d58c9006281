"""Where a person types a line, or a text: a suggestion to rewrite, a note, the hidden prefix."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from llterm.core.display_text import area_text
from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.widgets.fields import Area, Field


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


class AskText(TextDialog):
    """A text of any length."""

    KEYS = "^J done   Esc give up"

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__(text)
        self.title = title


class PrefixDialog(TextDialog):
    """The model sees it before the story; readers don't. Kept in the loom."""

    TITLE = "Hidden prefix"
    KEYS = "^J keep   Esc give up"

    def body(self) -> ComposeResult:
        yield Static(
            "The model reads this before the story: who is who, what happened before,"
            " how it should sound. It is not part of the story.",
            classes="dialog--note",
            markup=False,
        )
        yield from super().body()
