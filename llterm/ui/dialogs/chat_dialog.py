"""What the story is a reply to, turn by turn, and how the model is to behave."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Label, Static

from llterm.core.chat_messages import Chat, ChatMessage, Role
from llterm.errors import LltermError
from llterm.formats.dialogue import Dialogue, load_dialogue
from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.dialogs.text_dialogs import AskLine
from llterm.ui.notices import refusal
from llterm.ui.widgets.fields import Area

_WHOSE: dict[Role, str] = {
    "user": "you say", "assistant": "the model says", "system": "how it is to behave from here on",
}  # fmt: skip


class ChatDialog(Dialog[Dialogue]):
    """Gives back the chat; an empty one makes the loom a story again."""

    TITLE = "Chat"
    KEYS = "^J keep   F3 F4 turn   F5 add   F6 whose   F8 from a file   Esc"
    BINDINGS = [  # noqa: RUF012
        Binding("ctrl+j,ctrl+enter,ctrl+s", "done", "Done", show=False, priority=True),
        Binding("f3", "move(-1)", show=False, priority=True),
        Binding("f4", "move(1)", show=False, priority=True),
        Binding("f5", "add", show=False, priority=True),
        Binding("f6", "whose", show=False, priority=True),
        Binding("f8", "open", show=False, priority=True),
    ]

    def __init__(self, chat: Chat) -> None:
        super().__init__()
        self._turns: list[ChatMessage] = []
        self._at = 0
        self._system = chat.system
        self._take(Dialogue(chat))

    def body(self) -> ComposeResult:
        yield Static("", id="whose", classes="dialog--note", markup=False)
        yield Area(id="message")
        yield Label("How it is to behave (system message)", classes="dialog--note")
        yield Area(self._system, id="system")
        yield Static(
            "The story is the model's reply. An empty turn is left out; all empty: no chat.",
            id="told", classes="setting--note", markup=False,
        )  # fmt: skip

    def on_mount(self) -> None:
        self._show()
        self._message.focus()

    @property
    def _message(self) -> Area:
        return self.query_one("#message", Area)

    def action_move(self, by: int) -> None:
        """Look at the turn before, or the next one."""
        self._keep()
        self._at = min(max(self._at + by, 0), len(self._turns) - 1)
        self._show()

    def action_add(self) -> None:
        """Another turn after this one, the other side's."""
        self._keep()
        role: Role = "assistant" if self._turns[self._at].role == "user" else "user"
        self._at += 1
        self._turns.insert(self._at, ChatMessage(role, ""))
        self._show()
        self._message.focus()

    def action_whose(self) -> None:
        """Let somebody else have said it."""
        self._keep()
        roles = list(_WHOSE)
        turn = self._turns[self._at]
        role = roles[(roles.index(turn.role) + 1) % len(roles)]
        self._turns[self._at] = turn._replace(role=role)
        self._show()

    def action_open(self) -> None:
        """Take the messages of a file in place of these."""

        def chosen(name: str | None) -> None:
            if not name:
                return
            try:
                dialogue = load_dialogue(Path(name).expanduser())
            except LltermError as error:
                self.note(refusal(error), wrong=True)
            except RuntimeError as error:
                self.note(f"✗ {error}", wrong=True)
            else:
                self._take(dialogue)
                self.query_one("#system", Area).text = self._system
                self._show()

        note = "A JSON file of messages: its turns take the place of these."
        self.app.push_screen(AskLine("Chat from a file", note), chosen)

    def action_done(self) -> None:
        self._keep()
        system = self.query_one("#system", Area).text
        dialogue = Dialogue.of(
            [one for one in (ChatMessage("system", system), *self._turns) if one.content]
        )
        if dialogue.reply and not dialogue.chat:
            said = "✗ Nothing is said before the reply: F5 adds a turn, F6 says whose it is."
            self.note(said, wrong=True)
            return
        self.dismiss(dialogue)

    def _take(self, dialogue: Dialogue) -> None:
        """Look at this chat, at its last turn."""
        self._system, said = dialogue.chat.system, dialogue.chat.said()
        turns = list(said[1:] if self._system else said)
        if dialogue.reply:
            turns.append(ChatMessage("assistant", dialogue.reply))
        self._turns = turns or [ChatMessage("user", "")]
        self._at = len(self._turns) - 1

    def _keep(self) -> None:
        self._turns[self._at] = self._turns[self._at]._replace(content=self._message.text)

    def _show(self) -> None:
        turn, count = self._turns[self._at], len(self._turns)
        whose = _WHOSE[turn.role]
        if turn.role == "assistant" and self._at == count - 1:
            whose = "the model's reply begins"
        place = f"Turn {self._at + 1:,} of {count:,}: " if count > 1 else ""
        told = f"{place}{whose}"
        self.query_one("#whose", Static).update(told[:1].upper() + told[1:])
        area = self._message
        area.text = turn.content
        area.move_cursor(area.document.end)
