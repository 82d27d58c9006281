"""The example file with every setting uncommented: the largest configuration that there can be."""

from __future__ import annotations

import re

from llterm.config.example import example

_SETTING = re.compile(r'# ((?:"[a-z0-9._]+"|[a-z_]+) = .*)')
_TABLE = re.compile(r"# (\[(?:models|presets|formats)\.[A-Z]+\])")
RIVALS = ("key_file", "key_command", "chat_template_file")
"""A key has one source, and a chat one template; the example tells of all of them."""


def everything() -> str:
    """Valid, with a preset, a model in a file and one on a server in it."""
    lines = []
    for line in example().splitlines():
        found = _SETTING.fullmatch(line) or _TABLE.fullmatch(line)
        kept = found is not None and not found.group(1).startswith(RIVALS)
        lines.append(found.group(1) if found is not None and kept else line)
    text = "\n".join(lines) + "\n"
    return text.replace("[presets.NAME]", '[presets.NAME]\ntemperature = 0.5\norder = ["top_p"]')
