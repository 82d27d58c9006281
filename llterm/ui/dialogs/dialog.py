"""The frame of every dialog, and of those over a list: of something to choose, or of files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from llterm.core.display_text import field_text
from llterm.errors import LltermError
from llterm.ui.notice_place import place_notices
from llterm.ui.notices import show_trouble
from llterm.ui.widgets.key_line import KeyLine

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """A box over the main screen. Subclasses give `TITLE`, `KEYS` and `body()`."""

    KEYS = "Esc close"
    BINDINGS = [Binding("escape,ctrl+q", "cancel", "Close", show=False)]  # noqa: RUF012

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(field_text(self.title or ""))
            yield from self.body()
            yield KeyLine(self.KEYS, classes="dialog--keys")

    @on(events.ScreenResume)
    @on(events.Resize)
    def _place_notices(self) -> None:
        self.call_after_refresh(place_notices, self)

    @abstractmethod
    def body(self) -> ComposeResult:
        """What stands in the box."""

    def note(self, text: str, *, wrong: bool = False) -> None:
        """Say something on the line that the body has for it."""
        line = self.query_one(".setting--note", Static)
        line.set_class(wrong, "-wrong")
        line.update(text)

    def action_cancel(self) -> None:
        self.dismiss(None)


class ListDialog(Dialog[Result]):
    """Its body has one list, in which j and k move as the arrows do."""

    BINDINGS = [  # noqa: RUF012
        Binding("j", "move('down')", show=False),
        Binding("k", "move('up')", show=False),
    ]

    @property
    def options(self) -> OptionList:
        return self.query_one(OptionList)

    def action_move(self, direction: str) -> None:
        options = self.options
        options.action_cursor_down() if direction == "down" else options.action_cursor_up()


class FilesDialog(ListDialog[Result]):
    """A list of files. What is deleted can come back while the dialog is open."""

    BINDINGS = [  # noqa: RUF012
        Binding("r", "rename", show=False),
        Binding("d,delete", "delete", show=False),
        Binding("u,ctrl+z", "restore", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._gone: list[Callable[[], object]] = []
        """How to bring back each that was deleted."""

    @abstractmethod
    def _list(self, index: int) -> None:
        """Fill the list anew, with this row highlighted."""

    @abstractmethod
    def action_rename(self) -> None:
        """Ask for another name."""

    @abstractmethod
    def _delete(self) -> Callable[[], object]:
        """Delete the highlighted one; how to bring it back. Raises LltermError."""

    def action_delete(self) -> None:
        self._do(lambda: self._gone.append(self._delete()), "deleted, U brings it back")

    def action_restore(self) -> None:
        if self._gone:
            self._do(lambda: self._gone.pop()(), "it is back")

    def _do(self, work: Callable[[], object], said: str) -> None:
        """Do it and say so, or say why not."""
        try:
            work()
        except LltermError as error:
            show_trouble(self, error)
            return
        self._list(self.options.highlighted or 0)
        self.notify(said, markup=False, timeout=3)
