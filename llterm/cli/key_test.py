"""`llterm keys --test`: press a key, see what the terminal sends and what llterm does with it."""

from __future__ import annotations

import os
import select
import termios
import tty
from collections.abc import Mapping

from llterm.core.display_text import visible
from llterm.errors import UsageError
from llterm.key_names import NEVER
from llterm.keymap import Keymap, resolve
from llterm.output import put_drawn
from llterm.terminal import RESET, know_alt_keys

END = "ctrl+q"
PATIENCE = 0.1
"""Seconds after which an escape stands for itself."""


def run_keytest(own: Mapping[str, str]) -> int:
    """Until ctrl+q is pressed twice; the terminal is put back whatever happens."""
    if not (os.isatty(0) and os.isatty(1)):
        raise UsageError(
            "There is no terminal to test keys in",
            "Both input and output must be one.",
            "Run `llterm keys --test` by itself, without a pipe.",
        )
    keymap = resolve(own)
    modes = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        # The keyboard mode that the app asks for, so that the same arrives.
        os.write(1, b"\x1b[>25u\x1b[?2004h")
        head = f"{'KEY':<18} {'BYTES':<17} ACTION"
        os.write(1, f"Press keys; {END} twice ends this.\r\n\r\n{head}\r\n".encode())
        _listen(keymap)
    finally:
        os.write(1, RESET.replace("\x1b[?1049l", "").encode())
        termios.tcsetattr(0, termios.TCSAFLUSH, modes)
    return 0


def _listen(keymap: Keymap) -> None:
    last = ""
    while True:
        data = _press()
        if not data:
            return
        for name in key_names(data.decode("utf-8", "replace")) or ("(nothing)",):
            raw = visible(data)
            put_drawn(f"{name:<18} {raw:<17} {_meaning(name, keymap)}\r\n")
            if name == END == last:
                return
            last = name


def key_names(data: str) -> tuple[str, ...]:
    """The names under which the app gets these bytes."""
    # There is no public way to ask Textual; tests/jobs/test_keys.py fails when this one goes.
    from textual import events
    from textual._xterm_parser import XTermParser

    know_alt_keys()
    parser = XTermParser()
    events_seen = [*parser.feed(data), *parser.feed("")]
    return tuple(
        event.key if isinstance(event, events.Key) else type(event).__name__.lower()
        for event in events_seen
        if isinstance(event, events.Key | events.Paste)
    )


def _press() -> bytes:
    """The bytes of one key press; none at the end of input."""
    data = os.read(0, 1024)
    while data and select.select([0], [], [], PATIENCE if data == b"\x1b" else 0)[0]:
        more = os.read(0, 1024)
        if not more:
            break
        data += more
    return data


def _meaning(key: str, keymap: Keymap) -> str:
    if key in NEVER:
        return f"(cannot be bound: {NEVER[key]})"
    parts: list[str] = []
    names = {"suggestions": " (in the tree)", "heat": " (in the heat panel)"}
    for action, keys, further in keymap.rows():
        if key in keys:
            parts.append(action.id + names.get(action.where, ""))
        if key in further:
            parts.append(action.id + names["suggestions"])
    return ", ".join(parts) or "-"
