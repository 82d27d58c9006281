"""Dialogs that only tell: the log, and what a model's server can and cannot do."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from llterm.backends.remote.server_usage import ServerBackend
from llterm.core.display_text import label_text
from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.notices import LOG_BUFFER
from llterm.ui.server_words import state_words


class LogDialog(Dialog[None]):
    """Newest last. The same lines are in the log file."""

    TITLE = "Log"
    KEYS = "↑↓ scroll   Esc close"

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield Static("\n".join(LOG_BUFFER.lines) or "Nothing yet.", markup=False)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).scroll_end(animate=False)


class ServerDialog(Dialog[None]):
    """Row by row; what a server lacks is told with what that means."""

    TITLE = "Server"
    KEYS = "↑↓ scroll   Esc close"

    def __init__(self, server: ServerBackend) -> None:
        super().__init__()
        self._server = server

    def body(self) -> ComposeResult:
        transport = self._server.transport
        rows = [
            ("address", transport.name),
            *self._server.explained,
            ("requests at once", f"{transport.parallel} at most"),
            ("so far", transport.spent.summary()),
        ]
        with VerticalScroll():
            for label, told in rows:
                yield Static(Content.assemble((f"{label:<22}", "bold"), label_text(told)))
            yield Static(id="absences", markup=False)

    def on_mount(self) -> None:
        self._end_news = self._server.news.listen(self._show_absences)
        self._show_absences()

    def on_unmount(self) -> None:
        self._end_news()

    def _show_absences(self) -> None:
        """The addresses that do not answer, as that is now."""
        absences = self._server.news.absences
        lines = [f"{one.address}: {state_words(one)}" for one in absences]
        line = self.query_one("#absences", Static)
        line.display = bool(lines)
        line.update(Content("\n".join(map(label_text, lines))))
