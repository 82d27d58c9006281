"""Find in the story: a line under the editor, searching while one types."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message

from llterm.ui.widgets.fields import Field
from llterm.ui.widgets.status_line import StatusLine


def occurrences(text: str, wanted: str) -> list[int]:
    """Where `wanted` begins in `text`, in order; capitals count only if `wanted` has some."""
    if not wanted:
        return []
    if wanted.islower() and len(lowered := text.lower()) == len(text):
        text = lowered
    found, start = [], text.find(wanted)
    while start >= 0:
        found.append(start)
        start = text.find(wanted, start + len(wanted))
    return found


class FindBar(Horizontal):
    """Asks what to look for. The screen finds it and says where in all it is."""

    BINDINGS = [  # noqa: RUF012 (Textual's own form)
        Binding("down", "step(1)", "Next place", show=False),
        Binding("up", "step(-1)", "Place before", show=False),
    ]

    def __init__(self, where: str = "in the story", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._where = where

    @dataclass
    class Wanted(Message):
        """Look for this, from where the cursor is."""

        text: str

    @dataclass
    class Step(Message):
        """Go on to the next place (1) or back to the one before (-1)."""

        by: int

    def compose(self) -> ComposeResult:
        yield StatusLine(classes="find--word")
        yield Field(placeholder=f"find {self._where}")
        yield StatusLine(id="places")

    def on_mount(self) -> None:
        self.query_one(".find--word", StatusLine).say("find")

    def open(self) -> None:
        self.display = True
        entry = self.query_one(Field)
        entry.focus()
        entry.select_all()
        self.post_message(self.Wanted(entry.value))

    def close(self) -> None:
        self.display = False

    def say(self, number: int, total: int) -> None:
        """Which of the places the cursor is at, from 1; 0 of 0 where there is none."""
        wanted = self.query_one(Field).value
        text = f"{number} of {total}" if total else ("nothing found" if wanted else "")
        self.query_one("#places", StatusLine).say(text)

    @on(Field.Changed)
    def _changed(self, event: Field.Changed) -> None:
        event.stop()
        if self.display:
            self.post_message(self.Wanted(event.value))

    @on(Field.Submitted)
    def _submitted(self, event: Field.Submitted) -> None:
        event.stop()
        self.action_step(1)

    def action_step(self, by: int) -> None:
        self.post_message(self.Step(by))
