"""`tree.*`: move about in the tree of suggestions, fold it, show what is banned."""

from __future__ import annotations

from collections.abc import Callable

from llterm.core.suggestion_tree import taken
from llterm.number_format import fine_percent
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.weave.panes import Panes
from llterm.ui.weave.suggestion_pane import SuggestionPane


def table(screen: Panes) -> Table:
    """`tree.*` by id."""

    def has_rows() -> bool:
        return bool(screen.suggestions.rows)

    def on_tree(work: Callable[[SuggestionPane], object]) -> Handler:
        return Handler(lambda: work(screen.suggestions), has_rows)

    return {
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
