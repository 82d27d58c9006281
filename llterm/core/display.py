"""Text of models, files and people as it may be shown: inert, one visible stand-in for the rest.

Nothing that a terminal could obey, hide behind, or lay out backwards reaches the screen: control
characters, C1, bidirectional marks, invisible format characters, private use, and bytes that are
not UTF-8 are each shown as one stand-in. The bytes themselves are kept.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\uf8ff\ufeff\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
"""Kept as they are: line break, tab, joiners inside words and emoji, variation selectors."""
_UNKNOWN = "\ufffd"


def _stand_in(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else _UNKNOWN


@dataclass(frozen=True, slots=True)
class Display:
    """A text's display string, and how its offsets lie in the bytes."""

    text: str = ""
    hidden: tuple[tuple[int, bytes], ...] = ()
    """Display offsets of stand-ins, with the bytes each stands for; ascending."""
    _offsets: tuple[int, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, data: bytes) -> Display:
        """The display of these bytes."""
        text = data.decode("utf-8", "surrogateescape")
        if _UNSAFE.search(text) is None:
            return cls(text)
        hidden = tuple(
            (found.start(), found.group().encode("utf-8", "surrogateescape"))
            for found in _UNSAFE.finditer(text)
        )
        shown = _UNSAFE.sub(lambda found: _stand_in(found.group()), text)
        return cls(shown, hidden, tuple(offset for offset, _ in hidden))

    def byte_offset(self, offset: int) -> int:
        """Bytes before a display offset."""
        size = len(self.text[:offset].encode())
        for position, data in self.hidden[: bisect_left(self._offsets, offset)]:
            size += len(data) - len(self.text[position].encode())
        return size

    def offset_of(self, size: int) -> int:
        """The display offset at, or next after, this many bytes."""
        if not self.hidden:
            return len(self.text.encode()[:size].decode("utf-8", "ignore"))
        low, high = 0, len(self.text)
        while low < high:
            middle = (low + high) // 2
            if self.byte_offset(middle) < size:
                low = middle + 1
            else:
                high = middle
        return low

    def replaced(self, start: int, stop: int, data: bytes, new: bytes) -> Display:
        """The display of `new`: the old bytes with `data` in place of these display offsets."""
        if not self.hidden:
            part = data.decode("utf-8", "surrogateescape")
            if _UNSAFE.search(part) is None:
                return Display(self.text[:start] + part + self.text[stop:])
        return Display.of(new)


def display_text(data: bytes) -> str:
    """The bytes as a story shows them."""
    return Display.of(data).text


def visible(data: bytes) -> str:
    """The bytes as a label shows them: edge and repeated spaces, line breaks and tabs are seen."""
    text = display_text(data).replace("\n", "⏎").replace("\t", "⇥")
    body = text.strip(" ")
    lead = len(text) - len(text.lstrip(" "))
    if not body:
        return "␣" * len(text)
    tail = len(text) - lead - len(body)
    body = re.sub(" {2,}", lambda run: "␣" * len(run.group()), body)
    return "␣" * lead + body + "␣" * tail
