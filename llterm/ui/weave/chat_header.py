"""What stands before the story in a chat: one folded line, or every token of the template."""

from __future__ import annotations

import re

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from llterm.core.chat_messages import ChatParts
from llterm.core.display_text import label_text
from llterm.ui.widgets.text_fit import crop


class ChatHeader(VerticalScroll, can_focus=False):
    """Shows the parts of a chat; a click folds and unfolds it."""

    class Toggled(Message):
        """It was clicked."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.folded = True
        self._parts: ChatParts = ()
        self._note = ""
        self._special: frozenset[str] = frozenset()

    def compose(self) -> ComposeResult:
        yield Static(markup=False)

    def show(self, parts: ChatParts, special: frozenset[str], note: str) -> None:
        """Show these; `special` are names of special tokens, `note` says what they are."""
        if (parts, special, note) != (self._parts, self._special, self._note):
            self._parts, self._special, self._note = parts, special, note
            self._fill()

    def toggle(self) -> None:
        """Every token of the template, or one line."""
        self.folded = not self.folded
        self._fill()

    def on_resize(self) -> None:
        self._fill()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Toggled())

    def _fill(self) -> None:
        said = " · ".join(label_text(part.text) for part in self._parts if part.written)
        width = max(self.size.width, 8)
        head = crop(f"{'▸' if self.folded else '▾'} {self._note}  {said}", width)
        content = Content(head if self.folded else crop(f"▾ {self._note}", width))
        if not self.folded:
            content = Content("\n").join([content, self._unfolded()])
        self.query_one(Static).update(content)

    def _unfolded(self) -> Content:
        """Everything the model reads: special tokens by name, line breaks seen and kept."""
        names = sorted(map(re.escape, self._special), key=len, reverse=True)
        pattern = re.compile(f"({'|'.join(names)})" if names else "(?!)")
        pieces: list[Content] = []
        for part in self._parts:
            if part.written:
                pieces.append(Content.styled(_lines(part.text), "$foreground"))
                continue
            for piece in pattern.split(part.text):
                style = "$accent" if piece in self._special else "$ghost"
                pieces.append(Content.styled(_lines(piece), style))
        return Content("").join(pieces)


def _lines(text: str) -> str:
    """Inert, with its line breaks both seen and kept."""
    return "⏎\n".join(label_text(line) if line else "" for line in text.split("\n"))
