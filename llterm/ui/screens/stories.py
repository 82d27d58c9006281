"""Beginnings to go on from: an empty page is the hardest place to start."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llterm.core.display import display_text, visible
from llterm.core.stories import Story
from llterm.errors import LltermError
from llterm.session import stories
from llterm.ui.screens.ask import AskLine
from llterm.ui.screens.dialog import Dialog

BEGINNING = 150
"""Characters of a story that are shown."""


def heading(story: Story) -> str:
    """A story's name, as it may be shown."""
    return visible(story.title.encode("utf-8", "surrogateescape"))


def beginning(story: Story) -> str:
    """How a story begins, as it may be shown."""
    text = display_text(story.text.encode("utf-8", "replace"))
    return text if len(text) <= BEGINNING else text[:BEGINNING].rstrip() + " …"


class Stories(Dialog[Story]):
    """Gives back the chosen story. Those of the person's own can be renamed and deleted."""

    TITLE = "Begin with"
    KEYS = "⏎ or number   R rename   D delete   U undo   Esc my own words"
    BINDINGS = [  # noqa: RUF012
        *(Binding(str(n), f"choose({n - 1})", show=False) for n in range(1, 10)),
        Binding("j", "move('down')", show=False),
        Binding("k", "move('up')", show=False),
        Binding("r", "rename", show=False),
        Binding("d,delete", "delete", show=False),
        Binding("u,ctrl+z", "restore", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._stories: Sequence[Story] = ()
        self._gone: list[Callable[[], None]] = []

    def body(self) -> ComposeResult:
        yield OptionList(markup=False, compact=True)

    def on_mount(self) -> None:
        self._list(0)
        self.query_one(OptionList).focus()

    def _list(self, index: int) -> None:
        self._stories = stories.starting_stories()
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(
            Option(
                Content.assemble(
                    f"{number}  " if number < 10 else "   ",
                    (heading(story), "bold"),
                    ("  yours", "$ghost") if story.path else "",
                    (f"\n{beginning(story)}\n", "$ghost"),
                )
            )
            for number, story in enumerate(self._stories, 1)
        )
        options.highlighted = min(index, options.option_count - 1)

    @property
    def _story(self) -> Story:
        return self._stories[self.query_one(OptionList).highlighted or 0]

    def action_choose(self, number: int) -> None:
        if number < len(self._stories):
            self.dismiss(self._stories[number])

    def action_move(self, direction: str) -> None:
        options = self.query_one(OptionList)
        options.action_cursor_down() if direction == "down" else options.action_cursor_up()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._stories[event.option_index])

    def action_rename(self) -> None:
        story = self._story

        def done(title: str | None) -> None:
            if title:
                self._do(lambda: stories.rename(story, title), f"renamed to {title}")

        if story.path is None:
            self._do(lambda: stories.rename(story, story.title), "")
        else:
            self.app.push_screen(AskLine("Rename the story", str(story.path), story.title), done)

    def action_delete(self) -> None:
        story = self._story
        self._do(lambda: self._gone.append(stories.delete(story)), "deleted, U brings it back")

    def action_restore(self) -> None:
        if self._gone:
            self._do(lambda: self._gone.pop()(), "it is back")

    def _do(self, work: Callable[[], object], said: str) -> None:
        try:
            work()
        except LltermError as error:
            self.notify(
                " ".join(filter(None, (error.cause, error.hint))) or " ",
                title=error.title, severity="warning", markup=False,
            )  # fmt: skip
            return
        self._list(self.query_one(OptionList).highlighted or 0)
        self.notify(said, markup=False, timeout=3)
