"""The terminal's driver: it stops and goes on at any moment, and takes a paste as text alone.

Textual's own gives the terminal back when it has not taken it yet, or no longer has it, and takes
it twice when it is told twice to go on. And it looks for keys inside a paste as well: an escape
there breaks it up, and what follows is typed, or obeyed as a key. Some terminals take escapes out
before they paste; tmux does not.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver, web_driver
from textual.message import Message


class JobDriver(linux_driver.LinuxDriver):
    """Gives the terminal back if it has it, stops, and takes it again if it gave it back."""

    _taken = False
    """Whether the screen is the app's."""
    _given_back = False
    """Whether it is to be taken again."""
    _stopping = False

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self._taken = True

    def stop_application_mode(self) -> None:
        self._taken = False
        super().stop_application_mode()

    def _sigtstp_application(self, *_: object) -> None:
        """Once, however often the shell, a process and the supervisor say it."""
        if self._stopping:
            return
        self._stopping = True
        try:
            if self._taken and self._auto_restart:
                self._given_back = self._must_signal_resume = True
                self.suspend_application_mode()
            os.kill(os.getpid(), signal.SIGSTOP)
        finally:
            self._stopping = False
        self._sigcont_application()

    def _sigcont_application(self, *_: object) -> None:
        if self._given_back and not self._stopping:
            self._given_back = False
            self.resume_application_mode()


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
