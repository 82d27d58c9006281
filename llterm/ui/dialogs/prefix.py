"""The hidden text before the story: memory, an author's note."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from llterm.ui.dialogs.text_dialogs import TextDialog


class PrefixDialog(TextDialog):
    """The model sees it before the story; readers don't. Kept in the loom."""

    TITLE = "Hidden prefix"
    KEYS = "^J keep   Esc give up"

    def body(self) -> ComposeResult:
        yield Static(
            "The model reads this before the story: who is who, what happened before,"
            " how it should sound. It is not part of the story.",
            classes="dialog--note",
            markup=False,
        )
        yield from super().body()
