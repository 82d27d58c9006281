"""Alt with a letter, as terminals send it: Escape and the letter.

Textual waits a tenth of a second whether more of a sequence follows. When the next key begins with
Escape too, as a held Alt+U does, it takes what it has for Escape and a letter, and the letter is
typed. No longer sequence begins so: the key is certain at once.
"""

from __future__ import annotations

from enum import Enum
from string import ascii_lowercase
from typing import Any

_ALT = Enum("_ALT", {letter: f"alt+{letter}" for letter in ascii_lowercase})  # type: ignore[misc]


def know_alt_keys() -> None:
    """Teach Textual these keys; those that it knows by another name keep it."""
    # There is no public way; tests/jobs/test_keys.py fails when this one goes.
    from textual import _ansi_sequences

    known: dict[str, Any] = _ansi_sequences.ANSI_SEQUENCES_KEYS  # type: ignore[assignment]
    for key in _ALT:
        known.setdefault(f"\x1b{key.name}", (key,))
