"""Beginnings to go on from: an empty page is the hardest place to start."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llterm.core.stories import STORIES
from llterm.ui.screens.dialog import Dialog


class Stories(Dialog[int]):
    """Gives back the number of the chosen story, from 0."""

    TITLE = "Begin with"
    KEYS = "⏎ or number   Esc my own words"
    BINDINGS = [  # noqa: RUF012
        *(Binding(str(n), f"choose({n - 1})", show=False) for n in range(1, len(STORIES) + 1)),
        Binding("j", "move('down')", show=False),
        Binding("k", "move('up')", show=False),
    ]

    def body(self) -> ComposeResult:
        options = [
            Option(
                Content.assemble(
                    f"{number}  ",
                    (story.title, "bold"),
                    (f"\n{story.text[:150].rstrip()} …\n", "$ghost"),
                )
            )
            for number, story in enumerate(STORIES, 1)
        ]
        yield OptionList(*options, markup=False, compact=True)

    def action_choose(self, number: int) -> None:
        self.dismiss(number)

    def action_move(self, direction: str) -> None:
        options = self.query_one(OptionList)
        options.action_cursor_down() if direction == "down" else options.action_cursor_up()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_index)
