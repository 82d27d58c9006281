"""What the story is a reply to: how the model is to behave, and what is said to it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Label, TextArea

from llterm.core.chat import Chat
from llterm.ui.screens.dialog import Dialog


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
        yield self._area(self._chat.message, "message")
        yield Label("How it is to behave (system message)", classes="dialog--note")
        yield self._area(self._chat.system, "system")

    def on_mount(self) -> None:
        area = self.query_one("#message", TextArea)
        area.move_cursor(area.document.end)
        area.focus()

    def action_done(self) -> None:
        system, message = (self.query_one(f"#{id}", TextArea).text for id in ("system", "message"))
        self.dismiss(Chat(system.strip(), message.strip()))

    def _area(self, text: str, id: str) -> TextArea:
        area = TextArea(
            text, soft_wrap=True, compact=True, highlight_cursor_line=False, id=id,
            tab_behavior="focus",
        )  # fmt: skip
        area.cursor_blink = False
        return area
