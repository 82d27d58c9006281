"""What the two views of a loom share: rows, the selected one, and what is known of each.

Line-API widgets: a loom of 100,000 nodes costs what is on screen, and a move repaints two lines.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView

from llterm.core.display_text import label_text, visible, whole_after
from llterm.core.loom_tree import PERSON, LoomTree, Marks
from llterm.core.outline_map import Listing
from llterm.core.tree_outline import OutlineRow

SHOWN = 400
"""Bytes of a row's text that are looked at."""
YOU = "you"
"""What the person is called."""
SHARES = 6
"""Parts of a row that the map shades, each by its tokens."""


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What a view says of a row."""

    text: str
    authors: tuple[str, ...]
    """Who wrote it, in the order of the text: "you" or a model's name, as it may be shown."""
    p: float | None
    """Of its first node's tokens, given what stands above; None where no model made it."""
    shades: tuple[float | None, ...]
    """Mean probability of a token, part by part; None for the person's text."""
    marks: Marks
    """Of all its nodes together."""
    unread: bool


def facts_of(loom: LoomTree, row: OutlineRow) -> RowFacts:
    """Read a row's nodes."""
    nodes = [loom.nodes[id] for id in row.ids]
    loom.pieces.fetch(part.piece for node in nodes for part in node.slices)
    data, marks = b"", Marks()
    for node in nodes:
        if len(data) < SHOWN:
            data += loom.data(node)[:SHOWN]
        if node.id in loom.marks:
            marks = marks.with_those_of(loom.marks[node.id])
    logprob = loom.logprob(row.ids[0])
    return RowFacts(
        visible(whole_after(loom.end_of(nodes[0].parent), data[:SHOWN])),
        tuple(
            dict.fromkeys(
                _shown(loom.pieces[part.piece].author) for node in nodes for part in node.slices
            )
        ),
        None if logprob is None else math.exp(logprob),
        _shades(loom, row),
        marks,
        any(id in loom.sight.unread for id in row.ids),
    )


def _shades(loom: LoomTree, row: OutlineRow) -> tuple[float | None, ...]:
    spans = [span for id in row.ids for span in loom.spans(loom.nodes[id])]
    shades: list[float | None] = []
    for part in range(SHARES):
        first, stop = (len(spans) * n // SHARES for n in (part, part + 1))
        here = spans[first : max(stop, first + 1)]
        logprobs = [span.logprob for span in here if span.logprob is not None]
        mean = math.exp(sum(logprobs) / len(logprobs)) if logprobs else None
        shades.append(mean if len(logprobs) == len(here) else None)
    return tuple(shades)


class LoomRows(ScrollView, can_focus=True):
    """Shows a listing and keeps the selection. Subclasses place and draw the rows."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "loom--bar",
        "loom--cursor",
        "loom--faint",
        "loom--mark",
        "loom--story",
    }

    class Moved(Message):
        """Another row is selected."""

    class Opened(Message):
        """A row was picked twice with the mouse."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.listing: Listing | None = None
        self.index = -1
        self.marked: frozenset[int] = frozenset()
        """Nodes that are to be moved or compared."""
        self._facts: dict[int, RowFacts] = {}

    # --- what it shows

    @property
    def selected(self) -> OutlineRow | None:
        """The row under the cursor; None where the loom is empty."""
        listing = self.listing
        return listing.rows[self.index] if listing is not None and listing.rows else None

    def show(self, listing: Listing, index: int) -> None:
        """Show these rows, with one of them selected."""
        self.listing = listing
        self._facts.clear()
        self.index = min(max(index, 0), len(listing.rows) - 1)
        self.virtual_size = self.extent(listing)
        self.refresh()
        self._reveal()

    @property
    def room(self) -> int:
        """Cells of a line; a scrollbar takes some."""
        return self.scrollable_content_region.width

    def select(self, index: int) -> None:
        """Go to a row; out of range to the nearest one."""
        if self.listing is None or not self.listing.rows:
            return
        index = min(max(index, 0), len(self.listing.rows) - 1)
        if index == self.index:
            return
        before, self.index = self.index, index
        for one in (before, index):
            line = self.where(one).y - self.scroll_offset.y
            self.refresh(Region(0, line, self.size.width, 1))
        self._reveal()
        self.post_message(self.Moved())

    def facts(self, index: int) -> RowFacts:
        """What is known of a row; looked up once."""
        facts = self._facts.get(index)
        if facts is None:
            assert self.listing is not None
            facts = self._facts[index] = facts_of(self.listing.loom, self.listing.rows[index])
        return facts

    def forget(self, index: int) -> None:
        """Look this row up again."""
        self._facts.pop(index, None)
        self.refresh(Region(0, self.where(index).y - self.scroll_offset.y, self.size.width, 1))

    # --- for subclasses

    @abstractmethod
    def extent(self, listing: Listing) -> Size:
        """Cells that all rows take."""

    @abstractmethod
    def where(self, index: int) -> Region:
        """Where a row stands in that extent."""

    @abstractmethod
    def index_at(self, x: int, y: int) -> int | None:
        """The row at a place of that extent."""

    # --- moving about

    def page(self, direction: int) -> None:
        """A page up or down, by lines."""
        here = self.where(self.index)
        lines = max(self.size.height - 1, 1)
        target = min(max(here.y + direction * lines, 0), self.virtual_size.height - 1)
        index = self.index_at(here.x, target)
        while index is None and target != here.y:
            target -= direction
            index = self.index_at(here.x, target)
        if index is not None:
            self.select(index)

    def _reveal(self) -> None:
        if self.listing is not None and self.listing.rows:
            self.scroll_to_region(self.where(self.index), animate=False, force=True, immediate=True)

    def on_click(self, event: events.Click) -> None:
        offset = self.scroll_offset
        index = self.index_at(event.x + offset.x, event.y + offset.y)
        if index is None:
            return
        again = index == self.index and event.chain == 2
        self.select(index)
        if again:
            self.post_message(self.Opened())

    # --- styles

    def base(self, index: int) -> Style:
        """The style of a row, or of the selected one."""
        return self.rich_style + self.part("cursor") if index == self.index else self.rich_style

    def part(self, name: str) -> Style:
        return self.get_component_rich_style(f"loom--{name}", partial=True)

    def signs(self, facts: RowFacts) -> str:
        """Marks as short signs: bookmark, unread, rating, note, tags."""
        marks = facts.marks
        parts = [
            "◆" if marks.bookmark else "",
            "•" if facts.unread else "",
            f"{marks.rating}/5" if marks.rating else "",
            "note" if marks.note else "",
            *(f"#{label_text(tag)}" for tag in marks.tags),
        ]
        return " ".join(filter(None, parts))


def _shown(author: str) -> str:
    return YOU if author == PERSON else label_text(author)
