"""Beginnings: keep one's own among the starting stories, clear the page, begin anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llterm.core.display import label_text
from llterm.session import stories
from llterm.ui.dialogs.ask import AskLine
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.notices import troubles

if TYPE_CHECKING:
    from llterm.ui.weave.weave_screen import WeaveScreen

_WORDS = 5
"""Of the text, for the name that is proposed."""


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""
    session = screen.session
    return {
        "app.keep_story": Handler(lambda: keep_story(screen)),
        "edit.clear": Handler(lambda: clear(screen), lambda: bool(session.document.text)),
        "weave.clear": Handler(session.put_away, lambda: session.view is not None),
    }


def keep_story(screen: WeaveScreen) -> None:
    """Keep the selection, or the whole story, as a starting story, under a name."""
    document, editor = screen.session.document, screen.editor
    start, stop = sorted((editor.index(editor.selection.start), editor.index(editor.selection.end)))
    if start == stop:
        start, stop = 0, len(document.text)
    data = document.bytes_before(stop)[len(document.bytes_before(start)) :]
    what = "The selection" if (start, stop) != (0, len(document.text)) else "The story"
    words = label_text(" ".join(document.text[start:stop].split()[:_WORDS]))

    def done(title: str | None) -> None:
        if title:
            with troubles(screen):
                path = stories.keep(title, data)
                name = label_text(str(path))
                screen.app.notify(name, title="Kept as a starting story", markup=False, timeout=6)

    note = f"{what}, {len(data):,} bytes. Its name among the starting stories:"
    screen.app.push_screen(
        AskLine("Keep as a starting story", note, words.replace("/", " ").strip(" .")), done
    )


def clear(screen: WeaveScreen) -> None:
    """An empty page in the same loom: what was written stays a branch, and undo brings it back."""
    session = screen.session
    session.stop()
    screen.editor.apply(session.reshape(session.document.clear))
    screen.suggestions.forget()
    screen.show_all()
    screen.flash("the old text is a branch; undo brings it back")
    screen.editor.focus()
