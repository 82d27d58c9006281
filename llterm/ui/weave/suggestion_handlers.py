"""`suggestion.*` and `tree.*`: accept, edit and choose suggestions; move about in their tree."""

from __future__ import annotations

from collections.abc import Callable

from llterm.core.display_text import raw_text
from llterm.core.suggestion_tree import taken
from llterm.core.tokens import Tail
from llterm.number_format import fine_percent
from llterm.session.inspection import accept_text
from llterm.ui.dialogs.text_dialogs import EditBranch
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.weave.panes import Panes
from llterm.ui.weave.suggestion_pane import SuggestionPane


def table(screen: Panes) -> Table:
    """`suggestion.*` and `tree.*` by id."""
    session = screen.session

    def can_take() -> bool:
        """There is a branch that may stand, and it belongs to this text and place."""
        row = screen.row
        stands = row is not None and not row.branch.banned
        return stands and not session.stale and session.source is not None

    def ghost_or_tree() -> bool:
        """In the story a key accepts only what is shown at the cursor."""
        return can_take() and (screen.suggestions.has_focus or screen.previewed)

    def has_rows() -> bool:
        return bool(screen.suggestions.rows)

    def tail() -> Tail:
        row = screen.row
        return row.tail if row is not None else ()

    def can_leave() -> bool:
        """In the story only where there is something to leave: else the key goes to a pane."""
        return ghost_or_tree() and (screen.suggestions.has_focus or bool(screen.rest))

    def accept(tail: Tail) -> None:
        """Take this path into the story; what follows the cursor stays after it."""
        screen.remember_taken(screen.row.tail if screen.row is not None else tail)
        screen.take(session.accept(tail))

    def go_on(tail: Tail) -> None:
        """Take this path, and leave what follows the cursor behind."""
        rest = screen.rest
        screen.remember_taken(tail)
        screen.follow(session.accept(tail, carry=False))
        screen.tell_left(rest)

    def move(step: int) -> None:
        """Also from the story, where the ghost follows."""
        screen.ghost_off = False
        screen.suggestions.move(step)
        screen.show_ghost()
        screen.show_keys()

    def on_tree(work: Callable[[SuggestionPane], object]) -> Handler:
        return Handler(lambda: work(screen.suggestions), has_rows)

    picks = {
        f"suggestion.pick_{digit}": Handler(lambda digit=digit: pick(screen, digit), can_take)  # type: ignore[misc]
        for digit in range(1, 10)
    }
    return picks | {
        "suggestion.accept": Handler(lambda: accept(tail()), ghost_or_tree),
        "suggestion.accept_token": Handler(lambda: accept(session.token_of(tail())), ghost_or_tree),
        "suggestion.accept_word": Handler(lambda: accept(session.word_of(tail())), ghost_or_tree),
        "suggestion.go_on": Handler(lambda: go_on(tail()), can_leave),
        "suggestion.edit": Handler(lambda: edit(screen, tail()), can_take),
        "suggestion.next": Handler(lambda: move(1), has_rows),
        "suggestion.prev": Handler(lambda: move(-1), has_rows),
        "suggestion.next_sibling": on_tree(lambda tree: tree.sibling(1)),
        "suggestion.prev_sibling": on_tree(lambda tree: tree.sibling(-1)),
        "tree.toggle": on_tree(SuggestionPane.toggle),
        "tree.collapse": on_tree(SuggestionPane.fold),
        "tree.expand": on_tree(SuggestionPane.unfold),
        "tree.parent": on_tree(SuggestionPane.to_parent),
        "tree.first": on_tree(lambda tree: tree.select(0)),
        "tree.last": on_tree(lambda tree: tree.select(len(tree.rows) - 1)),
        "tree.page_down": on_tree(lambda tree: tree.page(1)),
        "tree.page_up": on_tree(lambda tree: tree.page(-1)),
        "tree.banned": Handler(lambda: show_banned(screen)),
    }


def pick(screen: Panes, digit: int) -> None:
    """Take the row that carries this digit."""
    if (row := screen.suggestions.numbered(digit)) is not None:
        screen.remember_taken(row.tail)
        screen.take(screen.session.accept(row.tail))


def edit(screen: Panes, tail: Tail) -> None:
    """Rewrite the branch in a small editor; what comes back goes in as one step."""

    def done(text: str) -> None:
        if text:
            screen.remember_taken(tail)
            screen.take(accept_text(screen.session, tail, text))

    screen.ask(EditBranch(raw_text(screen.session.added(tail))), done)


def show_banned(screen: Panes) -> None:
    """What bans and the constraint take, in the tree, or not."""
    session = screen.session
    session.show_banned(not session.banned_shown)
    if not session.banned_shown:
        screen.flash("what is banned is hidden")
        return
    view = session.view
    rows = view.branches if view is not None else ()
    count, mass = taken(rows, masked=session.constraint is not None)
    screen.flash(f"{count} banned branch{'es' * (count != 1)}, {fine_percent(mass)} of all")
