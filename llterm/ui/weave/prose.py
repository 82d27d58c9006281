"""How the story is drawn: rows of prose, the ghost after the cursor, marks. No editing in here.

Rows are made from the wrapped document straight away, so a key costs what is on screen and not
what the paragraph is long, and only rows that look different are painted again. Together with
`story_editor.py` the only place that touches Textual's `TextArea` internals.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.document._document import Location
from textual.geometry import Region
from textual.strip import Strip
from textual.widgets import TextArea

from llterm.ui.widgets.text_fit import wrap
from llterm.ui.widgets.virtual_height import set_virtual_height

Span = tuple[int, int, Style]
"""Columns of a document line, and a style over them."""


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
        self._ghost_room = 0
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
        """Whether the cursor stands at the end of the story: only there is a ghost drawn."""
        return self.selection.is_empty and self.cursor_location == self.document.end

    def show_ghost(self, text: str) -> None:
        """Draw this after the cursor, wrapped like the story; empty draws none."""
        if text == self._ghost:
            return
        if not self.at_end:
            self._ghost_room = 0
        self._ghost = text
        self._refresh_size()
        if text and self.at_end:
            x, y = self.wrapped_document.location_to_offset(self.cursor_location)
            height = min(len(self._ghost_lines(x)), max(self.size.height, 1))
            self.scroll_to_region(
                Region(0, y, 1, height), animate=False, force=True, immediate=True
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

    def _ghost_lines(self, x: int) -> tuple[str, ...]:
        width = max(self.wrap_width, 2)
        return wrap(self._ghost, width - x, width)

    # --- size and repainting

    def _refresh_size(self) -> None:
        """The ghost needs rows of its own where it would hang out of the pane.

        They stay for the next ghost at this place, so that the text does not jump.
        """
        if self._ghost and self.at_end:
            x, _ = self.wrapped_document.location_to_offset(self.cursor_location)
            self._ghost_room = max(self._ghost_room, len(self._ghost_lines(x)) - 1)
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
        drawn = self._ghost and self.at_end
        if drawn:
            x, cursor_y = self.wrapped_document.location_to_offset(self.cursor_location)
            if absolute >= cursor_y:
                return self._ghost_row(absolute - cursor_y, x, width, base)
        lines = self.wrapped_document._offset_to_line_info
        if absolute >= len(lines):
            return Strip.blank(width, base)
        line, section = lines[absolute]
        start, stop, last = self._section(line, section)
        segments = self._segments(line, start, stop, base, cursor_at_end=last)
        return Strip(segments).adjust_cell_length(width, base)

    def _section(self, line: int, section: int) -> tuple[int, int, bool]:
        """The columns that a row shows, and whether the line ends in it."""
        breaks = self.wrapped_document.get_offsets(line)
        start = breaks[section - 1] if section else 0
        last = section >= len(breaks)
        return start, len(self.document.get_line(line)) if last else breaks[section], last

    def _ghost_row(self, number: int, x: int, width: int, base: Style) -> Strip:
        lines = self._ghost_lines(x)
        if number >= len(lines):
            return Strip.blank(width, base)
        ghost = base + self._component("prose--ghost")
        text = lines[number].expandtabs(self.indent_width)
        if number:
            return Strip([Segment(text, ghost)]).adjust_cell_length(width, base)
        line, column = self.cursor_location
        breaks = self.wrapped_document.get_offsets(line)
        start = breaks[-1] if breaks else 0
        segments = self._segments(line, start, column, base, cursor_at_end=False)
        head, rest = (text[:1], text[1:]) if text else (" ", "")
        segments += [Segment(head, ghost + self._cursor_style()), Segment(rest, ghost)]
        return Strip(segments).adjust_cell_length(width, base)

    def _segments(
        self, line: int, start: int, stop: int, base: Style, *, cursor_at_end: bool
    ) -> list[Segment]:
        """The columns of a line as segments, with all that lies over them."""
        text = self.document.get_line(line)[start:stop]
        spans = self._spans(line, start, stop)
        cursor_line, column = self.selection.end
        if cursor_line == line and (start <= column < stop or (cursor_at_end and column == stop)):
            spans.append((column, column + 1, self._cursor_style()))
            text += " " * (column == stop)
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
