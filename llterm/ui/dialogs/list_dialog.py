"""Dialogs over a list: of something to choose, and of files that can be renamed and deleted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from textual.binding import Binding
from textual.widgets import OptionList

from llterm.errors import LltermError
from llterm.ui.dialogs.dialog import Dialog, Result
from llterm.ui.notices import show_trouble


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
