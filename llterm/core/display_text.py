"""Text of models, files and people as it may be shown: inert, one visible stand-in for the rest.

Nothing that a terminal could obey, hide behind, or lay out backwards reaches the screen: control
characters, C1, bidirectional marks, invisible format characters, private and unassigned code
points, and bytes that are not UTF-8 are each shown as one stand-in. The bytes themselves are kept.
Labels name such bytes, `⟨f0 9f⟩`, since two tokens may differ in nothing else.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Offsets = NDArray[np.int64]

_KEPT = frozenset("\n\t\u200c\u200d")
"""Line break, tab, and the joiners inside words and emoji; variation selectors are no controls."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Letters and marks that show nothing."""
_CONTROLS = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_UNKNOWN = "\ufffd"
_REACH = 4
"""No character is longer than this in UTF-8: an edit changes nothing that is further away."""


_BROKEN = re.compile("[\udc80-\udcff]+")
"""Bytes that are not UTF-8, as Python decodes them with `surrogateescape`."""
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Half a character of UTF-16, which stands for no byte."""


def _none() -> Offsets:
    return np.zeros(0, np.int64)


_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_LOOSE = re.compile(
    "(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])|(?<![^ \n\t])[\ufe00-\ufe0f]"
)
"""Joiners and variation selectors with nothing to join or vary."""


@lru_cache(maxsize=4096)
def _unsafe(character: str) -> bool:
    if character in _KEPT:
        return False
    tags = 0xE0000 <= ord(character) <= 0xE0FFF
    return tags or character in _BLANK or unicodedata.category(character) in _CONTROLS


def _found(text: str) -> list[str]:
    """The unsafe characters of a text, each once."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return []
    return [one for one in set(text) if _unsafe(one)]


def _stand_in(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else _UNKNOWN


@dataclass(frozen=True, slots=True, eq=False)
class DisplayText:
    """A text's display string, and how its offsets lie in the bytes."""

    text: str = ""
    size: int = 0
    """Bytes of the whole text."""
    _at: Offsets = field(default_factory=_none, repr=False)
    """Display offsets of stand-ins, ascending."""
    _byte: Offsets = field(default_factory=_none, repr=False)
    """Their byte offsets."""
    _bytes: Offsets = field(default_factory=_none, repr=False)
    """How many bytes each stands for."""

    @classmethod
    def of(cls, data: bytes) -> DisplayText:
        """The display of these bytes."""
        text = data.decode("utf-8", "surrogateescape")
        unsafe = _found(text)
        if not unsafe:
            return cls(text, len(data))
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        sizes = 1 + (codes > 0x7F) + (codes > 0x7FF) + (codes > 0xFFFF).astype(np.int64)
        sizes[(codes >= 0xDC80) & (codes <= 0xDCFF)] = 1
        at = np.flatnonzero(np.isin(codes, [ord(character) for character in unsafe])).astype(
            np.int64
        )
        starts = np.cumsum(sizes) - sizes
        shown = text.translate({ord(character): _stand_in(character) for character in unsafe})
        return cls(shown, len(data), at, starts[at], sizes[at])

    def byte_offset(self, offset: int) -> int:
        """Bytes before a display offset."""
        if offset >= len(self.text):
            return self.size
        nth = int(np.searchsorted(self._at, offset))
        low, below = self._after(nth - 1)
        high, above = len(self.text), self.size
        if nth < len(self._at):
            high, above = int(self._at[nth]), int(self._byte[nth])
        if offset - low <= high - offset:
            return below + _length(self.text, low, offset)
        return above - _length(self.text, offset, high)

    def offset_of(self, size: int) -> int:
        """The display offset at, or next after, this many bytes."""
        if size >= self.size:
            return len(self.text)
        nth = int(np.searchsorted(self._byte, size))
        low, below = self._after(nth - 1)
        if size <= below:
            return low
        high = int(self._at[nth]) if nth < len(self._at) else len(self.text)
        if self.text.isascii():
            return low + size - below
        part = self.text[low:high].encode()[: size - below]
        shown = part.decode("utf-8", "ignore")
        return low + len(shown) + (len(shown.encode()) < len(part))

    def replaced(
        self, start: int, stop: int, data: bytes, new: bytes
    ) -> tuple[DisplayText, int, int]:
        """The display of `new`: the old bytes with `data` in place of these display offsets.

        Also the display offsets, before the change, between which the texts may differ.
        """
        if not len(self._at):
            part = data.decode("utf-8", "surrogateescape")
            if not _found(part):
                text = self.text[:start] + part + self.text[stop:]
                return DisplayText(text, len(new)), start, stop
        # Bytes on both sides of an edit may make one character now, or no longer make one.
        start, stop = max(start - _REACH, 0), min(stop + _REACH, len(self.text))
        first, last = self.byte_offset(start), self.byte_offset(stop)
        grown = len(new) - self.size
        middle = DisplayText.of(new[first : last + grown])
        left = int(np.searchsorted(self._at, start))
        right = int(np.searchsorted(self._at, stop))
        longer = start + len(middle.text) - stop
        shown = DisplayText(
            self.text[:start] + middle.text + self.text[stop:],
            len(new),
            np.concatenate((self._at[:left], middle._at + start, self._at[right:] + longer)),
            np.concatenate((self._byte[:left], middle._byte + first, self._byte[right:] + grown)),
            np.concatenate((self._bytes[:left], middle._bytes, self._bytes[right:])),
        )
        return shown, start, stop

    def _after(self, nth: int) -> tuple[int, int]:
        """Display and byte offset after a stand-in; of the beginning, before the first."""
        if nth < 0:
            return 0, 0
        return int(self._at[nth]) + 1, int(self._byte[nth] + self._bytes[nth])


def _length(text: str, start: int, stop: int) -> int:
    """Bytes of a part that holds no stand-ins."""
    return stop - start if text.isascii() else len(text[start:stop].encode())


def display_text(data: bytes) -> str:
    """The bytes as a story shows them."""
    return DisplayText.of(data).text


def raw_text(data: bytes) -> str:
    """The bytes as a string that holds all of them, to be edited; nothing that may be shown."""
    return data.decode("utf-8", "surrogateescape")


def area_text(text: str) -> str:
    """The text as a field of many lines draws it: each unsafe character is one stand-in, so that
    places in the text and in what is drawn are the same."""
    return text.translate({ord(one): _stand_in(one) for one in _found(text)})


def field_text(text: str) -> str:
    """The same on one line: line breaks and tabs are signs."""
    return area_text(text).replace("\n", "⏎").replace("\t", "⇥")


def visible(data: bytes) -> str:
    """The bytes as a label shows them: edge and repeated spaces, line breaks and tabs are seen.

    A mark or joiner that has nothing to stand on is seen too, so no label is empty or joins with
    what is drawn before it. Bytes that are not UTF-8 are named in hexadecimal.
    """
    decoded = data.decode("utf-8", "surrogateescape")
    named = _BROKEN.sub(lambda run: f"⟨{_bytes(run.group()).hex(' ')}⟩", decoded)
    text = _LOOSE.sub(_UNKNOWN, display_text(_bytes(named)))
    text = _SPACES.sub("␣", text.replace("\n", "⏎").replace("\t", "⇥"))
    body = text.strip(" ")
    lead = len(text) - len(text.lstrip(" "))
    if not body:
        return "␣" * len(text)
    tail = len(text) - lead - len(body)
    body = re.sub(" {2,}", lambda run: "␣" * len(run.group()), body)
    if unicodedata.category(body[0]).startswith("M"):
        body = "◌" + body
    return "␣" * lead + body + "␣" * tail


def label_text(text: str) -> str:
    """A name, or others' words, as a label shows them (`visible`), whatever the string holds."""
    return visible(_bytes(_HALF.sub(_UNKNOWN, text)))


def open_end(data: bytes) -> bytes:
    """The beginning of a character that these bytes end in; empty where it is a whole one."""
    if not data or data[-1] < 0x80:
        return b""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data[-_REACH:])
    return decoder.getstate()[0]


def whole_after(before: bytes, data: bytes) -> bytes:
    """`data` with the beginning of its first character, where `before` ends in that."""
    start = open_end(before)
    for size in range(1, min(_REACH, len(data) + 1)) if start else ():
        try:
            (start + data[:size]).decode()
        except UnicodeDecodeError:
            continue
        return start + data
    return data


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
