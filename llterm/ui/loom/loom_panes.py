"""The panes of the loom screen, and what its handlers use."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from llterm.core.loom_tree import LoomTree
from llterm.core.outline_map import Listing
from llterm.core.tree_outline import OutlineRow, PhraseHit
from llterm.keymap import Pane
from llterm.session.document import Document
from llterm.session.manuscript import Change
from llterm.session.tree_commands import TreeCommands
from llterm.ui.dialogs.help_dialog import HelpPart
from llterm.ui.keyed_screen import KeyedScreen
from llterm.ui.loom.loom_map import LoomMap
from llterm.ui.loom.loom_outline import LoomOutline
from llterm.ui.loom.loom_rows import LoomRows
from llterm.ui.notices import troubles
from llterm.ui.weave.panes import Panes
from llterm.ui.widgets.find_bar import FindBar


class LoomPanes(KeyedScreen):
    """The document of the main screen as an outline or a map; its editor follows every change."""

    FLASH = 0.0
    PALETTE = ("loom",)

    def __init__(self, main: Panes) -> None:
        super().__init__(main.keymap)
        self.main = main
        self.session = main.session
        self.opened: set[int] = set()
        """Nodes whose unread children are shown."""
        self.held: tuple[str, int] | None = None
        """What was taken up, and for what: `move` or `compare`."""
        self.listing = Listing(self.loom)

    @property
    def document(self) -> Document:
        return self.session.document

    @property
    def loom(self) -> LoomTree:
        return self.session.document.loom

    @property
    def branches(self) -> TreeCommands:
        return self.session.document.branches

    @property
    def outline(self) -> LoomOutline:
        return self.query_one("#outline", LoomOutline)

    @property
    def map(self) -> LoomMap:
        return self.query_one("#map", LoomMap)

    @property
    def view(self) -> LoomRows:
        """The outline, or the map."""
        return self.map if self.map.display else self.outline

    @property
    def row(self) -> OutlineRow:
        """The selected row; there is one where an action asks for it."""
        row = self.view.selected
        assert row is not None
        return row

    @property
    def find_bar(self) -> FindBar[PhraseHit]:
        return self.query_one(FindBar)

    # --- keys

    @property
    def pane(self) -> Pane:
        return "loom"

    def help_parts(self) -> list[HelpPart]:
        """Keys for the help."""
        return [HelpPart("In the loom", self.view, True), HelpPart("Everywhere", self, True)]

    # --- changes

    def change(self, step: Callable[[], Change], then: int | None) -> None:
        """Do a command, let the editor follow, and go to a node; None is the story's end."""
        with troubles(self):
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

    @abstractmethod
    def look(self) -> None:
        """Show all that goes with the selected row; it has been read now."""
