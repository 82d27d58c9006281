"""A loom as an SVG picture: the tree from left to right, the story in a strong line."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from unicodedata import combining, east_asian_width

from llterm.core.display_text import display_text, label_text, visible
from llterm.core.loom_tree import PERSON
from llterm.core.tree_outline import Outline, OutlineRow
from llterm.formats.export_source import ExportSource, author_of
from llterm.number_format import of_logprob

WIDTH, LINE, GAP = 210, 16, 12
"""Pixels: a box's width, a line of text, between two boxes."""
_ACROSS = 70
_LETTERS = 27
"""Small letters in a line of a box. Capitals take more room, and East Asian characters two."""
_LINES = 3
_MOST_READ = 500
"""Characters of a text that are looked at: no box holds more."""
MOST_BOXES = 1500
"""A picture of more would be no picture: deeper branches are counted then, not drawn."""


@dataclass(slots=True)
class _Box:
    row: OutlineRow
    column: int
    lines: list[str]
    children: list[_Box] = field(default_factory=list)
    top: float = 0.0
    hidden: int = 0
    """Nodes below it that are not drawn."""

    @property
    def height(self) -> int:
        return LINE * len(self.lines) + 10

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


@dataclass(frozen=True, slots=True)
class SvgPicture:
    """The picture as SVG, its size in pixels, and how many nodes it counts without drawing them."""

    text: str
    width: int
    height: int
    left_out: int


Fits = Callable[[int, int], bool]
"""Whether a picture of this width and height in pixels can be used."""


def _any_size(width: int, height: int) -> bool:
    return True


def write(source: ExportSource) -> str:
    """The picture. Text stands in it as text, never as markup."""
    return draw(source).text


def draw(source: ExportSource, fits: Fits = _any_size) -> SvgPicture:
    """The picture with its size.

    Of a loom that is too large branches far from the beginning are counted, not drawn, so that it
    fits; where not even one fork would, the picture is larger.
    """
    everything = _boxes(source)
    story = {node.id for node in source.loom.path()}
    columns = max((box.column for box in everything), default=0)
    # The most columns with which it fits: with fewer it does too.
    fewest, most = min(1, columns), columns
    while fewest < most:
        middle = (fewest + most + 1) // 2
        fewest, most = (middle, most) if fits(*_size(everything, middle)) else (fewest, middle - 1)
    width, height = _size(everything, fewest)
    boxes = [box for box in everything if box.column <= fewest]
    for box in boxes:
        if box.column == fewest and box.row.branches:
            box.hidden = box.row.below
            box.children.clear()
    title = html.escape(label_text(source.title))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="Georgia, serif" font-size="13">',
        f"<title>{title}</title>",
        f'<rect width="{width}" height="{height}" fill="#faf8f3"/>',
        *_lines(source, boxes, story),
        *(_drawn(source, box, story) for box in boxes),
        "</svg>",
    ]
    left_out = sum(box.hidden for box in boxes)
    return SvgPicture("\n".join(parts) + "\n", width, height, left_out)


def _boxes(source: ExportSource) -> list[_Box]:
    """Rows of the outline as boxes, parents first; the deepest left out where they are too many."""
    loom = source.loom
    rows = list(Outline(loom).rows(whole=True))
    columns: dict[int, int] = {}
    for row in rows:
        columns[row.ids[-1]] = columns.get(loom.nodes[row.ids[0]].parent, -1) + 1
    deepest = max(columns.values(), default=0)
    while sum(column <= deepest for column in columns.values()) > MOST_BOXES and deepest:
        deepest -= 1
    boxes: dict[int, _Box] = {}
    for row in rows:
        last, parent = row.ids[-1], loom.nodes[row.ids[0]].parent
        if columns[last] > deepest:
            continue
        # Prose, and no label: edges and line breaks need no signs.
        text = display_text(b"".join(loom.data(loom.nodes[id]) for id in row.ids)).strip()
        box = boxes[last] = _Box(row, columns[last], _wrapped(text))
        if parent in boxes:
            boxes[parent].children.append(box)
    return list(boxes.values())


def _wrapped(text: str) -> list[str]:
    """The lines of a box, cut where it ends."""
    lines: list[str] = []
    for word in text[:_MOST_READ].split():
        if lines and _room(f"{lines[-1]} {word}") <= _LETTERS:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if _room(lines[-1] + letter) > _LETTERS:
                lines.append("")
            lines[-1] += letter
    if len(lines) > _LINES:
        last = lines[_LINES - 1]
        while _room(last) > _LETTERS - 1:
            last = last[:-1]
        lines[_LINES - 1 :] = [f"{last}…"]
    return lines or ["␣"]


def _room(text: str) -> float:
    """The room that a text takes, in small letters."""
    wide = sum(east_asian_width(one) in "WF" for one in text)
    capitals = sum(one.isupper() for one in text)
    return len(text) - sum(map(bool, map(combining, text))) + wide + 0.4 * capitals


def _size(boxes: list[_Box], deepest: int) -> tuple[int, int]:
    """Give every box up to this column its place. Returns the picture's width and height.

    A parent stands beside the middle of its children; a branch that is short leaves the room
    beside it to its neighbours.
    """
    free = [float(GAP)] * (deepest + 1)
    """Per column, where the next box may begin."""
    inner: list[_Box] = []
    # Parents come first, so a branch has its place as soon as a box beside or above it comes.
    for box in boxes:
        if box.column > deepest:
            continue
        while inner and inner[-1].column >= box.column:
            _beside_children(inner.pop(), free)
        if box.children and box.column < deepest:
            inner.append(box)
            continue
        box.top = free[box.column]
        free[box.column] += box.height + GAP
    while inner:
        _beside_children(inner.pop(), free)
    width = (deepest + 1) * (WIDTH + _ACROSS) + GAP
    return width, round(max(*free, 60) + GAP)


def _beside_children(parent: _Box, free: list[float]) -> None:
    """Put a box beside its children, which have their places; where a box above it is in the way,
    they all stand lower."""
    top = (parent.children[0].middle + parent.children[-1].middle - parent.height) / 2
    lower = max(free[parent.column] - top, 0.0)
    parent.top = top + lower
    free[parent.column] = parent.top + parent.height + GAP
    moved = list(parent.children) if lower else []
    reached = parent.column
    while moved:
        box = moved.pop()
        if box.column >= len(free):
            continue
        box.top += lower
        reached = max(reached, box.column)
        moved += box.children
    for column in range(parent.column + 1, reached + 1):
        free[column] += lower


def _left(box: _Box) -> int:
    return GAP + box.column * (WIDTH + _ACROSS)


def _lines(source: ExportSource, boxes: list[_Box], story: set[int]) -> Iterator[str]:
    """The lines, and on them the figures: no line may strike a figure out."""
    loom, figures = source.loom, list[str]()
    for box in boxes:
        for child in box.children:
            x, y, to, at = _left(box) + WIDTH, box.middle, _left(child), child.middle
            strong = child.row.ids[0] in story
            stroke = ("#c77d1a", 3) if strong else ("#b9b3a7", 1)
            bend = (x + to) / 2
            yield (
                f'<path d="M{x},{y:.1f} C{bend},{y:.1f} {bend},{at:.1f} {to},{at:.1f}" '
                f'fill="none" stroke="{stroke[0]}" stroke-width="{stroke[1]}"/>'
            )
            logprob = loom.logprob(child.row.ids[0])
            if logprob is not None:
                # Beside the line, which comes from the other side.
                beside = at - 5 if at <= y else at + 13
                figures.append(
                    f'<text x="{to - 6}" y="{beside:.1f}" font-size="10" fill="#6f695e" '
                    f'stroke="#faf8f3" stroke-width="4" paint-order="stroke" '
                    f'text-anchor="end" font-family="monospace">{of_logprob(logprob)}</text>'
                )
    yield from figures
    if not boxes:
        yield '<text x="20" y="34" fill="#8a8478">an empty loom</text>'


def _drawn(source: ExportSource, box: _Box, story: set[int]) -> str:
    loom = source.loom
    first = box.row.ids[0]
    person = author_of(loom, loom.nodes[first]) == PERSON
    fill, edge = ("#fff7e6", "#c77d1a") if first in story else ("#ffffff", "#b9b3a7")
    left = _left(box)
    marked = first in loom.marks and loom.marks[first].bookmark
    whole = visible(b"".join(loom.data(loom.nodes[id]) for id in box.row.ids))
    lines = "".join(
        f'<tspan x="{left + 8}" dy="{LINE}">{html.escape(line)}</tspan>' for line in box.lines
    )
    style = ' font-style="italic"' if person else ""
    parts = [
        f"<g><title>{html.escape(whole)}</title>",
        f'<rect x="{left}" y="{box.top:.1f}" width="{WIDTH}" height="{box.height}" rx="5" '
        f'fill="{fill}" stroke="{edge}"/>',
        f'<text y="{box.top + 2:.1f}"{style} fill="#2b2822">{lines}</text>',
    ]
    if marked:
        parts.append(f'<circle cx="{left + WIDTH - 8}" cy="{box.top + 8:.1f}" r="4" fill="#b23"/>')
    if box.hidden:
        parts.append(
            f'<text x="{left + WIDTH + 6}" y="{box.middle + 4:.1f}" font-size="11" '
            f'fill="#8a8478">+{box.hidden:,} below</text>'
        )
    return "".join((*parts, "</g>"))
