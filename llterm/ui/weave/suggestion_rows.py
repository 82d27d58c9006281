"""The suggestion tree as a list of rows. Pure: no Textual.

Rows are known by their tail (the tokens from the cursor on), so that folds and the selection stay
where they are while a weave adds, joins and splits branches.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from llterm.core.display import open_end, visible, whole_after
from llterm.core.healing import healing_note
from llterm.core.suggestion_tree import Branch
from llterm.core.tokens import Tail, common
from llterm.number_format import fine_percent


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
