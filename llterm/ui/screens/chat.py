"""What the story is a reply to: how the model is to behave, and what is said to it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Label

from llterm.core.chat import Chat
from llterm.ui.screens.dialog import Dialog
from llterm.ui.widgets.fields import Area


class ChatDialog(Dialog[Chat]):
    """Gives back the chat; an empty one makes the loom a story again."""

    TITLE = "Chat"
    KEYS = "^J keep; both empty: no chat   ⇥ the other field   Esc give up"
    BINDINGS = [Binding("ctrl+j,ctrl+enter,ctrl+s", "done", "Done", show=False, priority=True)]  # noqa: RUF012

    def __init__(self, chat: Chat) -> None:
        super().__init__()
        self._chat = chat

    def body(self) -> ComposeResult:
        yield Label("What you say; the story is the model's reply", classes="dialog--note")
        yield Area(self._chat.message, id="message")
        yield Label("How it is to behave (system message)", classes="dialog--note")
        yield Area(self._chat.system, id="system")

    def on_mount(self) -> None:
        area = self.query_one("#message", Area)
        area.move_cursor(area.document.end)
        area.focus()

    def action_done(self) -> None:
        system, message = (self.query_one(f"#{id}", Area).text for id in ("system", "message"))
        self.dismiss(Chat(system.strip(), message.strip()))
