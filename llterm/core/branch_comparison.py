"""Two branches side by side: what they share, and word by word how they differ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate

from llterm.core.loom_tree import LoomTree

_WORD = re.compile(rb"\s*[^\s]+|\s+")
MOST_EXACT = 2000
"""Words of a side beyond which the most frequent words are not used to line the sides up."""


@dataclass(frozen=True, slots=True)
class ComparedWord:
    """A word with the space before it."""

    data: bytes
    logprob: float | None
    """Of the tokens that begin in it, added; None where a person wrote some of it."""


@dataclass(frozen=True, slots=True)
class ComparedStretch:
    """A stretch of both branches."""

    one: tuple[ComparedWord, ...]
    other: tuple[ComparedWord, ...]
    same: bool


@dataclass(frozen=True, slots=True)
class BranchComparison:
    """What two branches share before they part, and their rest in parts."""

    shared: bytes
    parts: tuple[ComparedStretch, ...]


def compare(loom: LoomTree, left_id: int, right_id: int) -> BranchComparison:
    """The paths to two nodes against each other."""
    left, right = loom.path(left_id), loom.path(right_id)
    together = 0
    while together < min(len(left), len(right)) and left[together] == right[together]:
        together += 1
    shared = b"".join(map(loom.data, left[:together]))
    first = list(_words(loom, [node.id for node in left[together:]]))
    second = list(_words(loom, [node.id for node in right[together:]]))
    most = max(len(first), len(second))
    matcher = SequenceMatcher(
        None, [w.data for w in first], [w.data for w in second], autojunk=most > MOST_EXACT
    )
    parts = tuple(
        ComparedStretch(tuple(first[a:b]), tuple(second[c:d]), kind == "equal")
        for kind, a, b, c, d in matcher.get_opcodes()
    )
    return BranchComparison(shared, parts)


def _words(loom: LoomTree, ids: list[int]) -> Iterator[ComparedWord]:
    """The words of some nodes in a row, with what their tokens had at birth."""
    loom.pieces.fetch(part.piece for id in ids for part in loom.nodes[id].slices)
    spans = [span for id in ids for span in loom.spans(loom.nodes[id])]
    text = b"".join(span.data for span in spans)
    begins = [0, *accumulate(len(span.data) for span in spans)]
    first = 0
    for match in _WORD.finditer(text):
        start, stop = match.span()
        while begins[first + 1] <= start:
            first += 1
        total: float | None = 0.0
        for place in range(first, len(spans)):
            if begins[place] >= stop:
                break
            logprob = spans[place].logprob
            if logprob is None:
                total = None
                break
            if begins[place] >= start and total is not None:
                total += logprob
        yield ComparedWord(match.group(), total)
