"""Parts of grammars that leave a model free, in Lark."""

from __future__ import annotations

from llterm.core.tool_format import SPECIAL, SPECIAL_END

ANY = f"[^{SPECIAL}{SPECIAL_END}]"
"""A regular expression for any character of a text: no mark, so that no text reads like a special
token."""
FREE = f"(/{ANY}+/)?"
"""Any text."""
BLANKS = "/[ \\n]{0,4}/"
