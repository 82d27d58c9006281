"""What happened lately: the last lines of the log."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from llterm.ui.journal import JOURNAL
from llterm.ui.screens.dialog import Dialog


class Log(Dialog[None]):
    """Newest last. The same lines are in the log file."""

    TITLE = "Log"
    KEYS = "↑↓ scroll   Esc close"

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield Static("\n".join(JOURNAL.lines) or "Nothing yet.", markup=False)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).scroll_end(animate=False)
