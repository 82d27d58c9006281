"""The loom screen: every branch as outline or map, the path to the selected one, search."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from llterm.core.display_text import label_text
from llterm.core.loom_tree import ROOT
from llterm.keymap import IN_LOOM
from llterm.number_format import count_of
from llterm.ui.loom import loom_handlers, loom_tree_handlers
from llterm.ui.loom.loom_map import LoomMap
from llterm.ui.loom.loom_outline import LoomOutline
from llterm.ui.loom.loom_panes import LoomPanes
from llterm.ui.loom.loom_path import LoomPath
from llterm.ui.loom.loom_rows import LoomRows
from llterm.ui.weave.panes import Panes
from llterm.ui.widgets.find_bar import FindBar
from llterm.ui.widgets.key_bar import KeyBar
from llterm.ui.widgets.status_line import NameLine, StatusLine

SHARED = ("app.export", "app.import", "app.log", "app.looms", "app.palette", "app.quit", "app.save")
"""Actions of the main screen that mean the same here."""


class LoomScreen(LoomPanes):
    """Over the main screen, on the same document."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high")]  # noqa: RUF012
    AUTO_FOCUS = "#outline"

    def __init__(self, main: Panes) -> None:
        super().__init__(main)
        self.table = {
            **{id: main.table[id] for id in SHARED},
            **loom_tree_handlers.table(self),
            **loom_handlers.table(self),
        }

    def compose(self) -> ComposeResult:
        with Horizontal(id="title"):
            yield NameLine(id="name")
            yield StatusLine(id="model")
        with Horizontal(id="loom"):
            yield LoomOutline(id="outline")
            yield LoomMap(id="map")
            yield LoomPath(id="path")
        yield StatusLine(id="said")
        yield FindBar("in every branch", id="find")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        self.bind_pane(self, "everywhere", IN_LOOM)
        for view in (self.outline, self.map):
            self.bind_pane(view, "loom")
        self.map.display = False
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """Show where the story ends; the panes know their sizes now."""
        self.view.show(self.listing, self.listing.nearest(self.loom.head))
        self.look()

    # --- actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        typed = parameters and parameters[0] in {"edit.undo", "edit.redo", "edit.copy"}
        if typed and self.find_bar.has_focus_within:
            return False
        return super().check_action(action, parameters)

    # --- showing

    def show_note(self) -> None:
        self.query_one("#said", StatusLine).say(self.note or self._facts())

    @on(LoomRows.Moved)
    def _moved(self) -> None:
        self.note = ""
        self.look()

    @on(LoomRows.Opened)
    def _opened(self) -> None:
        self.action_run("loom.open")

    def look(self) -> None:
        row = self.view.selected
        unread = self.loom.sight.unread
        if row is not None and any(id in unread for id in row.ids):
            self.opened.add(self.loom.nodes[row.ids[0]].parent)
            self.branches.read(*row.ids)
            self.view.forget(self.view.index)
        self.query_one(LoomPath).show(self.listing, row)
        self._title()
        self.show_note()
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
        line = self.query_one("#model", StatusLine)
        line.styles.width = min(sum(map(len, parts)) + 3 * len(parts), self.size.width // 2)
        self.query_one("#name", NameLine).say(
            name, "read-only" if self.document.read_only else "loom"
        )
        line.say(*parts)

    def _facts(self) -> str:
        """What is noted on the row, and what hangs below it."""
        row = self.view.selected
        if row is None:
            return f"an empty loom · {self.key('loom.child')} writes a branch"
        hit = self.find_bar.hit
        if hit is not None and hit.id in row.ids:
            return loom_tree_handlers.context(hit)
        facts = self.view.facts(self.view.index)
        parts = [" + ".join(facts.authors), f"{self.listing.outline.below(row.ids[-1]):,} below"]
        if row.untaken:
            parts.append(f"{row.untaken} nobody has read, {self.key('tree.expand')} shows them")
        if facts.marks.note:
            parts.insert(0, f"note: {facts.marks.note}")
        signs = self.view.signs(facts)
        parts += [signs] if signs else []
        return label_text(" · ".join(parts))

    @on(FindBar.PhraseChanged)
    def _phrase_changed(self, message: FindBar.PhraseChanged) -> None:
        loom_tree_handlers.search(self, message.text)

    @on(FindBar.Stepped)
    def _find_stepped(self, message: FindBar.Stepped) -> None:
        loom_tree_handlers.show_hit(self, self.find_bar.step(message.by))
