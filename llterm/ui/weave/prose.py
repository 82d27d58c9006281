"""How the story is drawn: rows of prose, the ghost after the cursor, marks. No editing in here.

Rows are made from the wrapped document straight away, so a key costs what is on screen and not
what the paragraph is long, and only rows that look different are painted again. Together with
`story_editor.py` the only place that touches Textual's `TextArea` internals.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.document._document import Location, Selection
from textual.events import MouseEvent
from textual.geometry import Offset, Region
from textual.strip import Strip
from textual.widgets import TextArea

from llterm.ui.weave.ghost_rows import GhostRow, ghost_rows
from llterm.ui.widgets.virtual_height import set_virtual_height

Span = tuple[int, int, Style]
"""Columns of a document line, and a style over them."""


@dataclass(frozen=True, slots=True)
class GhostPlace:
    """A ghost in the rows of the pane's content."""

    x: int
    y: int
    """Cell and row of the cursor."""
    rows: Sequence[GhostRow]
    """From the cursor's row on, with the rest of the cursor's line, or what may be seen of it."""
    more: int
    """How many rows lower it lets the lines below begin."""


class Prose(TextArea):
    """A text area that draws prose, a wrapped ghost, and marks."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "prose--anchor",
        "prose--found",
        "prose--ghost",
        "prose--unseen",
    }

    def __init__(self, text: str, *, id: str | None = None) -> None:
        # Textual's constructor draws already.
        self._ghost = ""
        self._ghost_at: Location = (0, 0)
        self._ghost_ended = False
        """Whether the ghost before this one stood at the story's end."""
        self._ghost_room = 0
        self._ghost_place: GhostPlace | None = None
        self._found: dict[int, list[tuple[int, int]]] = {}
        self.unseen: Location = (0, 0)
        """Text before this place is out of the model's sight."""
        self._painted: dict[int, Strip] = {}
        self._painted_under: object = None
        self._repaint_waits = False
        super().__init__(
            text,
            id=id,
            soft_wrap=True,
            tab_behavior="focus",
            highlight_cursor_line=False,
            compact=True,
        )
        self.cursor_blink = False
        self.match_cursor_bracket = False

    # --- ghost and marks

    @property
    def ghost(self) -> str:
        """The text drawn after the cursor that is not in the story."""
        return self._ghost

    @property
    def at_end(self) -> bool:
        """Whether the cursor stands at the end of the story."""
        return self.selection.is_empty and self.cursor_location == self.document.end

    def show_ghost(self, text: str) -> None:
        """Draw this after the cursor, before the text that follows, and wrapped with it; empty
        draws none."""
        place = self.cursor_location
        if (text, place) == (self._ghost, self._ghost_at) or not (text or self._ghost):
            return
        at_end = self.at_end
        if place != self._ghost_at and not (at_end and self._ghost_ended):
            self._ghost_room = 0
        self._ghost, self._ghost_at, self._ghost_ended = text, place, at_end
        self._refresh_size()
        drawn = self._drawn()
        if drawn is not None:
            last = max((at for at, row in enumerate(drawn.rows) if row.ghost), default=0)
            height = min(last + 1, max(self.size.height, 1))
            self.scroll_to_region(
                Region(0, drawn.y, 1, height), animate=False, force=True, immediate=True
            )
        self.refresh()

    def mark_found(self, ranges: Sequence[tuple[Location, Location]]) -> None:
        """Mark what a search found; each range lies in one line."""
        self._found = {}
        for (row, start), (_, stop) in ranges:
            self._found.setdefault(row, []).append((start, stop))
        self.refresh()

    def mark_unseen(self, before: Location) -> None:
        """Draw the text before this place as out of the model's sight."""
        if before != self.unseen:
            self.unseen = before
            self.refresh()

    def _drawn(self) -> GhostPlace | None:
        """The ghost as it is drawn; None without one, and where the cursor has left it."""
        if not self._ghost or self.selection != Selection.cursor(self._ghost_at):
            return None
        line, column = self._ghost_at
        if self._ghost_place is None:
            text = self.document.get_line(line)
            x, y = self.wrapped_document.location_to_offset(self._ghost_at)
            breaks = self.wrapped_document.get_offsets(line)
            first = bisect_right(breaks, column)
            # What is out of sight below keeps its rows: a long line is not wrapped to its end.
            last = min(first + max(self.size.height, 1), len(breaks))
            stop = breaks[last] if last < len(breaks) else len(text)
            rest = self._expanded(text[column:stop], line, column)
            ghost = self._ghost.expandtabs(self.indent_width)
            rows = ghost_rows(ghost, rest, x, self.wrap_width)
            self._ghost_place = GhostPlace(x, y, rows, len(rows) - (last - first + 1))
        return self._ghost_place

    def get_target_document_location(self, event: MouseEvent) -> Location:
        """The place that a click means: what is drawn there, and on a ghost the cursor's."""
        drawn = self._drawn()
        x, y = event.x - self.gutter.left, event.y - self.gutter.top + self.scroll_offset.y
        if drawn is None or y < drawn.y:
            return super().get_target_document_location(event)
        number = y - drawn.y
        if number >= len(drawn.rows):
            target = Offset(max(x, 0), y - drawn.more)
            return self.wrapped_document.offset_to_location(target)
        return self._ghost_target(drawn, number, x)

    # --- size and repainting

    def _refresh_size(self) -> None:
        """The ghost needs rows of its own where it would hang out of the pane.

        They stay for the next ghost at this place, or at the end, so that the text does not jump.
        """
        # Textual comes here whenever it has wrapped something anew.
        self._ghost_place = None
        drawn = self._drawn()
        if drawn is not None:
            self._ghost_room = max(self._ghost_room, drawn.more)
        set_virtual_height(self, self.wrapped_document.height + self._ghost_room)
        self.refresh()

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Prose:
        """Repaint; asked for the whole pane, only the rows that look different."""
        if regions or layout or recompose or not repaint or not self._painted:
            super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
        elif not self._repaint_waits:
            self._repaint_waits = True
            self.call_next(self._repaint_changes)
        return self

    def _repaint_changes(self) -> None:
        self._repaint_waits = False
        under = (self.visual_style, self.size)
        if under != self._painted_under:
            self._painted_under = under
            super().refresh()
            return
        self._rich_style_cache.clear()
        width, base = self.size.width, self.rich_style
        for y in range(self.size.height):
            if self._painted.get(y) != self._row(y, base):
                super().refresh(Region(0, y, width, 1))

    # --- drawing

    def render_line(self, y: int) -> Strip:
        if not self._painted:
            self._painted_under = (self.visual_style, self.size)
        strip = self._painted[y] = self._row(y, self.rich_style)
        return strip

    def _row(self, y: int, base: Style) -> Strip:
        width = self.scrollable_content_region.width
        absolute = y + self.scroll_offset.y
        drawn = self._drawn()
        if drawn is not None and absolute >= drawn.y:
            if absolute < drawn.y + len(drawn.rows):
                return self._ghost_row(drawn, absolute - drawn.y, width, base)
            absolute -= drawn.more
        lines = self.wrapped_document._offset_to_line_info
        if absolute >= len(lines):
            return Strip.blank(width, base)
        line, section = lines[absolute]
        start, stop, last = self._section(line, section)
        cursor_line, column = self.selection.end
        here = cursor_line == line and (start <= column < stop or (last and column == stop))
        segments = self._segments(line, start, stop, base, column if here else None)
        return Strip(segments).adjust_cell_length(width, base)

    def _section(self, line: int, section: int) -> tuple[int, int, bool]:
        """The columns that a row shows, and whether the line ends in it."""
        breaks = self.wrapped_document.get_offsets(line)
        start = breaks[section - 1] if section else 0
        last = section >= len(breaks)
        return start, len(self.document.get_line(line)) if last else breaks[section], last

    def _ghost_row(self, drawn: GhostPlace, number: int, width: int, base: Style) -> Strip:
        row = drawn.rows[number]
        ghost = base + self._component("prose--ghost")
        line, column = self._ghost_at
        segments: list[Segment] = []
        own = row.ghost
        if not number:
            breaks = self.wrapped_document.get_offsets(line)
            start = max((each for each in breaks if each <= column), default=0)
            segments += self._segments(line, start, column, base)
            segments.append(Segment(own[:1] or " ", ghost + self._cursor_style()))
            own = own[1:]
        segments.append(Segment(own, ghost))
        if row.start < row.stop:
            start, stop = self._ghost_columns(row)
            segments += self._segments(line, start, stop, base)
        return Strip(segments).adjust_cell_length(width, base)

    def _ghost_columns(self, row: GhostRow) -> tuple[int, int]:
        """The columns of the line that stand in a row of the ghost's."""
        line, column = self._ghost_at
        rest = self.document.get_line(line)[column:]
        if "\t" not in rest:
            return column + row.start, column + row.stop
        sizes = (len(self._expanded(sign, line, column + at)) for at, sign in enumerate(rest))
        ends = list(accumulate(sizes))
        return column + bisect_right(ends, row.start), column + bisect_right(ends, row.stop)

    def _ghost_target(self, drawn: GhostPlace, number: int, x: int) -> Location:
        """The place at cell `x` of a row of the ghost's."""
        row, line = drawn.rows[number], self._ghost_at[0]
        left = 0 if number else drawn.x
        if x < left:
            return self.wrapped_document.offset_to_location(Offset(max(x, 0), drawn.y))
        start, stop = self._ghost_columns(row)
        left += cell_len(row.ghost)
        if x < left or start == stop:
            return self._ghost_at
        # The last place of a row is the first one of the next.
        last = stop if stop == len(self.document.get_line(line)) else stop - 1
        for at in range(start, last):
            left += cell_len(self._expanded(self.document.get_line(line)[at], line, at))
            if x < left:
                return line, at
        return line, last

    def _segments(
        self, line: int, start: int, stop: int, base: Style, cursor: int | None = None
    ) -> list[Segment]:
        """The columns of a line as segments, with all that lies over them, and the cursor at this
        column, also right after them."""
        text = self.document.get_line(line)[start:stop]
        spans = self._spans(line, start, stop)
        if cursor is not None:
            spans.append((cursor, cursor + 1, self._cursor_style()))
            text += " " * (cursor == stop)
        if not spans:
            return [Segment(self._expanded(text, line, start), base)]
        cuts = {start, start + len(text)}
        cuts.update(min(max(cut, start), start + len(text)) for one in spans for cut in one[:2])
        edges = sorted(cuts)
        segments = []
        for left, right in pairwise(edges):
            style = base
            for first, end, over in spans:
                if first <= left < end:
                    style += over
            part = text[left - start : right - start]
            segments.append(Segment(self._expanded(part, line, left), style))
        return segments

    def _spans(self, line: int, start: int, stop: int) -> list[Span]:
        spans: list[Span] = []
        if (line, start) < self.unseen:
            end = self.unseen[1] if line == self.unseen[0] else stop + 1
            spans.append((0, end, self._component("prose--unseen")))
        for first, end in self._found.get(line, ()):
            if first < stop and end > start:
                spans.append((first, end, self._component("prose--found")))
        (top_line, top), (bottom_line, bottom) = sorted(self.selection)
        if (top_line, top) != (bottom_line, bottom) and top_line <= line <= bottom_line:
            left = top if line == top_line else 0
            right = bottom if line == bottom_line else stop + 1
            spans.append((left, right, self._component("text-area--selection")))
        return spans

    def _expanded(self, text: str, line: int, column: int) -> str:
        """Tabs as the spaces that the wrapping counted for them."""
        if "\t" not in text:
            return text
        widths = self.wrapped_document.get_tab_widths(line)
        nth = self.document.get_line(line)[:column].count("\t")
        pieces = text.split("\t")
        tabs = [" " * widths[nth + n] for n in range(len(pieces) - 1)]
        return "".join(piece + tab for piece, tab in zip(pieces, [*tabs, ""], strict=True))

    def _component(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)

    def _cursor_style(self) -> Style:
        return self._component("text-area--cursor" if self.has_focus else "prose--anchor")
