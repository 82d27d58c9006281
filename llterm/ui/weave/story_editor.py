"""The story editor: a text area whose document is elsewhere.

Whatever changes the text (typing, kill keys, paste, replace, undo) goes to the story first, in
display offsets, and the text area is changed as the answer says. Its own undo history is off.
"""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding
from textual.document._document import EditResult, Location
from textual.document._edit import Edit
from textual.document._history import EditHistory

from llterm.errors import LltermError
from llterm.session.manuscript import Change
from llterm.session.session import Session
from llterm.ui.messages import StoryChanged, Trouble
from llterm.ui.weave.prose import Prose


class NoHistory(EditHistory):
    """Records nothing: undo belongs to the story."""

    def record(self, edit: Edit) -> None:
        """The story has it already."""


class StoryEditor(Prose):
    """Edits a story, and keeps showing exactly it."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("ctrl+home", "story_start", "Start of the story", show=False),
        Binding("ctrl+end", "story_end", "End of the story", show=False),
    ]
    HELP = "The story. Write anywhere, at any time; suggestions hang at the cursor."

    def __init__(self, session: Session, *, id: str | None = None) -> None:
        super().__init__(session.document.text, id=id)
        self._session = session
        self.read_only = session.document.read_only
        self.history = NoHistory(max_checkpoints=1, checkpoint_timer=0, checkpoint_max_characters=0)

    # --- places

    @property
    def offset_of_cursor(self) -> int:
        """The cursor as a display offset."""
        return self.index(self.cursor_location)

    def index(self, location: Location) -> int:
        """The display offset of a line and column."""
        row, column = location
        return sum(map(len, self.document.lines[:row])) + row + column

    def location(self, index: int) -> Location:
        """The line and column of a display offset; past the end, the end."""
        lines = self.document.lines
        for row, line in enumerate(lines):
            if index <= len(line):
                return row, index
            index -= len(line) + 1
        return self.document.end

    def go_to(self, index: int) -> None:
        """Put the cursor at a display offset."""
        location = self.location(index)
        if location != self.cursor_location or not self.selection.is_empty:
            self.move_cursor(location)

    def action_story_start(self) -> None:
        self.move_cursor((0, 0))

    def action_story_end(self) -> None:
        self.move_cursor(self.document.end)

    # --- edits

    def edit(self, edit: Edit) -> EditResult:
        """Tell the story of an edit, then show what became of it."""
        start, stop = self.index(edit.top), self.index(edit.bottom)
        try:
            return self.apply(self._session.edit(start, stop, edit.text))
        except LltermError as error:
            self.post_message(Trouble(error))
            self._catch_up()
            return EditResult(self.cursor_location, "")

    def undo(self) -> None:
        if (change := self._session.undo()) is not None:
            self.apply(change)

    def redo(self) -> None:
        if (change := self._session.redo()) is not None:
            self.apply(change)

    def apply(self, change: Change) -> EditResult:
        """Change the text shown as the story says that it changed."""
        self.show_ghost("")
        edit = Edit(change.text, self.location(change.start), self.location(change.stop), False)
        result = super().edit(edit)
        self.go_to(change.cursor)
        self.post_message(StoryChanged())
        return result

    def _catch_up(self) -> None:
        """Show the story as it is, after an edit that failed halfway."""
        document = self._session.document
        if self.text != document.text:
            self.load_text(document.text)
            self.go_to(document.cursor)
