"""Looking through a loom: moving, folding, hoisting, search, bookmarks, copying a path."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from llterm.core.display import display_text, label_text
from llterm.core.loom_tree import ROOT
from llterm.core.outline_map import reveal
from llterm.core.tree_outline import ORDERS, Hit, find
from llterm.ui.actions import Deed, Table
from llterm.ui.screens.help import Help
from llterm.ui.screens.log import Log

if TYPE_CHECKING:
    from llterm.ui.screens.loom import LoomScreen

MOST_HITS = 1000


def table(screen: LoomScreen) -> Table:
    """The deeds of this file by action id."""

    def some() -> bool:
        return screen.view.selected is not None

    def move(by: int) -> Deed:
        return Deed(lambda: screen.view.select(screen.view.index + by), some)

    return {
        "loom.next": move(1),
        "loom.prev": move(-1),
        "loom.next_sibling": Deed(lambda: sibling(screen, 1), some),
        "loom.prev_sibling": Deed(lambda: sibling(screen, -1), some),
        "tree.first": move(-(1 << 40)),
        "tree.last": move(1 << 40),
        "tree.page_down": Deed(lambda: screen.view.page(1), some),
        "tree.page_up": Deed(lambda: screen.view.page(-1), some),
        "tree.parent": Deed(lambda: parent(screen), some),
        "tree.toggle": Deed(lambda: fold(screen), some),
        "tree.collapse": Deed(lambda: collapse(screen), some),
        "tree.expand": Deed(lambda: expand(screen), some),
        "loom.view": Deed(lambda: screen.turn()),
        "loom.head": Deed(lambda: go_to(screen, screen.loom.head), some),
        "loom.next_hit": Deed(lambda: hit_step(screen, 1), lambda: bool(screen.hits)),
        "loom.prev_hit": Deed(lambda: hit_step(screen, -1), lambda: bool(screen.hits)),
        "loom.next_bookmark": Deed(lambda: bookmark(screen, 1), some),
        "loom.prev_bookmark": Deed(lambda: bookmark(screen, -1), some),
        "loom.next_unread": Deed(lambda: unread(screen), some),
        "loom.hoist": Deed(lambda: hoist(screen), some),
        "loom.sort": Deed(lambda: sort(screen), some),
        "edit.copy": Deed(lambda: copy(screen), some),
        "edit.find": Deed(lambda: screen.find_bar.open()),
        "app.back": Deed(lambda: back(screen)),
        "app.loom": Deed(lambda: screen.dismiss()),
        "app.help": Deed(lambda: screen.app.push_screen(Help(screen))),
        "app.log": Deed(lambda: screen.app.push_screen(Log())),
        "app.palette": Deed(lambda: screen.app.action_command_palette()),
        "app.quit": Deed(lambda: screen.main.table["app.quit"].run()),
    }


def go_to(screen: LoomScreen, id: int) -> None:
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


def sibling(screen: LoomScreen, by: int) -> None:
    found = screen.listing.siblings(screen.view.index)
    at = found.index(screen.view.index) + by
    screen.view.select(found[min(max(at, 0), len(found) - 1)])


def parent(screen: LoomScreen) -> None:
    above = screen.listing.parents[screen.view.index]
    if above >= 0:
        screen.view.select(above)


def fold(screen: LoomScreen) -> None:
    """Hide what hangs below the row, or show it."""
    row = screen.row
    if row.untaken and not row.branches:
        screen.opened.add(row.ids[-1])
    elif row.branches:
        screen.branches.fold(row.ids[-1], not row.folded)
    screen.relist(row.ids[-1])


def collapse(screen: LoomScreen) -> None:
    """Fold the row; where there is nothing to fold, go to the one above."""
    row = screen.row
    if row.branches and not row.folded:
        fold(screen)
    elif row.ids[-1] in screen.opened:
        screen.opened.discard(row.ids[-1])
        screen.relist(row.ids[-1])
    else:
        parent(screen)


def expand(screen: LoomScreen) -> None:
    """Unfold the row, then show what nobody has read, then go in."""
    row = screen.row
    if row.folded:
        fold(screen)
    elif row.untaken:
        screen.opened.add(row.ids[-1])
        screen.relist(row.ids[-1])
    elif row.branches:
        screen.view.select(screen.view.index + 1)


def hoist(screen: LoomScreen) -> None:
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


def sort(screen: LoomScreen) -> None:
    """The next order for the branches below the row."""
    id = screen.row.ids[-1]
    now = screen.branches.marks(id).order or ORDERS[0]
    order = ORDERS[(ORDERS.index(now) + 1) % len(ORDERS)]
    screen.branches.sort(id, order)
    screen.relist(id)
    screen.flash(f"the branches below are sorted by {order}")


def bookmark(screen: LoomScreen, by: int) -> None:
    """The next bookmark in the order of the outline, or the one before; round at the ends."""
    found = screen.listing.outline.bookmarks()
    if not found:
        screen.flash("there are no bookmarks")
        return
    here = screen.row.ids
    at = next((n for n, id in enumerate(found) if id in here), None)
    if at is None:
        rows = [screen.listing.nearest(id) for id in found]
        after = next((n for n, row in enumerate(rows) if row > screen.view.index), 0)
        at = after - 1 if by > 0 else after
    go_to(screen, found[(at + by) % len(found)])


def unread(screen: LoomScreen) -> None:
    waiting = sorted(one for one in screen.loom.sight.unread if screen.loom.holds(one))
    if waiting:
        go_to(screen, waiting[0])
    else:
        screen.flash("everything has been read")


def copy(screen: LoomScreen) -> None:
    """The text from the root to the row's end, to the terminal's clipboard."""
    data = screen.loom.text(screen.row.ids[-1])
    screen.app.copy_to_clipboard(display_text(data))
    screen.flash(f"the path is on the clipboard, {len(data):,} bytes")


def back(screen: LoomScreen) -> None:
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


def search(screen: LoomScreen, phrase: str) -> None:
    """Find a phrase in every branch, and go to the first place from here on."""
    screen.hits = list(islice(find(screen.loom, phrase), MOST_HITS)) if len(phrase) > 1 else []
    screen.hit = 0
    screen.find_bar.say(0, 0)
    if screen.hits:
        here = screen.view.index
        rows = (screen.listing.nearest(hit.id) for hit in screen.hits)
        show_hit(screen, next((n for n, row in enumerate(rows) if row >= here), 0))


def hit_step(screen: LoomScreen, by: int) -> None:
    if screen.hits:
        show_hit(screen, (screen.hit + by) % len(screen.hits))


def show_hit(screen: LoomScreen, number: int) -> None:
    screen.hit = number
    hit = screen.hits[number]
    go_to(screen, hit.id)
    screen.find_bar.say(number + 1, len(screen.hits))
    screen.look()


def context(hit: Hit) -> str:
    """A place found, with the words around it."""
    text = f"…{hit.before[-24:]}[{hit.phrase}]{hit.after[:24]}…"
    return label_text(text)
