"""The terminal: what it can show, how it is told, what it sends, and how it is put back.

Textual reads its settings from the environment when it is imported, so `prepare` comes first.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from llterm.logbook import open_log

SSH_FPS = 20
"""Screen updates a second over SSH: a full line of a slow link, and still smooth."""

TRUECOLOR = re.compile(
    r".*-(direct|truecolor)|xterm-(ghostty|kitty)|(alacritty|foot|wezterm)(-.*)?"
)
"""TERMs of terminals that all show 16 million colours. sshd does not forward COLORTERM, and
without it most of these would be taken for terminals of 16 colours."""

RESET = (
    "\x1b[?2026l"  # end of a synchronised update
    "\x1b[<u"  # pop the kitty keyboard mode
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l"  # mouse off
    "\x1b[?1004l"  # focus reports off
    "\x1b[?2004l"  # bracketed paste off
    "\x1b[?2048l"  # resize reports off
    "\x1b[?1049l"  # leave the alternate screen
    "\x1b[?7h"  # lines wrap
    "\x1b(B\x1b[0m"  # plain letters, no colours
    "\x1b[?25h"  # show the cursor
    "\r"
)
"""What undoes everything that a screen program may have set. Leaving the alternate screen comes
after the keyboard mode, which each screen keeps for itself."""

_SYSTEMS = {"truecolor": "truecolor", "256": "256", "16": "standard"}


def over_ssh(environment: Mapping[str, str]) -> bool:
    """Whether the screen is at the other end of a line."""
    return bool(environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"))


def in_browser(environment: Mapping[str, str]) -> bool:
    """Whether a browser's page is at the other end (`weave --web`)."""
    return environment.get("TEXTUAL_DRIVER", "").endswith(":WebDriver")


def why_not_interactive(environment: Mapping[str, str]) -> str:
    """The reason for that, in words; empty where there is a terminal."""
    if in_browser(environment):
        return ""
    if not os.isatty(0):
        return "the input is not a terminal"
    if not os.isatty(1):
        return "the output is not a terminal"
    if environment.get("TERM", "") in ("", "dumb"):
        return f"the terminal cannot draw (TERM is {environment.get('TERM') or 'not set'})"
    return ""


def colours(environment: Mapping[str, str], wanted: str = "auto") -> str:
    """What colours to draw with: `truecolor`, `256`, `16` or `none`, and `auto` where Textual's own
    look at TERM and COLORTERM is right."""
    if environment.get("NO_COLOR"):
        return "none"
    if wanted != "auto":
        return wanted
    known = environment.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit")
    if not known and TRUECOLOR.fullmatch(environment.get("TERM", "")):
        return "truecolor"
    return "auto"


def colours_found(environment: Mapping[str, str], wanted: str = "auto") -> str:
    """The same with `auto` resolved, for people."""
    detected = colours(environment, wanted)
    if detected != "auto":
        return detected
    if environment.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return "truecolor"
    term = environment.get("TERM", "")
    return "256" if term.endswith(("-256color", "-256")) else "16"


def prepare(
    environment: MutableMapping[str, str],
    *,
    color: str = "auto",
    monochrome: bool = False,
    fps: int | None = None,
) -> None:
    """Set what Textual reads on import. What the person set in the environment stays."""
    if environment.get("NO_COLOR") == "":
        # By the convention an empty one means nothing; Textual looks at its presence only.
        del environment["NO_COLOR"]
    if monochrome:
        environment.setdefault("NO_COLOR", "1")
    system = _SYSTEMS.get(colours(environment, color))
    if system is not None:
        environment.setdefault("TEXTUAL_COLOR_SYSTEM", system)
    if fps is not None:
        environment.setdefault("TEXTUAL_FPS", str(fps))
    if over_ssh(environment):
        environment.setdefault("TEXTUAL_FPS", str(SSH_FPS))
        environment.setdefault("TEXTUAL_ANIMATIONS", "none")


@contextmanager
def stderr_to(log: Path) -> Iterator[None]:
    """Let file descriptor 2 lead to the log, while Textual goes on drawing on the terminal.

    C libraries print to descriptor 2, where it would land in the middle of the screen; and Textual
    draws through `sys.__stderr__`, which is that descriptor too. So that one gets a copy of the
    terminal first, and in the log goes what anyone else writes.
    """
    sys.stderr.flush()
    real, sink = os.dup(2), open_log(log)
    screen = os.fdopen(os.dup(2 if os.isatty(2) else 1), "w", encoding="utf-8", errors="replace")
    before, sys.__stderr__ = sys.__stderr__, screen  # type: ignore[misc]
    os.dup2(sink, 2)
    os.close(sink)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)
        os.close(real)
        sys.__stderr__ = before  # type: ignore[misc]
        with suppress(OSError):  # The terminal may be gone, with what was still to be drawn.
            screen.close()


_ALT = Enum("_ALT", {letter: f"alt+{letter}" for letter in ascii_lowercase})  # type: ignore[misc]


def know_alt_keys() -> None:
    """Teach Textual Alt with a letter as terminals send it: Escape and the letter.

    Textual waits a tenth of a second whether more of a sequence follows. When the next key begins
    with Escape too, as a held Alt+U does, it takes what it has for Escape and a letter, and the
    letter is typed. No longer sequence begins so: the key is certain at once. Keys that it knows by
    another name keep it.
    """
    # There is no public way; tests/jobs/test_keys.py fails when this one goes.
    from textual import _ansi_sequences

    known: dict[str, Any] = _ansi_sequences.ANSI_SEQUENCES_KEYS  # type: ignore[assignment]
    for key in _ALT:
        known.setdefault(f"\x1b{key.name}", (key,))
