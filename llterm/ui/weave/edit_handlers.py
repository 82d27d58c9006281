"""`edit.*`: undo, redo, copy, find, an empty page."""

from __future__ import annotations

from collections.abc import Callable

from llterm.ui.keyed_screen import Handler, KeyedScreen, Table
from llterm.ui.weave.panes import Panes
from llterm.ui.weave.suggestion_pane import label
from llterm.ui.widgets.find_bar import occurrences

MARKED = 500
"""Places that are marked at most."""


def table(screen: Panes) -> Table:
    """`edit.*` by id."""

    def can_copy() -> bool:
        suggestions = screen.suggestions
        return screen.editor.has_focus or (suggestions.has_focus and bool(suggestions.rows))

    def not_finding() -> bool:
        return not screen.find_bar.has_focus_within

    def show() -> None:
        screen.forget_tree()
        screen.show_all()

    return {
        "edit.undo": Handler(lambda: travel(screen, screen, show, back=True), not_finding),
        "edit.redo": Handler(lambda: travel(screen, screen, show, back=False), not_finding),
        "edit.copy": Handler(lambda: copy(screen), can_copy),
        "edit.find": Handler(lambda: open_find(screen)),
        "edit.end_here": Handler(lambda: end_here(screen)),
        "edit.clear": Handler(lambda: clear(screen), lambda: bool(screen.session.document.text)),
    }


def travel(main: Panes, screen: KeyedScreen, show: Callable[[], object], *, back: bool) -> None:
    """Take back the last step (text, tree and settings), or do it again; show and say it on the
    screen where that was asked for."""
    document = main.session.document
    label = document.undo_label if back else document.redo_label
    if label is None:
        screen.flash("nothing to undo" if back else "nothing to redo")
        return
    main.editor.undo() if back else main.editor.redo()
    show()
    screen.flash(f"{'undone' if back else 'done again'}: {label}")


def copy(screen: Panes) -> None:
    """The selection of the story, or the branch's text, to the terminal's clipboard."""
    if screen.editor.has_focus:
        text, what = screen.editor.selected_text, "the selection"
        if not text:
            screen.flash("nothing is selected")
            return
    else:
        row = screen.row
        if row is None:
            return
        # What accepting it would add, or what it says where it no longer fits.
        adds = "" if screen.session.stale else screen.session.ghost(row.tail)
        text, what = adds or label(row.branch)[0], "the branch"
    screen.app.copy_to_clipboard(text)
    screen.flash(f"{what} is on the clipboard")


def clear(screen: Panes) -> None:
    """An empty page in the same loom: what was written stays a branch, and undo brings it back."""
    session = screen.session
    session.stop()
    screen.land(session.reshape(session.document.clear))
    screen.show_all()
    screen.flash(f"kept as a branch; {screen.key('edit.undo')} brings it back")
    screen.editor.focus()


def end_here(screen: Panes) -> None:
    """End the story at the cursor; what follows stays a branch, and undo brings it back."""
    rest = screen.rest
    if not rest:
        screen.flash("nothing follows the cursor")
        return
    screen.follow(screen.session.end_here())
    screen.tell_left(rest)


def open_find(screen: Panes) -> None:
    """Begin a search at the cursor."""
    screen.find_bar.origin = screen.editor.offset_of_cursor
    screen.find_bar.open()


def find(screen: Panes, phrase: str) -> None:
    """Mark all places, and go to the first one from where the search began."""
    editor, bar = screen.editor, screen.find_bar
    places = occurrences(screen.session.document.text, phrase)
    editor.mark_found(
        [
            (editor.location(place), editor.location(place + len(phrase)))
            for place in places[:MARKED]
            if "\n" not in phrase
        ]
    )
    first = next((n for n, place in enumerate(places) if place >= bar.origin), 0)
    show_place(screen, bar.find(places, first))


def show_place(screen: Panes, place: int | None) -> None:
    """Put the cursor at a place that was found."""
    if place is not None:
        screen.editor.go_to(place)
        screen.editor.scroll_cursor_visible(center=True)


def close_find(screen: Panes) -> None:
    """Back to the story; the cursor stays at what was found."""
    screen.find_bar.close()
    screen.editor.mark_found([])
    screen.editor.focus()
