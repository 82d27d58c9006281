"""What the HTML pages share: their dress and colours, and how text and data are put in safely."""

from __future__ import annotations

import html

from llterm.core.json_text import json_text
from llterm.ramps import css, paint

STEPS = 100
"""A heat on a page is a whole number from 0 to this: an index of `colors`."""


_RAMP = ", ".join(css(paint(n / 8, "truecolor").back) for n in range(9))
_STYLE = f"""\
body {{ margin: 2rem auto; max-width: 46rem; padding: 0 1rem; background: #14161b; color: #d8d8d8;
  font: 1.05rem/1.9 Georgia, serif; }}
header, nav, #tip {{ font: 0.9rem/1.5 ui-monospace, monospace; }}
nav {{ margin: 1rem 0; }}
button {{ font: inherit; color: inherit; background: #23262e; border: 1px solid #3a3f4a;
  padding: 0.1rem 0.6rem; cursor: pointer; }}
button[aria-pressed=true] {{ background: #d8d8d8; color: #14161b; }}
.ramp {{ display: inline-block; width: 12rem; height: 0.8rem; vertical-align: middle;
  background: linear-gradient(to right, {_RAMP}); }}
main {{ white-space: pre-wrap; overflow-wrap: break-word; }}
main span {{ border-radius: 2px; }}
main span:hover, main span:focus {{ outline: 2px solid #fff; }}
#tip {{ position: fixed; left: 0; right: 0; bottom: 0; background: #23262e; padding: 0.6rem 1rem;
  border-top: 1px solid #3a3f4a; white-space: pre; overflow-x: auto; min-height: 1.5rem; }}
footer {{ height: 12rem; }}"""
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{common}
{style}
</style>
<header>{summary}</header>
{body}
<footer></footer>
<div id="tip" aria-live="polite">Point at a token.</div>
<script type="application/json" id="data">{data}</script>
<script>
const data = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
{script}
</script>
</html>
"""
"""A header, a nav with buttons and a ramp, a main of spans in their heat, and a tip."""


def page(title: str, summary: str, body: str, data: object, script: str, style: str) -> str:
    """A whole page. `body` is markup; `script` finds the `data` and the `tip` by these names."""
    return _PAGE.format(
        common=_STYLE,
        title=html.escape(title),
        summary=html.escape(summary).replace("\n", "<br>"),
        # A script ends at the first "</": JSON may say that otherwise.
        data=json_text(data).replace("<", "\\u003c"),
        body=body,
        script=script,
        style=style,
    )


def colors() -> list[list[str]]:
    """Ground and ink of every heat."""
    return [[css(color) for color in paint(n / STEPS, "truecolor")] for n in range(STEPS + 1)]


def escaped(text: str) -> str:
    """Text as text, never as markup; a line break is seen."""
    return html.escape(text).replace("\n", "⏎\n")
