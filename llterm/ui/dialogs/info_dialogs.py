"""What a model's server can tell and what not, and what went over the wire to it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from llterm.backends.remote.backend import RemoteBackend
from llterm.core.display import label_text
from llterm.ui.dialogs.dialog import Dialog


class ServerDialog(Dialog[None]):
    """Row by row; what a server lacks is told with what that means."""

    TITLE = "Server"
    KEYS = "↑↓ scroll   Esc close"

    def __init__(self, server: RemoteBackend) -> None:
        super().__init__()
        self._server = server

    def body(self) -> ComposeResult:
        wire = self._server.wire
        rows = [
            ("address", wire.name),
            *self._server.told,
            ("requests at once", f"{wire.parallel} at most"),
            ("so far", wire.spent.told()),
        ]
        with VerticalScroll():
            for label, told in rows:
                yield Static(_row(label, told))


def _row(label: str, told: str) -> Content:
    return Content.assemble((f"{label:<22}", "bold"), label_text(told))
