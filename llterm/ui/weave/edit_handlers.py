"""Writing: undo, redo, copy, find, the person's own editor, counting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llterm.backends.served import counted, counted_words
from llterm.core.counts import count_of
from llterm.core.tokens import Tail
from llterm.session.weaves import story_prompt
from llterm.ui.external_editor import edit_outside, same_ends
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.notices import troubles
from llterm.ui.weave.suggestion_rows import label
from llterm.ui.widgets.find_bar import occurrences

if TYPE_CHECKING:
    from llterm.ui.weave.weave_screen import WeaveScreen


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""

    def can_copy() -> bool:
        return screen.editor.has_focus or (
            screen.suggestions.has_focus and bool(screen.suggestions.rows)
        )

    return {
        "edit.undo": Handler(lambda: undo(screen), lambda: not screen.find_bar.has_focus_within),
        "edit.redo": Handler(lambda: redo(screen), lambda: not screen.find_bar.has_focus_within),
        "edit.copy": Handler(lambda: copy(screen), can_copy),
        "edit.find": Handler(lambda: find_open(screen)),
        "app.editor": Handler(lambda: write_outside(screen)),
        "app.count": Handler(lambda: count(screen)),
    }


def undo(screen: WeaveScreen) -> None:
    """Take back the last step: text, tree and settings."""
    label = screen.session.document.undo_label
    if label is None:
        screen.flash("nothing to undo")
        return
    screen.editor.undo()
    after_travel(screen, f"undone: {label}")


def redo(screen: WeaveScreen) -> None:
    label = screen.session.document.redo_label
    if label is None:
        screen.flash("nothing to redo")
        return
    screen.editor.redo()
    after_travel(screen, f"done again: {label}")


def after_travel(screen: WeaveScreen, said: str) -> None:
    screen.suggestions.forget()
    screen.show_all()
    screen.flash(said)


def copy(screen: WeaveScreen) -> None:
    """The selection of the story, or the branch's text, to the terminal's clipboard."""
    if screen.editor.has_focus:
        text, what = screen.editor.selected_text, "The selection"
        if not text:
            screen.flash("nothing is selected")
            return
    else:
        row = screen.row
        if row is None:
            return
        text, what = branch_text(screen, row.tail) or label(row.branch)[0], "The branch"
    screen.app.copy_to_clipboard(text)
    screen.flash(f"{what.lower()} is on the clipboard")


def branch_text(screen: WeaveScreen, tail: Tail) -> str:
    """What accepting this branch would add; empty when it no longer fits."""
    return "" if screen.session.stale else screen.session.ghost(tail)


def write_outside(screen: WeaveScreen) -> None:
    """The story in $EDITOR; what comes back is one edit, so one undo takes it back."""
    document, editor = screen.session.document, screen.editor
    document.checkpoint()
    text = edit_outside(screen.app, document.text)
    if text is None or text == document.text:
        screen.flash("nothing was changed")
        return
    # Only what differs: stand-ins elsewhere keep the bytes that they stand for.
    start, kept = same_ends(document.text, text)
    stop = len(document.text) - kept
    editor.replace(text[start : len(text) - kept], editor.location(start), editor.location(stop))
    document.checkpoint()
    screen.sync_cursor()


def count(screen: WeaveScreen) -> None:
    """Words, characters, lines and tokens; the story is read for them in the background."""
    screen.run_worker(_count(screen), group="count", exclusive=True)


async def _count(screen: WeaveScreen) -> None:
    """Words, characters and lines, of the story or the selection, and the story's tokens where
    there is a model; what went over the wire to a server."""
    text = screen.editor.selected_text or screen.session.document.text
    part = "selection: " if screen.editor.selected_text else ""
    lines = text.count("\n") + 1 if text else 0
    pieces = [
        count_of(len(text.split()), "word"),
        count_of(len(text), "character"),
        count_of(lines, "line"),
    ]
    session = screen.session
    if session.source is not None and not part:
        with troubles(screen):
            sight = (await story_prompt(session.document, session.source)).sight
            pieces.append(sight.told(session.source.capabilities.context))
    told = part + " · ".join(pieces) + counted_words(counted(screen.session.source))
    screen.app.notify(told, title="Count", markup=False, timeout=6)


def find_open(screen: WeaveScreen) -> None:
    """Begin a search at the cursor."""
    screen.find_from = screen.editor.offset_of_cursor
    screen.find_bar.open()


def find(screen: WeaveScreen, wanted: str) -> None:
    """Mark all places, and go to the first one from where the search began."""
    editor = screen.editor
    places = occurrences(screen.session.document.text, wanted)
    screen.places = places
    editor.mark_found(
        [
            (editor.location(place), editor.location(place + len(wanted)))
            for place in places[:500]
            if "\n" not in wanted
        ]
    )
    after = next((n for n, place in enumerate(places) if place >= screen.find_from), 0)
    show_place(screen, after)


def find_step(screen: WeaveScreen, by: int) -> None:
    """The next place, or the one before; round at the ends."""
    if screen.places:
        show_place(screen, (screen.place + by) % len(screen.places))


def show_place(screen: WeaveScreen, number: int) -> None:
    places = screen.places
    screen.place = number
    screen.find_bar.say(number + 1 if places else 0, len(places))
    if places:
        screen.editor.go_to(places[number])
        screen.editor.scroll_cursor_visible(center=True)


def find_close(screen: WeaveScreen) -> None:
    """Back to the story; the cursor stays at what was found."""
    screen.find_bar.close()
    screen.editor.mark_found([])
    screen.editor.focus()
