"""Beginnings to go on from: an empty page is the hardest place to start."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llterm.core.display_text import area_text, label_text
from llterm.session import stories
from llterm.session.stories import Story
from llterm.ui.dialogs.dialog import FilesDialog
from llterm.ui.dialogs.text_dialogs import AskLine

BEGINNING = 150
"""Characters of a story that are shown."""


def heading(story: Story) -> str:
    """A story's name, as it may be shown."""
    return label_text(story.title)


def beginning(story: Story) -> str:
    """How a story begins, as it may be shown."""
    text = area_text(story.text)
    return text if len(text) <= BEGINNING else text[:BEGINNING].rstrip() + " …"


class StoriesDialog(FilesDialog[Story]):
    """Gives back the chosen story. Those of the person's own can be renamed and deleted."""

    TITLE = "Begin with"
    KEYS = "⏎ or number  R rename  D delete  U undo  Esc none"
    BINDINGS = [  # noqa: RUF012
        *(Binding(str(n), f"choose({n - 1})", show=False) for n in range(1, 10)),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._stories: Sequence[Story] = ()

    def body(self) -> ComposeResult:
        yield OptionList(markup=False, compact=True)

    def on_mount(self) -> None:
        self._list(0)
        self.options.focus()

    def _list(self, index: int) -> None:
        self._stories = stories.starting_stories()
        options = self.options
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
        return self._stories[self.options.highlighted or 0]

    def action_choose(self, number: int) -> None:
        if number < len(self._stories):
            self.dismiss(self._stories[number])

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

    def _delete(self) -> Callable[[], object]:
        return stories.delete(self._story)
