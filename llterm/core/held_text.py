"""A text that is shown while it comes: no half of a character, and nothing of a stop text.

What is shown in all is the same however the bytes are cut: the text up to the stop text that ends
first, or the whole.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class HeldText:
    """Holds back what may turn out to be the beginning of a character or of a stop text."""

    def __init__(self, stops: Sequence[str] = (), *, stop_shown: bool = False) -> None:
        """`stop_shown`: the stop text itself is shown too, and nothing after it."""
        self.stop: str | None = None
        """The stop text that ended it; nothing is shown any more."""
        self._stops = tuple(stop for stop in stops if stop)
        self._stop_shown = stop_shown
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def add(self, data: bytes, *, counts: bool = True) -> str:
        """What can be shown now that these bytes came. Without `counts` no stop text begins in
        them or before."""
        return self._shown(self._decoder.decode(data), counts)

    def rest(self) -> str:
        """What was held back, now that nothing more comes; bytes that are no text are `�`."""
        text = self._shown(self._decoder.decode(b"", final=True), counts=True)
        held, self._held = self._held, ""
        return text + held

    def _shown(self, text: str, counts: bool) -> str:
        if self.stop is not None:
            return ""
        text = self._held + text
        self._held = ""
        if not counts or not self._stops:
            return text
        places = ((text.find(stop), stop) for stop in self._stops)
        ends = [(place + len(stop), place, stop) for place, stop in places if place >= 0]
        if ends:
            end, place, self.stop = min(ends)
            return text[: end if self._stop_shown else place]
        size = begun_size(text, self._stops)
        self._held = text[len(text) - size :]
        return text[: len(text) - size]


def begun_size(text: str, wanted: Sequence[str]) -> int:
    """Length of the longest end of the text that one of these begins with, and goes on."""
    longest = max(map(len, wanted), default=0)
    for size in range(min(len(text), longest - 1), 0, -1):
        end = text[len(text) - size :]
        if any(each.startswith(end) for each in wanted):
            return size
    return 0
