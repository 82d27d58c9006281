"""A paste is text, whatever it holds.

Textual looks for keys inside a paste as well: an escape there breaks it up, and what follows is
typed, or obeyed as a key. Some terminals take escapes out before they paste; tmux does not.
"""

from __future__ import annotations

from collections.abc import Iterable

from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver, web_driver
from textual.message import Message

_ESCAPE = "\x1b"
_SIGN = "␛"
"""How an escape is drawn everywhere; in a pasted text it stands for one."""
_START, _END = "\x1b[200~", "\x1b[201~"


class PasteParser(XTermParser):
    """Textual's parser of what a terminal sends, to which no paste holds an escape."""

    def __init__(self, debug: bool = False) -> None:
        self._inside = False
        self._before = ""
        """The last characters outside of a paste: its start may come in two reads."""
        self._held = ""
        """What may be the first half of a paste's end."""
        super().__init__(debug)

    def feed(self, data: str) -> Iterable[Message]:
        tame = self._tamed(data)
        # To feed nothing would say that there is no more to come.
        return super().feed(tame) if tame or not data else ()

    def _tamed(self, data: str) -> str:
        data, self._held = self._held + data, ""
        done = ""
        while data:
            part, data = self._text(data) if self._inside else self._keys(data)
            done += part
        return done

    def _keys(self, data: str) -> tuple[str, str]:
        """What comes before a paste, with the sign that it starts; and the rest."""
        seen = self._before + data
        keys, start, rest = seen.partition(_START)
        passed = len(self._before)
        self._inside = bool(start)
        self._before = "" if start else seen[1 - len(_START) :]
        return (keys + start)[passed:], rest

    def _text(self, data: str) -> tuple[str, str]:
        """What is pasted, with the sign that it ends; and the rest."""
        text, end, rest = data.partition(_END)
        self._inside = not end
        if not end:
            halves = (_END[:size] for size in range(len(_END) - 1, 0, -1))
            self._held = next(filter(text.endswith, halves), "")
            text = text.removesuffix(self._held)
        return text.replace(_ESCAPE, _SIGN) + end, rest


def guard_pastes() -> None:
    """Let the app's drivers use this parser; Textual has no public way to give them one."""
    for driver in (linux_driver, web_driver):
        driver.XTermParser = PasteParser  # type: ignore[attr-defined]
