"""The line on stderr that says how far a command is."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from typing import Self

from llterm.core.display import label_text
from llterm.output import say, say_drawn

_ANEW = "\r\x1b[2K"
"""Empties the line and goes to its beginning."""


class ProgressLine:
    """One line on stderr, written over and over; nothing at all where that is no terminal."""

    EVERY = 0.1

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def say(self, text: str) -> None:
        """Put this in the place of what the line said before."""
        if not self._on or not text:
            return
        import time

        from rich.cells import cell_len, set_cell_size

        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.EVERY
            text = label_text(text)
            width = shutil.get_terminal_size().columns - 1
            with suppress(OSError):
                width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
            if cell_len(text) > width > 0:
                # A line that wraps could not be written over.
                text = set_cell_size(text, width)
            say_drawn(f"{_ANEW}{text}")

    def warn(self, text: str) -> None:
        """Write a line that stays, wherever stderr goes."""
        self.clear()
        say(text)

    def clear(self) -> None:
        """Leave no trace of it."""
        if self._on and self._next:
            say_drawn(_ANEW)
