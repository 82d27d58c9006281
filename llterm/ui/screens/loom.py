"""The loom screen: every branch as outline or map, the path to the selected one, search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import Screen

from llterm.core.counts import count_of
from llterm.core.display import label_text
from llterm.core.loom_tree import ROOT, Loom
from llterm.core.outline_map import Listing
from llterm.core.tree_outline import Hit, OutlineRow
from llterm.keymap import ACTIONS, IN_LOOM, Keymap, action_of
from llterm.session.branches import Branches
from llterm.session.changes import Change
from llterm.session.document import Document
from llterm.ui.actions import HelpParts, Table, branching, looking
from llterm.ui.bindings import bind, first_key, pane_bindings
from llterm.ui.screens import painting
from llterm.ui.widgets.branching import Branching
from llterm.ui.widgets.find import FindBar
from llterm.ui.widgets.keybar import Hint, KeyBar, key_name
from llterm.ui.widgets.line import Line, Name
from llterm.ui.widgets.map import MapView
from llterm.ui.widgets.outline import OutlineView
from llterm.ui.widgets.path import PathView

if TYPE_CHECKING:
    from llterm.ui.screens.weave import WeaveScreen


class LoomScreen(Screen[None]):
    """Looks at the document of the main screen, and tells its editor what changed."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high")]  # noqa: RUF012
    AUTO_FOCUS = "#outline"

    def __init__(self, main: WeaveScreen) -> None:
        super().__init__()
        self.main = main
        self.session = main.session
        self.opened: set[int] = set()
        """Nodes whose unread children are shown."""
        self.hits: list[Hit] = []
        self.hit = 0
        self.held: tuple[str, int] | None = None
        """What was taken up, and for what: `move` or `compare`."""
        self.listing = Listing(self.loom)
        self._told = ""
        self.table: Table = {**looking.table(self), **branching.table(self)}

    def compose(self) -> ComposeResult:
        with Horizontal(id="title"):
            yield Name(id="name")
            yield Line(id="model")
        with Horizontal(id="loom"):
            yield OutlineView(id="outline")
            yield MapView(id="map")
            yield PathView(id="path")
        yield Line(id="said")
        yield FindBar("in every branch", id="find")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        everywhere = pane_bindings(self.keymap, "everywhere")
        bind(self, [one for one in everywhere if one.id in IN_LOOM])
        for view in (self.outline, self.map):
            bind(view, pane_bindings(self.keymap, "loom"))
        self.map.display = False
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """Show where the story ends; the panes know their sizes now."""
        self.view.show(self.listing, self.listing.nearest(self.loom.head))
        self.look()

    # --- parts

    @property
    def document(self) -> Document:
        return self.session.document

    @property
    def loom(self) -> Loom:
        return self.session.document.loom

    @property
    def branches(self) -> Branches:
        return self.session.document.branches

    @property
    def keymap(self) -> Keymap:
        return self.main.keymap

    @property
    def outline(self) -> OutlineView:
        return self.query_one("#outline", OutlineView)

    @property
    def map(self) -> MapView:
        return self.query_one("#map", MapView)

    @property
    def view(self) -> Branching:
        """The outline, or the map."""
        return self.map if self.map.display else self.outline

    @property
    def row(self) -> OutlineRow:
        """The selected row; there is one where an action asks for it."""
        row = self.view.selected
        assert row is not None
        return row

    @property
    def find_bar(self) -> FindBar:
        return self.query_one(FindBar)

    def help_parts(self) -> HelpParts:
        """Keys for the help."""
        return [("In the loom", self.view, True), ("Everywhere", self, True)]

    def key(self, id: str) -> str:
        """The key to name for an action."""
        return key_name(first_key(self.keymap, action_of(id), "loom"))

    # --- actions

    def action_run(self, id: str) -> None:
        """Do what the action with this id says."""
        with self.troubles():
            self.table[id].run()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action != "run" or not parameters:
            return True
        typing = self.find_bar.has_focus_within
        if typing and parameters[0] in {"edit.undo", "edit.redo", "edit.copy"}:
            return False
        return self.table[str(parameters[0])].applies()

    @contextmanager
    def troubles(self) -> Iterator[None]:
        """Errors of a command become a notice; the screen goes on."""
        with painting.troubles(self.main):
            yield

    def change(self, step: Callable[[], Change], then: int | None) -> None:
        """Do a command, let the editor follow, and go to a node; None is the story's end."""
        with self.troubles():
            self.main.editor.apply(self.session.reshape(step))
            self.relist(self.loom.head if then is None else then)

    def hold(self, held: tuple[str, int] | None, said: str = "") -> None:
        """Take a branch up for a command that needs two, or let it go."""
        self.held = held
        for view in (self.outline, self.map):
            view.marked = frozenset({held[1]} if held else ())
            view.refresh()
        self.flash(said)

    # --- showing

    def relist(self, then: int | None = None) -> None:
        """Show the loom as it is now, and select the row of a node, or stay."""
        row = self.view.selected
        if then is None:
            then = row.ids[-1] if row is not None else self.loom.head
        self.listing = Listing(self.loom, self.opened)
        self.view.show(self.listing, self.listing.nearest(then))
        self.look()

    def turn(self) -> None:
        """From the outline to the map, and back."""
        index = self.view.index
        self.outline.display, self.map.display = self.map.display, self.outline.display
        self.view.show(self.listing, index)
        self.view.focus()
        self.look()

    def flash(self, text: str) -> None:
        """Say something until the next move."""
        self._told = text
        self.said(text)

    def said(self, text: str) -> None:
        self.query_one("#said", Line).say(text)

    @on(Branching.Moved)
    def _moved(self) -> None:
        self._told = ""
        self.look()

    @on(Branching.Opened)
    def _opened(self) -> None:
        self.action_run("loom.open")

    def look(self) -> None:
        """Show all that goes with the selected row; it has been read now."""
        row = self.view.selected
        unread = self.loom.sight.unread
        if row is not None and any(id in unread for id in row.ids):
            self.opened.add(self.loom.nodes[row.ids[0]].parent)
            self.branches.read(*row.ids)
            self.view.forget(self.view.index)
        self.query_one(PathView).show(self.listing, row)
        self._title()
        self.said(self._told or self._facts())
        self.show_keys()

    def _title(self) -> None:
        count = self.listing.outline.below(ROOT)
        parts = [count_of(count, "node")]
        if self.loom.sight.unread:
            parts.append(f"{len(self.loom.sight.unread):,} unread")
        if self.listing.outline.root != ROOT:
            parts.append(f"one branch alone, {self.key('loom.hoist')} shows all")
        path = self.document.path
        name = label_text(path.stem) if path else "loom"
        line = self.query_one("#model", Line)
        line.styles.width = min(sum(map(len, parts)) + 3 * len(parts), self.size.width // 2)
        self.query_one("#name", Name).say(name, "read-only" if self.document.read_only else "loom")
        line.say(*parts)

    def _facts(self) -> str:
        """What is noted on the row, and what hangs below it."""
        row = self.view.selected
        if row is None:
            return f"an empty loom · {self.key('loom.child')} writes a branch"
        if self.hits and self.hits[self.hit].id in row.ids:
            return looking.context(self.hits[self.hit])
        facts = self.view.facts(self.view.index)
        parts = [" + ".join(facts.authors), f"{self.listing.outline.below(row.ids[-1]):,} below"]
        if row.untaken:
            parts.append(f"{row.untaken} nobody has read, {self.key('tree.expand')} shows them")
        if facts.marks.note:
            parts.insert(0, f"note: {facts.marks.note}")
        signs = self.view.signs(facts)
        parts += [signs] if signs else []
        return label_text(" · ".join(parts))

    def show_keys(self) -> None:
        """The footer."""
        hints = []
        for action in ACTIONS:
            key = first_key(self.keymap, action, "loom")
            if action.id in self.table and action.footer and key:
                ready = self.table[action.id].applies()
                hints.append(Hint(action.id, key_name(key), action.footer, ready))
        self.query_one(KeyBar).show(painting.choose_hints(hints))

    @on(KeyBar.Clicked)
    def _key_clicked(self, message: KeyBar.Clicked) -> None:
        self.action_run(message.id)

    @on(FindBar.Wanted)
    def _find_wanted(self, message: FindBar.Wanted) -> None:
        looking.search(self, message.text)

    @on(FindBar.Step)
    def _find_step(self, message: FindBar.Step) -> None:
        looking.hit_step(self, message.by)
