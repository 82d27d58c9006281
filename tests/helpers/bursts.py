"""Keys as a terminal sends them, and many of them in one burst."""

from __future__ import annotations

import asyncio

from llterm.terminal import know_alt_keys
from llterm.ui.job_driver import PasteParser
from tests.helpers.driven_app import Driven
from tests.helpers.polling import until

_FUNCTION_KEYS = {
    "f1": "\x1bOP", "f2": "\x1bOQ", "f3": "\x1bOR", "f4": "\x1bOS", "f5": "\x1b[15~",
    "f6": "\x1b[17~", "f7": "\x1b[18~", "f8": "\x1b[19~", "f9": "\x1b[20~", "f10": "\x1b[21~",
    "f11": "\x1b[23~", "f12": "\x1b[24~",
}  # fmt: skip
_NAMED = {
    **_FUNCTION_KEYS,
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H",
    "end": "\x1b[F", "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "delete": "\x1b[3~",
    "ctrl+home": "\x1b[1;5H", "ctrl+end": "\x1b[1;5F", "ctrl+right_square_bracket": "\x1d",
    "tab": "\t", "enter": "\r", "space": " ", "backspace": "\x7f", "shift+tab": "\x1b[Z",
    # A bare one before a letter is that letter with alt; terminals that tell keys apart send this.
    "escape": "\x1b[27u",
}  # fmt: skip


def written(*keys: str) -> str:
    """What a terminal sends for these keys: characters, or names such as `ctrl+j` and `alt+l`."""
    return "".join(map(_written, keys))


def _written(key: str) -> str:
    if key in _NAMED or len(key) == 1:
        return _NAMED.get(key, key)
    modifier, _, letter = key.partition("+")
    if modifier == "alt":
        return f"\x1b{letter}"
    assert (modifier, len(letter)) == ("ctrl", 1), key
    return chr(ord(letter) & 0x1F)


def pasted(text: str) -> str:
    """What a terminal sends for a paste."""
    return f"\x1b[200~{text}\x1b[201~"


def burst(at: Driven, sent: str) -> None:
    """Let a driven app have all of this at once: read as its terminal's driver reads it."""
    know_alt_keys()
    for event in PasteParser().feed(sent):
        at.app.post_message(event)


async def acted(at: Driven) -> None:
    """Until everything that was sent has been acted on."""
    # The terminal's events are in the app's queue, which is read in turn.
    await asyncio.sleep(0)
    await until(lambda: not at.app.gate.busy)
