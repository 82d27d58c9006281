"""A page for browsers: markup, style and script of this folder as one file, and nothing else.

A page NAME is NAME.html (what stands in its body), common.css and NAME.css, and NAME.js with the
modules that it imports, joined into one: a page loads nothing more.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.types import Send

from llterm.serve.server_route import send_text

_FOLDER = Path(__file__).parent
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:function\*?|class|const|let) (\w+)", re.MULTILINE)
_SHELL = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
{body}
<script type="module">{script}</script>
</html>
"""
_HEADERS = (
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
)


@dataclass(frozen=True, slots=True)
class BrowserPage:
    """A page, the same for everybody."""

    text: str
    policy: str
    """Its Content-Security-Policy: this style and this script, and calls of its own server. No
    text becomes markup, not even by the script."""

    async def send(self, send: Send) -> None:
        """Answer with it."""
        headers = (("Content-Security-Policy", self.policy), *_HEADERS)
        await send_text(self.text, "text/html; charset=utf-8", send, headers=headers)


@cache
def browser_page(name: str, title: str) -> BrowserPage:
    """The page of this name."""
    style = "".join(_read(f"{part}.css") for part in ("common", name))
    script = "".join(_joined(name, []))
    text = _SHELL.format(
        title=html.escape(title), style=style, body=_read(f"{name}.html"), script=script
    )
    policy = {
        "default-src": "'none'",
        "style-src": _digest(style),
        "script-src": _digest(script),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return BrowserPage(text, "; ".join(f"{name} {value}" for name, value in policy.items()))


def _joined(name: str, taken: list[str]) -> Sequence[str]:
    """The module, after those that it imports and that are not `taken` yet; each in a scope of its
    own, which gives what it exports."""
    if name in taken:
        return ()
    taken.append(name)
    source = _read(f"{name}.js")
    imported = [part for _, other in _IMPORT.findall(source) for part in _joined(other, taken)]
    exported = ", ".join(_EXPORT.findall(source))
    source = _EXPORT.sub(lambda match: match[0].removeprefix("export "), source)
    source = _IMPORT.sub(r"const {\1} = $\2;\n", source)
    return (*imported, f"const ${name} = (() => {{\n{source}return {{ {exported} }};\n}})();\n")


def _read(file: str) -> str:
    return (_FOLDER / file).read_text("utf-8")


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
