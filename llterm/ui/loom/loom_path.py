"""The path to a branch as text: chunks from fork to fork, and what hangs beside and below it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from llterm.core.display_text import display_text, whole_after
from llterm.core.outline_map import Listing
from llterm.core.tree_outline import OutlineRow

SHOWN = 3000
"""Bytes of a path that are shown; what stands before them is counted."""


class LoomPath(VerticalScroll, can_focus=False):
    """Shows the end of a path."""

    def compose(self) -> ComposeResult:
        yield Static(markup=False)

    def show(self, listing: Listing, row: OutlineRow | None) -> None:
        """Show the way to the end of this row."""
        content = Content("") if row is None else path_text(listing, row)
        self.query_one(Static).update(content)
        self.scroll_end(animate=False, immediate=True)


def path_text(listing: Listing, row: OutlineRow) -> Content:
    """The text up to the row's end: a sign at each fork, and a count below."""
    loom = listing.loom
    chunks = listing.outline.chunks(row.ids[-1])
    parts: list[Content] = []
    left, moved = SHOWN, 0
    for chunk in reversed(chunks):
        data = b"".join(loom.data(loom.nodes[id]) for id in chunk.ids)
        # A character that a fork goes through stands whole after it.
        data = data[: len(data) - moved]
        whole = whole_after(loom.end_of(loom.nodes[chunk.ids[0]].parent), data)
        moved = len(whole) - len(data)
        last = chunk is chunks[-1]
        if chunk.others and not last:
            parts.append(Content.styled(_fork(len(chunk.others), chunk.below), "$accent"))
        elif last and chunk.others:
            many = len(chunk.others)
            said = f" ┬ {many} {'branch goes' if many == 1 else 'branches go'} on"
            parts.append(Content.styled(f"{said}, {chunk.below:,} more below", "$accent"))
        style = "$foreground" if last else "$ghost"
        parts.append(Content.styled(display_text(whole[-left:]), style))
        left -= len(whole)
        if left <= 0:
            parts.append(Content.styled("… ", "$ghost"))
            break
    return Content("").join(reversed(parts))


def _fork(others: int, below: int) -> str:
    return f"┬{others}({below:,}) " if below > others else f"┬{others} "
