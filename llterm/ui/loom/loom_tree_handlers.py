"""`tree.*` in a loom: move, fold, hoist, search, bookmarks, copy a path."""

from __future__ import annotations

from itertools import islice

from llterm.core.display_text import display_text, label_text
from llterm.core.loom_tree import ROOT
from llterm.core.outline_map import reveal
from llterm.core.tree_outline import ORDERS, PhraseHit, find
from llterm.ui.dialogs.help_dialog import HelpDialog
from llterm.ui.keyed_screen import Handler, Table
from llterm.ui.loom.loom_panes import LoomPanes

MOST_HITS = 1000


def table(screen: LoomPanes) -> Table:
    """`tree.*`, and what else looks through a loom, by id."""

    def some() -> bool:
        return screen.view.selected is not None

    def move(by: int) -> Handler:
        return Handler(lambda: screen.view.select(screen.view.index + by), some)

    def hit(by: int) -> Handler:
        return Handler(
            lambda: show_hit(screen, screen.find_bar.step(by)), lambda: bool(screen.find_bar.hits)
        )

    return {
        "loom.next": move(1),
        "loom.prev": move(-1),
        "loom.next_sibling": Handler(lambda: sibling(screen, 1), some),
        "loom.prev_sibling": Handler(lambda: sibling(screen, -1), some),
        "tree.first": move(-(1 << 40)),
        "tree.last": move(1 << 40),
        "tree.page_down": Handler(lambda: screen.view.page(1), some),
        "tree.page_up": Handler(lambda: screen.view.page(-1), some),
        "tree.parent": Handler(lambda: parent(screen), some),
        "tree.toggle": Handler(lambda: fold(screen), some),
        "tree.collapse": Handler(lambda: collapse(screen), some),
        "tree.expand": Handler(lambda: expand(screen), some),
        "loom.view": Handler(lambda: screen.turn()),
        "loom.head": Handler(lambda: go_to(screen, screen.loom.head), some),
        "loom.next_hit": hit(1),
        "loom.prev_hit": hit(-1),
        "loom.next_bookmark": Handler(lambda: bookmark(screen, 1), some),
        "loom.prev_bookmark": Handler(lambda: bookmark(screen, -1), some),
        "loom.next_unread": Handler(lambda: unread(screen), some),
        "loom.hoist": Handler(lambda: hoist(screen), some),
        "loom.sort": Handler(lambda: sort(screen), some),
        "edit.copy": Handler(lambda: copy(screen), some),
        "edit.find": Handler(lambda: screen.find_bar.open()),
        "app.back": Handler(lambda: back(screen)),
        "app.loom": Handler(lambda: screen.dismiss()),
        "app.help": Handler(lambda: screen.app.push_screen(HelpDialog(screen.help_parts()))),
    }


def go_to(screen: LoomPanes, id: int) -> None:
    """Select the row of a node, whatever hides it."""
    if id == ROOT or id not in screen.loom.nodes:
        return
    folded, unread, hoisted = reveal(screen.loom, id)
    fresh = set(unread) - screen.opened
    for one in folded:
        screen.branches.fold(one, False)
    if hoisted:
        screen.branches.hoist()
    screen.opened |= fresh
    if folded or hoisted or fresh:
        screen.relist(id)
    else:
        screen.view.select(screen.listing.nearest(id))


def sibling(screen: LoomPanes, by: int) -> None:
    siblings = screen.listing.siblings(screen.view.index)
    at = siblings.index(screen.view.index) + by
    screen.view.select(siblings[min(max(at, 0), len(siblings) - 1)])


def parent(screen: LoomPanes) -> None:
    above = screen.listing.parents[screen.view.index]
    if above >= 0:
        screen.view.select(above)


def fold(screen: LoomPanes) -> None:
    """Hide what hangs below the row, or show it."""
    row = screen.row
    if row.untaken and not row.branches:
        screen.opened.add(row.ids[-1])
    elif row.branches:
        screen.branches.fold(row.ids[-1], not row.folded)
    screen.relist(row.ids[-1])


def collapse(screen: LoomPanes) -> None:
    """Fold the row; where there is nothing to fold, go to the one above."""
    row = screen.row
    if row.branches and not row.folded:
        fold(screen)
    elif row.ids[-1] in screen.opened:
        screen.opened.discard(row.ids[-1])
        screen.relist(row.ids[-1])
    else:
        parent(screen)


def expand(screen: LoomPanes) -> None:
    """Unfold the row, then show what nobody has read, then go in."""
    row = screen.row
    if row.folded:
        fold(screen)
    elif row.untaken:
        screen.opened.add(row.ids[-1])
        screen.relist(row.ids[-1])
    elif row.branches:
        screen.view.select(screen.view.index + 1)


def hoist(screen: LoomPanes) -> None:
    """The row's branch alone, or, when there is a hoist already, the whole tree."""
    hoisted = screen.loom.sight.hoisted
    if hoisted != ROOT:
        screen.branches.hoist()
        screen.relist(hoisted)
    elif screen.row.branches or screen.row.untaken:
        screen.branches.hoist(screen.row.ids[-1])
        screen.relist()
    else:
        screen.flash("nothing hangs below this branch")


def sort(screen: LoomPanes) -> None:
    """The next order for the branches below the row."""
    id = screen.row.ids[-1]
    now = screen.branches.marks(id).order or ORDERS[0]
    order = ORDERS[(ORDERS.index(now) + 1) % len(ORDERS)]
    screen.branches.sort(id, order)
    screen.relist(id)
    screen.flash(f"the branches below are sorted by {order}")


def bookmark(screen: LoomPanes, by: int) -> None:
    """The next bookmark in the order of the outline, or the one before; round at the ends."""
    bookmarks = screen.listing.outline.bookmarks()
    if not bookmarks:
        screen.flash("there are no bookmarks")
        return
    here = screen.row.ids
    at = next((n for n, id in enumerate(bookmarks) if id in here), None)
    if at is None:
        rows = [screen.listing.nearest(id) for id in bookmarks]
        after = next((n for n, row in enumerate(rows) if row > screen.view.index), 0)
        at = after - 1 if by > 0 else after
    go_to(screen, bookmarks[(at + by) % len(bookmarks)])


def unread(screen: LoomPanes) -> None:
    waiting = sorted(one for one in screen.loom.sight.unread if screen.loom.holds(one))
    if waiting:
        go_to(screen, waiting[0])
    else:
        screen.flash("everything has been read")


def copy(screen: LoomPanes) -> None:
    """The text from the root to the row's end, to the terminal's clipboard."""
    data = screen.loom.text(screen.row.ids[-1])
    screen.app.copy_to_clipboard(display_text(data))
    screen.flash(f"the path is on the clipboard, {len(data):,} bytes")


def back(screen: LoomPanes) -> None:
    """One step back: close find, let go of a branch, leave."""
    if screen.find_bar.display:
        screen.find_bar.close()
        screen.view.focus()
        screen.show_keys()
    elif screen.held is not None:
        screen.hold(None)
    else:
        screen.dismiss()


# --- search


def search(screen: LoomPanes, phrase: str) -> None:
    """Find a phrase in every branch, and go to the first place from here on."""
    hits = list(islice(find(screen.loom, phrase), MOST_HITS)) if len(phrase) > 1 else []
    here = screen.view.index
    rows = (screen.listing.nearest(hit.id) for hit in hits)
    first = next((n for n, row in enumerate(rows) if row >= here), 0)
    show_hit(screen, screen.find_bar.find(hits, first))


def show_hit(screen: LoomPanes, hit: PhraseHit | None) -> None:
    """Go to a place that was found."""
    if hit is not None:
        go_to(screen, hit.id)
        screen.look()


def context(hit: PhraseHit) -> str:
    """A place found, with the words around it."""
    text = f"…{hit.before[-24:]}[{hit.phrase}]{hit.after[:24]}…"
    return label_text(text)
