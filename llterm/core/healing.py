"""Token healing: where a text ends inside a token, step back and let the model finish the token.

The residue is what was stepped back over: the last word with the space before it, or the spaces at
the end. Text that ends in a sign or a line break is left alone. The first tokens of a suggestion
must re-encode the residue: a token is allowed while its bytes begin with the residue, or the
residue begins with its bytes (then the rest of it remains).
"""

from __future__ import annotations

import re

import numpy as np

from llterm.core.display_text import label_text
from llterm.core.distribution import Mask
from llterm.core.token_index import token_index
from llterm.core.tokens import Vocabulary

LONGEST = 48
"""Bytes; longer last words (a paste of `====`) are not healed: no token is that long."""

_LAST = re.compile(r"(?:[^\S\n]?\w+|[^\S\n]+)\Z")

_FIRST = re.compile(r"\w+")


def residue_of(text: bytes) -> bytes:
    """The bytes at the end of `text` to step back over; empty when there is nothing to heal."""
    try:
        tail = text[-4 * LONGEST :].decode("utf-8", "strict")
    except UnicodeDecodeError:
        tail = text[-4 * LONGEST :].decode("utf-8", "replace")
        if tail.endswith("\ufffd"):
            return b""
    match = _LAST.search(tail)
    if match is None:
        return b""
    residue = match.group().encode()
    return residue if len(residue) <= LONGEST and text.endswith(residue) else b""


def healed(residue: bytes, data: bytes) -> tuple[str, str] | None:
    """The word that was typed last, and what a text after it makes of it; None where it stays."""
    word = residue.decode("utf-8", "replace").lstrip()
    more = _FIRST.match(data.decode("utf-8", "replace"))
    return (word, word + more.group()) if word and more else None


def healing_note(words: tuple[str, str] | None) -> str:
    """What `healed` found, for a row: two spaces, and inert words; empty where it found none."""
    if words is None:
        return ""
    before, after = (label_text(word) for word in words)
    return f"  ({before} → {after})"


class Healer:
    """Finds the tokens that may re-encode a residue. Masks are kept: a weave asks for few."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._index = token_index(vocabulary)
        self._masks: dict[bytes, Mask] = {}

    def mask(self, residue: bytes) -> Mask:
        """Tokens that may stand first while `residue` still has to be written."""
        mask = self._masks.get(residue)
        if mask is None:
            allowed = np.zeros(self._index.size, dtype=np.bool_)
            allowed[self._index.beginning(residue)] = True
            for id, _ in self._index.spelling(residue):
                allowed[id] = True
            mask = self._masks[residue] = Mask(allowed)
        return mask
