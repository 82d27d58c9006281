"""What happened lately: the last lines of the log."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.log_buffer import LOG_BUFFER


class LogDialog(Dialog[None]):
    """Newest last. The same lines are in the log file."""

    TITLE = "Log"
    KEYS = "↑↓ scroll   Esc close"

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield Static("\n".join(LOG_BUFFER.lines) or "Nothing yet.", markup=False)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).scroll_end(animate=False)
