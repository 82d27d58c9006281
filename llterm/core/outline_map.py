"""The rows of an outline with their places: who hangs where, on which line of a map, on the story.

Made whole when the tree changed; what is drawn of it is looked up row by row.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

from llterm.core.loom_tree import ROOT, LoomTree
from llterm.core.tree_outline import Outline, OutlineRow


class Listing:
    """The rows of a loom that are shown, in their order."""

    def __init__(self, loom: LoomTree, opened: Collection[int] = ()) -> None:
        self.loom = loom
        self.outline = Outline(loom)
        self.rows: list[OutlineRow] = []
        self.parents: list[int] = []
        """Per row the one that it hangs below; -1 for none."""
        self._of: dict[int, int] = {}
        for index, row in enumerate(self.outline.rows(opened=opened)):
            above = loom.nodes[row.ids[0]].parent
            self.rows.append(row)
            self.parents.append(self._of.get(above, -1))
            self._of.update(dict.fromkeys(row.ids, index))
        self.story = {self._of[node.id] for node in loom.path() if node.id in self._of}
        """Rows on the way to where the story ends."""

    def index(self, id: int) -> int | None:
        """The row that holds a node; None where it is not shown."""
        return self._of.get(id)

    def nearest(self, id: int) -> int:
        """The row of a node, or of the nearest one above it that is shown; 0 for none."""
        nodes = self.loom.nodes
        while id in nodes and id not in self._of:
            id = nodes[id].parent
        return self._of.get(id, 0)

    def siblings(self, index: int) -> list[int]:
        """The rows under the same parent, this one among them."""
        parent = self.parents[index]
        if parent < 0:
            return [n for n, parent_row in enumerate(self.parents) if parent_row < 0]
        nodes = self.loom.children.get(self.rows[parent].ids[-1], ())
        return sorted(self._of[parent_row] for parent_row in nodes if parent_row in self._of)

    @cached_property
    def map(self) -> OutlineMap:
        """The same rows as a map."""
        return OutlineMap(self)


class OutlineMap:
    """Where each row stands on a map: the tree grows to the right, a line for each leaf."""

    def __init__(self, listing: Listing) -> None:
        parents, story = listing.parents, listing.story
        self._parents = parents
        self.lines: list[int] = []
        """Per row its line."""
        self.columns: list[int] = []
        self.starts: list[int] = []
        """Per line the row that it begins with."""
        self.last: list[int] = []
        """Per row the line of its last child; its own line for a leaf."""
        self.bold: list[int] = []
        """Per row the line of its child on the story; -1 for none."""
        for index, parent in enumerate(parents):
            # A first child follows its parent at once, and stands on its line.
            if parent < 0 or parent != index - 1:
                self.starts.append(index)
            line = len(self.starts) - 1
            self.lines.append(line)
            self.columns.append(self.columns[parent] + 1 if parent >= 0 else 0)
            self.last.append(line)
            self.bold.append(-1)
            if parent >= 0:
                self.last[parent] = line
                if index in story:
                    self.bold[parent] = line
        self.width = max(self.columns, default=-1) + 1

    def row_at(self, line: int, column: int) -> int | None:
        """The row at a place; None where there is a line or nothing."""
        if not 0 <= line < len(self.starts):
            return None
        first = self.starts[line]
        index = first + column - self.columns[first]
        stop = self.starts[line + 1] if line + 1 < len(self.starts) else len(self.lines)
        return index if first <= index < stop else None

    def passing(self, line: int) -> dict[int, bool]:
        """Lines that only pass through: per column, whether it is the story's."""
        columns: dict[int, bool] = {}
        at = self._parents[self.starts[line]]
        while at >= 0:
            if self.last[at] > line:
                columns[self.columns[at] + 1] = self.bold[at] > line
            at = self._parents[at]
        return columns


def reveal(loom: LoomTree, id: int) -> tuple[list[int], list[int], bool]:
    """What hides a node: folded ones above it, parents of unread ones, and whether a hoist does."""
    path = [node.id for node in loom.path(id)]
    above = [ROOT, *path[:-1]]
    folded = [one for one in above if one in loom.sight.folded]
    unread = [loom.nodes[one].parent for one in path if one in loom.sight.unread]
    hoisted = loom.sight.hoisted
    return folded, unread, hoisted != ROOT and hoisted not in above
