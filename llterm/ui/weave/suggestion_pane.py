"""The suggestion tree: foldable rows with probability bars, steady while a weave adds to it.

Rows are known by their tail (the tokens from the cursor on), so that folds and the selection stay
where they are while a weave adds, joins and splits branches. A line-API widget: 3,000 rows cost
what is on screen, and an update repaints the lines that differ.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from llterm.core.display_text import open_end, visible, whole_after
from llterm.core.healing import healing_note
from llterm.core.suggestion_tree import Branch
from llterm.core.tokens import Tail, common
from llterm.number_format import bar, fine_percent, percent
from llterm.ui.messages import BranchChosen, BranchHighlighted
from llterm.ui.widgets.text_fit import crop
from llterm.ui.widgets.virtual_height import set_virtual_height

NUMBERED = 9
"""Rows on screen that carry a digit to pick them by."""
_HERE = "›"
"""Beside the highlighted row: of 16 colours no background is left for it while the story has the
focus."""
_GLYPHS = {"end": "■", "open": "○", "banned": "✗"}


@dataclass(frozen=True, slots=True, eq=False)
class SuggestionRow:
    """One visible line of the tree."""

    branch: Branch
    depth: int
    """How many rows it hangs below the first level; 0 = at the cursor."""
    folded: bool
    parent: int
    """Index of the parent row; -1 on the first level."""
    before: bytes = b""
    """The beginning of a character that the text before the row ends in."""

    @property
    def tail(self) -> Tail:
        """All tokens from the cursor to the end of this row."""
        return self.branch.tail


def flatten(
    branches: Sequence[Branch], folds: Collection[Tail], before: bytes = b""
) -> list[SuggestionRow]:
    """Visible rows in order. `folds` holds the tails of rows whose children are hidden; `before` is
    the text that they hang under."""
    rows: list[SuggestionRow] = []
    waiting = [(branch, 0, -1, open_end(before)) for branch in reversed(branches)]
    while waiting:
        branch, depth, parent, start = waiting.pop()
        folded = bool(branch.children) and branch.tail in folds
        index = len(rows)
        rows.append(SuggestionRow(branch, depth, folded, parent, start))
        if not folded:
            rest = open_end(start + branch.data)
            waiting.extend((child, depth + 1, index, rest) for child in reversed(branch.children))
    return rows


def label(branch: Branch, before: bytes = b"") -> tuple[str, bool]:
    """What a row says, inert, and whether it is the name of a special token.

    A character that begins in the text before and ends here stands here whole.
    """
    text = visible(whole_after(before, branch.data))
    if text:
        if branch.share is not None:
            return f"{text}  ({fine_percent(branch.share)} of these)", False
        return text + healing_note(branch.healed) + (
            f"  (+{branch.alike} alike)" if branch.alike else ""
        ), False
    names = [visible(step.data) for step in branch.steps if step.special]
    return ("".join(names), True) if names else ("·", True)


def locate(rows: Sequence[SuggestionRow], tail: Tail | None) -> int:
    """Where the row with this tail is now, or the one that took its place; -1 without rows.

    A branch that has since been split is found by the row that goes on from its beginning, one
    that was folded away by the row above it.
    """
    if not rows:
        return -1
    if not tail:
        return 0
    best, shared = 0, 0
    for index, row in enumerate(rows):
        if row.tail == tail:
            return index
        size = common(row.tail, tail)
        if size > shared:
            best, shared = index, size
    return best


class SuggestionPane(ScrollView, can_focus=True):
    """Shows branches; keeps folds and the selection by the branches' tokens."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "tree--bar",
        "tree--cursor",
        "tree--cursor-blurred",
        "tree--faint",
        "tree--special",
    }
    HELP = "The suggestions, most probable first. A row's percent is its share of its parent's."

    def __init__(self, *, id: str | None = None) -> None:
        self._painted: dict[int, object] = {}
        super().__init__(id=id)
        self._branches: Sequence[Branch] = ()
        self._before = b""
        self._rows: list[SuggestionRow] = []
        self._folds: set[Tail] = set()
        self._index = -1
        self._pinned = False
        self._returning: Tail | None = None
        """The branch to be highlighted again once its tree is back."""
        self._stale = False
        self._painted_under: object = None

    # --- what it shows

    @property
    def rows(self) -> Sequence[SuggestionRow]:
        return self._rows

    @property
    def selected(self) -> SuggestionRow | None:
        """The highlighted row; None when there is nothing to show."""
        return self._rows[self._index] if 0 <= self._index < len(self._rows) else None

    @property
    def stale(self) -> bool:
        """Whether what is shown belongs to another text or place."""
        return self._stale

    def show(self, branches: Sequence[Branch], *, stale: bool, before: bytes = b"") -> None:
        """Show these branches, which hang under the text `before`. A selection that the person made
        stays on its branch."""
        if branches is self._branches and stale == self._stale:
            return
        self._branches = branches
        self._before = before
        self._stale = stale
        self._relist()

    def forget(self, returning: Tail | None = None) -> None:
        """Another tree is coming: no folds, the selection on a branch that was chosen there
        before, or on the most probable one."""
        self._folds.clear()
        self._pinned = False
        self._returning = returning

    def _relist(self) -> None:
        before = self.selected
        self._rows = flatten(self._branches, self._folds, self._before)
        tail = before.tail if before is not None and self._pinned else self._returning
        self._index = locate(self._rows, tail)
        set_virtual_height(self, len(self._rows))
        self._repaint_changes()
        after = self.selected
        if (before and before.tail) != (after and after.tail):
            self._scroll_to_selected()
        self.post_message(BranchHighlighted())

    # --- moving about

    def select(self, index: int) -> None:
        """Highlight a row; out of range goes to the nearest."""
        if not self._rows:
            return
        index = min(max(index, 0), len(self._rows) - 1)
        self._pinned = True
        if index != self._index:
            self._index = index
            self._scroll_to_selected()
            self._repaint_changes()
            self.post_message(BranchHighlighted())

    def move(self, step: int) -> None:
        """Up or down by rows."""
        self.select(self._index + step)

    def page(self, direction: int) -> None:
        self.move(direction * max(self.size.height - 1, 1))

    def sibling(self, step: int) -> None:
        """To the next or previous row under the same parent."""
        row = self.selected
        if row is None:
            return
        indices = [i for i, other in enumerate(self._rows) if other.parent == row.parent]
        at = indices.index(self._index) + step
        self.select(indices[min(max(at, 0), len(indices) - 1)])

    def to_parent(self) -> None:
        row = self.selected
        if row is not None and row.parent >= 0:
            self.select(row.parent)

    def fold(self) -> None:
        """Hide the children of the selected row; where there are none, go to its parent."""
        row = self.selected
        if row is None:
            return
        if row.branch.children and not row.folded:
            self.toggle()
        else:
            self.to_parent()

    def unfold(self) -> None:
        """Show the children of the selected row; where they are shown, go to the first."""
        row = self.selected
        if row is None or not row.branch.children:
            return
        if row.folded:
            self.toggle()
        else:
            self.move(1)

    def toggle(self) -> None:
        row = self.selected
        if row is None or not row.branch.children:
            return
        self._pinned = True
        self._folds ^= {row.tail}
        self._relist()

    def numbered(self, digit: int) -> SuggestionRow | None:
        """The row that carries this digit, 1 to 9."""
        index = self.scroll_offset.y + digit - 1
        return self._rows[index] if 0 < digit <= NUMBERED and index < len(self._rows) else None

    def _scroll_to_selected(self) -> None:
        self.scroll_to_region(
            Region(0, self._index, 1, 1), animate=False, force=True, immediate=True
        )

    # --- mouse

    async def _on_click(self, event: events.Click) -> None:
        index = self.scroll_offset.y + event.y
        if not 0 <= index < len(self._rows):
            return
        row = self._rows[index]
        twice = event.chain == 2 and index == self._index
        self.select(index)
        if twice:
            self.post_message(BranchChosen(row.tail))
        elif event.chain == 1 and event.x in self._glyph_cells(row):
            self.toggle()

    def _glyph_cells(self, row: SuggestionRow) -> range:
        start = 2 + self._indent(row)
        return range(start, start + 2)

    # --- painting

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        self._painted.clear()
        super().watch_scroll_y(old_value, new_value)

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> SuggestionPane:
        """Repaint; asked for the whole pane, only the lines that look different."""
        if regions or layout or recompose or not repaint or not self._painted:
            super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
        else:
            self.call_next(self._repaint_changes)
        return self

    def _repaint_changes(self) -> None:
        """Repaint the lines on screen that look different now."""
        under = (self.visual_style, self.size)
        if under != self._painted_under:
            self._painted_under = under
            super().refresh()
            return
        for y in range(self.size.height):
            if self._painted.get(y) != self._look(y):
                super().refresh(Region(0, y, self.size.width, 1))

    def _look(self, y: int) -> object:
        """Everything that the line at `y` on screen depends on."""
        index = y + self.scroll_offset.y
        if index >= len(self._rows):
            return None
        row = self._rows[index]
        branch = row.branch
        selected = index == self._index
        return (
            branch.data,
            row.before,
            branch.finish,
            branch.banned,
            branch.alike,
            branch.healed,
            branch.sampled,
            bool(branch.children),
            percent(branch.p),
            bar(branch.p, self._bar_width),
            row.depth,
            row.folded,
            selected and (1 + self.has_focus),
            self._stale,
        )

    @property
    def _bar_width(self) -> int:
        width = self.size.width
        return 10 if width >= 54 else 6 if width >= 34 else 4 if width >= 28 else 0

    def _indent(self, row: SuggestionRow) -> int:
        room = self.size.width - self._bar_width - 11 - 10
        return min(2 * row.depth, max(room, 0))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if not self._painted:
            self._painted_under = (self.visual_style, self.size)
        self._painted[y] = self._look(y)
        index = y + self.scroll_offset.y
        if index >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        row, digit = self._rows[index], y + 1
        base = self._base(index)
        mark = _HERE if index == self._index else " "
        cells = self._segments(row, str(digit) if digit <= NUMBERED else " ", mark, base)
        if self._stale:
            # One style a row: all rows change at once here, and over SSH each style costs.
            cells = [Segment("".join(cell.text for cell in cells), base)]
        return Strip(cells).adjust_cell_length(width, base)

    def _base(self, index: int) -> Style:
        style = self.rich_style
        if index == self._index:
            name = "tree--cursor" if self.has_focus else "tree--cursor-blurred"
            style += self.get_component_rich_style(name, partial=True)
        if self._stale:
            style += self.get_component_rich_style("tree--faint", partial=True)
        return style

    def _segments(self, row: SuggestionRow, digit: str, mark: str, base: Style) -> list[Segment]:
        part = self._part
        branch, width = row.branch, self._bar_width
        text, special = label(branch, row.before)
        glyph = ("▸" if row.folded else "▾") if branch.children else ""
        glyph = glyph or ("~" if branch.sampled else "")
        glyph = glyph or _GLYPHS.get(branch.finish or "", " ")
        indent = self._indent(row)
        # Odds are longer than a percentage, and their bars are empty.
        figure = f"{percent(branch.p):>6}"
        width = max(width + 6 - len(figure), 0)
        taken = len(figure) + (width + 1 if width else 0)
        room = max(self.size.width - 2 - indent - 2 - taken - 2, 1)
        shown = crop(text, room)
        style = base + part("special") if special else base
        if branch.banned:
            style += part("faint") + Style(strike=True)
        # Three styles a row and no more: an accept paints every row, and each style has its bytes.
        figures = f"{bar(branch.p, width)} " if width else ""
        return [
            Segment(f"{digit}{mark}" + " " * indent + f"{glyph} ", base + part("faint")),
            Segment(shown + " " * (room - cell_len(shown) + 1), style),
            Segment(f"{figures}{figure} ", base + part("bar")),
        ]

    def _part(self, name: str) -> Style:
        return self.get_component_rich_style(f"tree--{name}", partial=True)
