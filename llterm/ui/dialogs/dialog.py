"""The frame of every dialog: a titled box, keys on its last line, escape closes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from llterm.core.display import field_text

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """A box over the main screen. Subclasses give `TITLE`, `KEYS` and `body()`."""

    KEYS = "Esc close"
    BINDINGS = [Binding("escape,ctrl+q", "cancel", "Close", show=False)]  # noqa: RUF012

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(field_text(self.title or ""))
            yield from self.body()
            yield Static(self.KEYS, classes="dialog--keys", markup=False)

    @abstractmethod
    def body(self) -> ComposeResult:
        """What stands in the box."""

    def action_cancel(self) -> None:
        self.dismiss(None)
