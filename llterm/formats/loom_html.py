"""A loom as one HTML page that needs nothing else: the story, its forks to open, heat, and each
token's probability under the pointer. There is no script in it, and none can run in it."""

from __future__ import annotations

import codecs
import html
import math
from collections.abc import Iterator

from llterm.core.display_text import area_text, display_text, label_text, visible
from llterm.core.loom_tree import PERSON, ROOT
from llterm.core.pieces import TokenSpan
from llterm.core.tree_outline import Outline, children
from llterm.formats.export_source import ExportSource
from llterm.number_format import count_of, of_logprob, percent
from llterm.ramps import css, ink, rgb

_STEPS = 10
_BITS = 8.0
"""Surprisal of the hottest colour."""
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ margin: 2rem auto; max-width: 44rem; padding: 0 1rem 12rem; background: #14161b;
  color: #d8d8d8; font: 1.1rem/1.9 Georgia, serif; }}
header, footer, summary {{ font: 0.85rem/1.5 ui-monospace, monospace; color: #9aa0ac; }}
h1 {{ font-size: 1.6rem; color: #f0f0f0; }}
main {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
i {{ font-style: normal; border-radius: 2px; }}
i:hover {{ outline: 2px solid #fff; }}
i:hover::after {{ content: attr(data-p); position: fixed; left: 0; right: 0; bottom: 0;
  padding: 0.7rem 1rem; background: #23262e; color: #fff; white-space: pre;
  border-top: 1px solid #3a3f4a; font: 0.9rem/1.5 ui-monospace, monospace; }}
details {{ display: inline-block; vertical-align: baseline; }}
details[open] {{ display: block; }}
summary {{ display: inline; cursor: pointer; border: 1px solid #3a3f4a; border-radius: 0.6rem;
  padding: 0 0.4rem; margin: 0 0.15rem; }}
details[open] > summary {{ background: #3a3f4a; color: #fff; }}
.branch {{ display: block; margin: 0.4rem 0 0.4rem 0.6rem; padding-left: 0.8rem;
  border-left: 2px solid #3a3f4a; color: #b4b8c0; }}
.ramp {{ display: inline-block; width: 10rem; height: 0.7rem; vertical-align: middle;
  background: linear-gradient(to right, {ramp}); }}
{heat}
@media print {{ body {{ background: none; }} body, h1, header {{ color: #000; }} }}
</style>
<h1>{title}</h1>
<header>{figures}<br><span class="ramp"></span> expected → surprising</header>
<main>"""
_END = """</main>
</html>
"""


def write(source: ExportSource, *, every: bool) -> str:
    """The page: the story with all its forks, or without `every` the story alone."""
    loom = source.loom
    title = html.escape(area_text(source.title))
    pieces = {part.piece for id in loom.below(ROOT) if id != ROOT for part in loom.nodes[id].slices}
    models = sorted({loom.pieces[id].author for id in pieces} - {PERSON})
    words = len(loom.text().split())
    figures = f"{count_of(words, 'word')} · {count_of(Outline(loom).below(ROOT), 'node')}"
    if models:
        figures += " · " + ", ".join(label_text(one) for one in models)
    head = _PAGE.format(
        title=title,
        figures=html.escape(figures),
        ramp=", ".join(css(rgb(n / _STEPS)) for n in range(_STEPS + 1)),
        heat="\n".join(
            f".h{n} {{ background: {css(rgb(n / _STEPS))}; color: {css(ink(rgb(n / _STEPS)))}; }}"
            for n in range(_STEPS + 1)
        ),
    )
    return head + "".join(_body(source, every=every)) + _END


def _body(source: ExportSource, *, every: bool) -> Iterator[str]:
    """The text along the story; at each fork what else there was, to be opened."""
    loom = source.loom
    story = {node.id for node in loom.path()}
    waiting: list[str | tuple[int, bytes]] = [(ROOT, b"")]
    while waiting:
        at = waiting.pop()
        if isinstance(at, str):
            yield at
            continue
        id, rest = at
        below = children(loom, id)
        if not every:
            below = [child for child in below if child in story]
        if id != ROOT:
            parts, rest = _spans(source, id, rest, last=not below)
            yield parts
        if not below:
            continue
        main = next((child for child in below if child in story), below[0])
        others = [child for child in below if child != main]
        waiting.append((main, rest))
        if others:
            waiting.append("</details>")
            for child in reversed(others):
                waiting += ["</div>", (child, rest), '<div class="branch">']
            waiting.append(f"<details><summary>+{len(others)}</summary>")


def _spans(source: ExportSource, id: int, rest: bytes, *, last: bool) -> tuple[str, bytes]:
    """A node's tokens, those that share a character together, and bytes that end further down."""
    loom = source.loom
    marked: list[str] = []
    data, group = rest, list[TokenSpan]()
    for span in loom.spans(loom.nodes[id]):
        data += span.data
        group.append(span)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        decoder.decode(data)
        if not decoder.getstate()[0]:
            marked.append(_marked(source, data, group))
            data, group = b"", []
    if data and last:
        marked.append(_marked(source, data, group))
        data = b""
    return "".join(marked), data


def _marked(source: ExportSource, data: bytes, group: list[TokenSpan]) -> str:
    text = html.escape(display_text(data))
    known = [span for span in group if span.logprob is not None]
    if not known:
        return text
    bits = max(-(span.logprob or 0.0) for span in known) / math.log(2)
    heat = round(min(bits / _BITS, 1.0) * _STEPS)
    tip = "\n".join(_tip(source, span) for span in known)
    # A line break inside an attribute is kept; the quotes are escaped.
    return f'<i class="h{heat}" data-p="{html.escape(tip)}">{text}</i>'


def _tip(source: ExportSource, span: TokenSpan) -> str:
    p = math.exp(span.logprob or 0.0)
    author = label_text(span.piece.author)
    tip = f"{visible(span.data)}  {percent(p)}  {author}"
    birth = source.births.get(span.piece.id)
    if birth is None or span.index is None or span.index >= len(birth.alternatives):
        return tip
    rather = "   ".join(
        f"{visible(one)} {of_logprob(logprob)}" for _, one, logprob in
        birth.alternatives[span.index]
    )  # fmt: skip
    return f"{tip}\n{rather}" if rather else tip
