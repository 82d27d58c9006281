"""Find in a text: a line under it, searching while one types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message

from llterm.ui.widgets.fields import Field
from llterm.ui.widgets.status_line import StatusLine

T = TypeVar("T")
"""A place found: what the screen needs to go there."""


def occurrences(text: str, wanted: str) -> list[int]:
    """Where `wanted` begins in `text`, in order; capitals count only if `wanted` has some."""
    if not wanted:
        return []
    if wanted.islower() and len(lowered := text.lower()) == len(text):
        text = lowered
    places, start = [], text.find(wanted)
    while start >= 0:
        places.append(start)
        start = text.find(wanted, start + len(wanted))
    return places


class FindBar(Horizontal, Generic[T]):
    """Asks what to look for, and keeps the places that the screen finds."""

    BINDINGS = [  # noqa: RUF012 (Textual's own form)
        Binding("down", "step(1)", "Next place", show=False),
        Binding("up", "step(-1)", "Place before", show=False),
    ]

    def __init__(self, where: str = "in the story", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._where = where
        self.hits: Sequence[T] = ()
        self.number = 0
        """Of the place that the screen is at."""
        self.origin = 0
        """Where in the story the search began."""

    @dataclass
    class PhraseChanged(Message):
        """Look for this, from where the search began."""

        text: str

    @dataclass
    class Stepped(Message):
        """Go on to the next place (1) or back to the one before (-1)."""

        by: int

    def compose(self) -> ComposeResult:
        yield StatusLine(classes="find--word")
        yield Field(placeholder=self._where)
        yield StatusLine(id="places")

    def on_mount(self) -> None:
        self.query_one(".find--word", StatusLine).say("find")

    def open(self) -> None:
        self.display = True
        entry = self.query_one(Field)
        entry.focus()
        entry.select_all()
        self.post_message(self.PhraseChanged(entry.value))

    def close(self) -> None:
        self.display = False

    @property
    def hit(self) -> T | None:
        """The place that the screen is at."""
        return self.hits[self.number] if self.hits else None

    def find(self, hits: Sequence[T], number: int = 0) -> T | None:
        """These were found; the one to go to."""
        self.hits, self.number = hits, number
        self._tell()
        return self.hit

    def step(self, by: int) -> T | None:
        """The next place, or the one before; round at the ends."""
        if self.hits:
            self.number = (self.number + by) % len(self.hits)
            self._tell()
        return self.hit

    def _tell(self) -> None:
        phrase, count = self.query_one(Field).value, len(self.hits)
        text = f"{self.number + 1} of {count}" if count else ("nothing found" if phrase else "")
        places = self.query_one("#places", StatusLine)
        places.styles.width = cell_len(text)
        places.say(text)

    @on(Field.Changed)
    def _changed(self, event: Field.Changed) -> None:
        event.stop()
        if self.display:
            self.post_message(self.PhraseChanged(event.value))

    @on(Field.Submitted)
    def _submitted(self, event: Field.Submitted) -> None:
        event.stop()
        self.action_step(1)

    def action_step(self, by: int) -> None:
        self.post_message(self.Stepped(by))
