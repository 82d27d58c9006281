"""Choosing among suggestions: accept, edit, move about in the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llterm.core.display import raw_text
from llterm.core.tokens import Tail
from llterm.session.document import Change
from llterm.session.replacing import accept_text
from llterm.ui.dialogs.text_dialogs import EditBranch
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.notices import troubles

if TYPE_CHECKING:
    from llterm.ui.weave.suggestion_pane import SuggestionPane
    from llterm.ui.weave.weave_screen import WeaveScreen


def table(screen: WeaveScreen) -> Table:
    """The deeds of this file by action id."""

    def tree() -> SuggestionPane:
        return screen.suggestions

    def can_take() -> bool:
        """There is a branch that may stand, and it belongs to this text and place."""
        session, row = screen.session, screen.row
        there = row is not None and not row.branch.banned
        return there and not session.stale and session.source is not None

    def ghost_or_tree() -> bool:
        """In the story a key accepts only what is shown at the cursor."""
        return can_take() and (screen.suggestions.has_focus or screen.previewed)

    def has_rows() -> bool:
        return bool(screen.suggestions.rows)

    def tail() -> Tail:
        row = screen.row
        return row.tail if row is not None else ()

    def move(step: int) -> None:
        """Also from the story, where the ghost follows."""
        screen.ghost_off = False
        tree().move(step)
        screen.show_ghost()

    session = screen.session
    picks = {
        f"suggestion.pick_{digit}": Handler(lambda digit=digit: pick(screen, digit), can_take)  # type: ignore[misc]
        for digit in range(1, 10)
    }
    return picks | {
        "suggestion.accept": Handler(lambda: accept(screen, tail()), ghost_or_tree),
        "suggestion.accept_token": Handler(
            lambda: accept(screen, session.token_of(tail())), ghost_or_tree
        ),
        "suggestion.accept_word": Handler(
            lambda: accept(screen, session.word_of(tail())), ghost_or_tree
        ),
        "suggestion.edit": Handler(lambda: edit(screen, tail()), can_take),
        "suggestion.next": Handler(lambda: move(1), has_rows),
        "suggestion.prev": Handler(lambda: move(-1), has_rows),
        "suggestion.next_sibling": Handler(lambda: tree().sibling(1), has_rows),
        "suggestion.prev_sibling": Handler(lambda: tree().sibling(-1), has_rows),
        "tree.toggle": Handler(lambda: tree().toggle(), has_rows),
        "tree.collapse": Handler(lambda: tree().fold(), has_rows),
        "tree.expand": Handler(lambda: tree().unfold(), has_rows),
        "tree.parent": Handler(lambda: tree().to_parent(), has_rows),
        "tree.first": Handler(lambda: tree().select(0), has_rows),
        "tree.last": Handler(lambda: tree().select(len(tree().rows) - 1), has_rows),
        "tree.page_down": Handler(lambda: tree().page(1), has_rows),
        "tree.page_up": Handler(lambda: tree().page(-1), has_rows),
    }


def accept(screen: WeaveScreen, tail: Tail) -> None:
    """Take this path into the story."""
    follow(screen, screen.session.accept(tail))


def pick(screen: WeaveScreen, digit: int) -> None:
    """Take the row that carries this digit."""
    if (row := screen.suggestions.numbered(digit)) is not None:
        accept(screen, row.tail)


def follow(screen: WeaveScreen, change: Change) -> None:
    """Show a change that the session made to the story, and what became of the tree."""
    screen.editor.apply(change)
    screen.suggestions.forget()
    screen.ghost_off = False
    screen.show_all()
    if screen.suggestions.has_focus and not screen.suggestions.rows:
        screen.editor.focus()


def edit(screen: WeaveScreen, tail: Tail) -> None:
    """Rewrite the branch in a small editor; what comes back goes in as one step."""

    def done(text: str | None) -> None:
        if text:
            with troubles(screen):
                follow(screen, accept_text(screen.session, tail, text))

    screen.app.push_screen(EditBranch(raw_text(screen.session.added(tail))), done)
