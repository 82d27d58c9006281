"""Asks once whether bans that an older llterm kept for every loom go into the open one."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Static

from llterm.core.display_text import area_text, label_text
from llterm.ui.dialogs.dialog import Dialog


class FormerBansDialog(Dialog[bool]):
    """Gives back whether they are taken; None where it was not answered."""

    TITLE = "Bans of an older llterm"
    KEYS = "Y put them in this loom   N or Esc drop them   ↑↓ scroll"
    BINDINGS = [  # noqa: RUF012
        Binding("y,Y", "answer(True)", "Take them", show=False),
        Binding("n,N,escape", "answer(False)", "Drop them", show=False),
    ]

    def __init__(self, lines: Sequence[str]) -> None:
        """`lines`: each ban and bias, as it is told."""
        super().__init__()
        self._lines = lines

    def body(self) -> ComposeResult:
        yield Static(
            "They were in force in every loom. Now each loom has its own, and these are in force"
            " nowhere. Put them in this loom? One undo takes them back. It is asked once.",
            classes="dialog--note",
            markup=False,
        )
        with VerticalScroll():
            yield Static(area_text("\n".join(map(label_text, self._lines))), markup=False)

    def action_answer(self, taken: bool) -> None:
        self.dismiss(taken)
