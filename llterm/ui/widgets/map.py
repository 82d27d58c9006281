"""A loom as a map: the tree grows to the right in drawn lines, each branch shaded by its tokens.

Shading is a ramp of glyphs, so that nothing rests on colour: the fuller, the more probable. The
story is drawn in strong lines.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip

from llterm.core.listing import Listing
from llterm.ui.widgets.branching import SHARES, Branching
from llterm.ui.widgets.cells import crop

CELL = SHARES + 4
"""A joint, a line, the shades, an end."""
NAMED = 24
"""Cells in which a leaf's first words stand after it."""
_RAMP = "▁▂▃▄▅▆▇█"


class MapView(Branching):
    """Columns are forks deep, lines are leaves."""

    HELP = "The shape of the loom. Fuller blocks are more probable tokens; dots are yours."

    def extent(self, listing: Listing) -> Size:
        return Size(listing.map.width * CELL + NAMED, len(listing.map.starts))

    def where(self, index: int) -> Region:
        assert self.listing is not None
        found = self.listing.map
        return Region(found.columns[index] * CELL, found.lines[index], CELL + NAMED, 1)

    def index_at(self, x: int, y: int) -> int | None:
        return self.listing.map.row_at(y, x // CELL) if self.listing is not None else None

    def render_line(self, y: int) -> Strip:
        offset, width = self.scroll_offset, self.room
        line = y + offset.y
        listing = self.listing
        if listing is None or not 0 <= line < len(listing.map.starts):
            return Strip.blank(width, self.rich_style)
        first = offset.x // CELL
        segments: list[Segment] = []
        passing = listing.map.passing(line)
        last = first + width // CELL + 2
        for column in range(first, last):
            index = listing.map.row_at(line, column)
            if index is not None:
                segments += self._cell(listing, index)
            elif column <= listing.map.columns[listing.map.starts[line]]:
                bar = passing.get(column)
                joint = " " if bar is None else "┃" if bar else "│"
                style = self._line_style(bool(bar))
                segments.append(Segment(joint + " " * (CELL - 1), style))
        if listing.map.row_at(line, last) is None:
            used = sum(cell_len(segment.text) for segment in segments)
            segments.append(self._tail(listing, line, first, (last - first) * CELL - used))
        cut = offset.x - first * CELL
        return Strip(segments).crop_extend(cut, cut + width, self.rich_style)

    def _cell(self, listing: Listing, index: int) -> list[Segment]:
        base, story = self.base(index), index in listing.story
        shades = "".join(
            "·" if p is None else _RAMP[min(int(p * len(_RAMP)), len(_RAMP) - 1)]
            for p in self.facts(index).shades
        )
        row = listing.rows[index]
        dash = "━" if story else "─"
        end = (
            "●" if row.ids[-1] == listing.loom.head
            else "◆" if self.facts(index).marks.bookmark
            else "+" if row.folded or row.untaken
            else (dash if row.branches else " ")
        )  # fmt: skip
        line, joint = self._line_style(story), _joint(listing, index)
        shade = base + self.part("story" if story else "bar")
        if self.marked & set(row.ids):
            shade += Style(underline=True)
        return [
            Segment(joint, self._line_style(joint in "━┳┣┠┗")),
            Segment(dash, line),
            Segment(shades, shade),
            Segment(end, base + self.part("mark")),
            Segment(dash if row.branches and not row.folded else " ", line),
        ]

    def _tail(self, listing: Listing, line: int, first: int, room: int) -> Segment:
        """Where a line of the map has room after it: how its leaf ends, in words."""
        starts = listing.map.starts
        leaf = (starts[line + 1] if line + 1 < len(starts) else len(listing.rows)) - 1
        away = listing.map.columns[leaf] < first
        text = "" if away else crop(self.facts(leaf).text, max(room - 1, 0))
        return Segment(f" {text}", self.rich_style + self.part("faint"))

    def _line_style(self, story: bool) -> Style:
        return self.rich_style + self.part("bar" if story else "faint")


def _joint(listing: Listing, index: int) -> str:
    """How a row joins the one that it hangs below."""
    story, found = index in listing.story, listing.map
    parent = listing.parents[index]
    if parent < 0:
        return "━" if story else "─"
    line, bold = found.lines[index], found.bold[parent]
    first, more = line == found.lines[parent], found.last[parent] > line
    if first:
        if not more:
            return "━" if story else "─"
        return "┳" if story or bold > line else "┬"
    if story:
        return "┣" if more else "┗"
    if more:
        return "┠" if bold > line else "├"
    return "└"
