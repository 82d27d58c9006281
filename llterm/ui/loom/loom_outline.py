"""A loom as an outline: a row for each run without a fork, indented below its fork."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip

from llterm.core.outline_map import Listing
from llterm.core.tree_outline import OutlineRow
from llterm.number_format import percent
from llterm.ui.loom.loom_rows import YOU, LoomRows, RowFacts
from llterm.ui.widgets.text_fit import crop

_FIGURE = 7
"""Cells of a percent, with a space."""
_AUTHORS = 24
"""Cells in which several authors are named."""


class LoomOutline(LoomRows):
    """Rows from top to bottom. The story stands beside a strong line."""

    HELP = "Every branch of the loom. The strong line is the story; percents are of the row above."

    def extent(self, listing: Listing) -> Size:
        return Size(0, len(listing.rows))

    def where(self, index: int) -> Region:
        return Region(0, index, 1, 1)

    def index_at(self, x: int, y: int) -> int | None:
        return y if self.listing is not None and 0 <= y < len(self.listing.rows) else None

    def render_line(self, y: int) -> Strip:
        index = self.index_at(0, y + self.scroll_offset.y)
        width = self.room
        if index is None or self.listing is None:
            return Strip.blank(width, self.rich_style)
        base = self.base(index)
        return Strip(self._segments(index, self.listing, base)).adjust_cell_length(width, base)

    def _segments(self, index: int, listing: Listing, base: Style) -> list[Segment]:
        row, facts = listing.rows[index], self.facts(index)
        faint, story = base + self.part("faint"), index in listing.story
        last = story and row.ids[-1] == listing.loom.head
        gutter = ("┗" if last else "┃") if story else " "
        indent = min(2 * row.depth, max(self.room - 40, 0))
        glyph = "▸" if row.folded else "▾" if row.branches else " "
        right = _counts(row)
        signs = self.signs(facts)
        figure = _figure(facts)
        used = 1 + indent + 2 + cell_len(figure) + cell_len(right) + cell_len(signs) + bool(signs)
        room = max(self.room - used - 1, 8)
        text = crop(facts.text, room)
        style = base + self.part("story") if story else base
        if self.marked & set(row.ids):
            style += Style(underline=True)
        return [
            Segment(gutter, base + self.part("bar")),
            Segment(f"{' ' * indent}{glyph} ", faint),
            Segment(text, style),
            Segment(" " * (room - cell_len(text) + 1), base),
            *([Segment(f"{signs} ", base + self.part("mark"))] if signs else []),
            Segment(right, faint),
            Segment(figure, base + self.part("bar")),
        ]


def _figure(facts: RowFacts) -> str:
    """The probability, or that it is yours; where several wrote the row, who."""
    p = percent(facts.p) if facts.p is not None else ""
    if len(facts.authors) > 1:
        return " ".join(("", crop(" + ".join(facts.authors), _AUTHORS), *filter(None, (p,))))
    return f"{YOU if facts.authors == (YOU,) else f' {p}':>{_FIGURE}}"


def _counts(row: OutlineRow) -> str:
    """What of the tree is hidden here."""
    parts = [f"{row.below:,} below" if row.folded else "", f"+{row.untaken}" if row.untaken else ""]
    return " ".join(filter(None, parts))
