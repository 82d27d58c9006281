"""A loom's picture as PNG: the SVG, drawn with the fonts of this machine by resvg."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from math import sqrt

from llterm.errors import LltermError
from llterm.formats import svg
from llterm.formats.export_source import ExportSource

ZOOM = 2.0
"""Pixels of the PNG for one of the SVG, for screens that have so many; less where it is large."""
MOST_SIDE = 32_767
"""Pixels of a side: what viewers and browsers open."""
MOST_PIXELS = 64_000_000
"""Four bytes each while it is drawn."""
MOST_LOOKED = 500
"""Characters of which it is looked up whether a font has them: some milliseconds each."""
NOBODYS = "\U0010fffd"
"""A character for private use, which no font has."""
SERIF = (
    "Georgia", "Liberation Serif", "Noto Serif", "Tinos", "Nimbus Roman", "FreeSerif", "Gelasio",
    "Times New Roman", "Times", "DejaVu Serif", "Liberation Sans", "Noto Sans", "Arial",
    "Helvetica", "DejaVu Sans", "Roboto", "Cantarell", "Ubuntu",
)  # fmt: skip
"""Fonts for words: narrow ones first, since the boxes are of one width."""
_MONOSPACE = (
    "Menlo", "Liberation Mono", "Noto Sans Mono", "DejaVu Sans Mono", "Courier New", "FreeMono",
)  # fmt: skip


def write(source: ExportSource) -> bytes:
    """The picture as PNG.

    Of a large loom as many levels of forks as can be read as pixels. Raises LltermError where this
    machine has no font to write words with, and where not even the first fork could be read.
    """
    from resvg_py import svg_to_bytes

    drawing = draw(source)
    zoom = _zoom(drawing)
    serif = first_font(SERIF)
    if serif is None:
        raise LltermError(
            "There is no font to write a PNG with",
            f"None of these is on this machine: {', '.join(SERIF)}.",
            "Install one, such as DejaVu, or export svg, which browsers show with theirs.",
        )
    return svg_to_bytes(
        svg_string=drawing.text,
        zoom=zoom,
        serif_family=serif,
        monospace_family=first_font(_MONOSPACE) or serif,
    )


def draw(source: ExportSource) -> svg.SvgPicture:
    """What is to be drawn: as much as has room in a PNG."""
    return svg.draw(source, lambda width, height: _most_zoom(width, height) >= 1)


def _most_zoom(width: int, height: int) -> float:
    return min(ZOOM, MOST_SIDE / max(width, height), sqrt(MOST_PIXELS / (width * height)))


def _zoom(drawing: svg.SvgPicture) -> float:
    """How large it is drawn. Raises LltermError where it would be smaller than its SVG."""
    width, height = drawing.width, drawing.height
    zoom = _most_zoom(width, height)
    if zoom < 1:
        raise LltermError(
            "The loom is too large for a PNG that can be read",
            f"It would be {width:,} × {height:,} pixels; {MOST_SIDE:,} a side and"
            f" {MOST_PIXELS // 1_000_000} million in all are drawn.",
            "Export svg or html, which have no such limit.",
        )
    return zoom


def unwritten(source: ExportSource) -> int:
    """How many different characters of the picture no font of this machine has: boxes stand for
    them. Looks at the first of many only."""
    serif = first_font(SERIF)
    if serif is None:
        return 0
    text = re.sub(r"<title>.*?</title>|<[^>]*>", "", draw(source).text, flags=re.DOTALL)
    characters = {
        character
        for character in html.unescape(text)
        if not character.isascii() and character.isprintable()
    }
    box = sample(NOBODYS, serif)
    return sum(sample(character, serif) == box for character in sorted(characters)[:MOST_LOOKED])


def first_font(families: Sequence[str]) -> str | None:
    """The first of these fonts that is on this machine: the one that makes marks.

    It is asked for as the picture's words will be. By its name alone another would stand in for it.
    """
    return next((one for one in families if sample("x", one) != sample("", one)), None)


def sample(text: str, family: str) -> bytes:
    """A small picture of this text."""
    from resvg_py import svg_to_bytes

    words = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20">'
        f'<text x="2" y="15" font-family="Georgia, serif">{html.escape(text)}</text></svg>'
    )
    return svg_to_bytes(svg_string=words, serif_family=family)
