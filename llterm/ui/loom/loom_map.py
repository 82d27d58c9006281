"""A loom as a map: the tree grows to the right in drawn lines, each branch shaded by its tokens.

Shading is a ramp of glyphs, so that nothing rests on colour: the fuller, the more probable. The
story is drawn in strong lines. Where there is room, branches hold words; where many forks follow
each other, branches are narrower.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip

from llterm.core.outline_map import Listing
from llterm.ui.loom.loom_rows import SHARES, LoomRows
from llterm.ui.widgets.text_fit import crop

LEAST, WIDEST = 3, 22
"""Shades of a branch in a loom of many forks; cells of its words in one of few."""
FRAME = 4
"""A joint, a line, an end, a line to the next joint."""
LEAST_NAMED, NAMED = 10, 24
"""Cells in which a leaf's first words stand after it."""
_FEWEST = 8
"""Fewer cells hold no words."""
_RAMP = "▁▂▃▄▅▆▇█"


class LoomMap(LoomRows):
    """Columns are forks deep, lines are leaves."""

    HELP = "The shape of the loom. Fuller blocks are more probable tokens; dots are yours."

    shades, words, named = SHARES, 0, NAMED
    """Cells of a branch's shades, of its words, and of those after a leaf."""

    @property
    def cell(self) -> int:
        """Cells of a branch."""
        return self.shades + self.words + FRAME

    def extent(self, listing: Listing) -> Size:
        columns, room = listing.map.width, self.size.width - 2 - NAMED
        self.shades = min(max(room // max(columns, 1) - FRAME, LEAST), SHARES)
        # The last column holds leaves, whose words stand after them.
        spare = (room - columns * (SHARES + FRAME)) // max(columns - 1, 1)
        self.words = min(spare, WIDEST) if spare >= _FEWEST else 0
        branches = columns * self.cell - self.words
        self.named = min(max(self.size.width - 2 - branches, LEAST_NAMED), NAMED)
        return Size(branches + self.named, len(listing.map.starts))

    def on_resize(self) -> None:
        """Use the width that there is."""
        if self.listing is not None:
            self.show(self.listing, self.index)

    def where(self, index: int) -> Region:
        assert self.listing is not None
        layout, cell = self.listing.map, self.cell
        return Region(
            layout.columns[index] * cell, layout.lines[index], self.shades + FRAME + self.named, 1
        )

    def index_at(self, x: int, y: int) -> int | None:
        return self.listing.map.row_at(y, x // self.cell) if self.listing is not None else None

    def render_line(self, y: int) -> Strip:
        offset, width = self.scroll_offset, self.room
        line = y + offset.y
        listing = self.listing
        if listing is None or not 0 <= line < len(listing.map.starts):
            return Strip.blank(width, self.rich_style)
        cell = self.cell
        first = offset.x // cell
        segments: list[Segment] = []
        passing = listing.map.passing(line)
        last = first + width // cell + 2
        for column in range(first, last):
            index = listing.map.row_at(line, column)
            if index is not None:
                segments += self._cell(listing, index)
            elif column <= listing.map.columns[listing.map.starts[line]]:
                bar = passing.get(column)
                joint = " " if bar is None else "┃" if bar else "│"
                style = self._line_style(bool(bar))
                segments.append(Segment(joint + " " * (cell - 1), style))
        if listing.map.row_at(line, last) is None:
            used = sum(cell_len(segment.text) for segment in segments)
            room = offset.x - first * cell + width - used
            segments += self._tail(listing, line, offset.x, room)
        cut = offset.x - first * cell
        return Strip(segments).crop_extend(cut, cut + width, self.rich_style)

    def _cell(self, listing: Listing, index: int) -> list[Segment]:
        base, story = self.base(index), index in listing.story
        shades = "".join(
            "·" if p is None else _RAMP[min(int(p * len(_RAMP)), len(_RAMP) - 1)]
            for p in _fewer(self.facts(index).shades, self.shades)
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
        # A leaf's words stand after it, where there is more room.
        words = self.words if row.branches and not row.folded else 0
        text = crop(self.facts(index).text, words - 2) if words else ""
        text = f" {text} " if text else ""
        if self.marked & set(row.ids):
            shade += Style(underline=True)
        return [
            Segment(joint, self._line_style(joint in "━┳┣┠┗")),
            Segment(dash, line),
            Segment(shades, shade),
            *([Segment(text, base + self.part("story" if story else "faint"))] if text else []),
            Segment(dash * (words - cell_len(text)), line),
            Segment(end, base + self.part("mark")),
            Segment(dash if row.branches and not row.folded else " ", line),
        ]

    def _tail(self, listing: Listing, line: int, left: int, room: int) -> list[Segment]:
        """Where a line of the map has room after it: its leaf in words. `left` is the first cell in
        sight; a leaf before that is named there, after a `‹`."""
        starts = listing.map.starts
        leaf = (starts[line + 1] if line + 1 < len(starts) else len(listing.rows)) - 1
        away = listing.map.columns[leaf] < left // self.cell
        text = crop(self.facts(leaf).text, max(room - 1, 0))
        style = self.rich_style + self.part("faint")
        return [
            Segment(" " * (left % self.cell) + "‹" if away else " ", style),
            Segment(text, style),
        ]

    def _line_style(self, story: bool) -> Style:
        return self.rich_style + self.part("bar" if story else "faint")


def _fewer(shades: Sequence[float | None], count: int) -> Iterator[float | None]:
    """So many shades of these: the mean of those that fall together."""
    for n in range(count):
        first, stop = (len(shades) * at // count for at in (n, n + 1))
        known = [one for one in shades[first:stop] if one is not None]
        yield sum(known) / len(known) if len(known) == stop - first else None


def _joint(listing: Listing, index: int) -> str:
    """How a row joins the one that it hangs below."""
    story, layout = index in listing.story, listing.map
    parent = listing.parents[index]
    if parent < 0:
        return "━" if story else "─"
    line, bold = layout.lines[index], layout.bold[parent]
    first, more = line == layout.lines[parent], layout.last[parent] > line
    if first:
        if not more:
            return "━" if story else "─"
        return "┳" if story or bold > line else "┬"
    if story:
        return "┣" if more else "┗"
    if more:
        return "┠" if bold > line else "├"
    return "└"
