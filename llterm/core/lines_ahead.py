"""Lines under way: which open beams an answer that is still coming will reach by itself.

A server's answer to one question may go on along the first choices. The beam it comes to next is
pending as if it had been asked for, until the line has passed it or has ended.
"""

from __future__ import annotations

from llterm.core.tokens import Tail


class LinesAhead:
    """The next beam of each line, by the tail that was asked for."""

    def __init__(self) -> None:
        self._ahead: dict[Tail, int] = {}
        """How many positions are still to come after this tail."""
        self._start: dict[Tail, Tail] = {}
        self._tip: dict[Tail, Tail] = {}

    def begin(self, tail: Tail, ahead: int) -> None:
        """A question was asked whose answer goes on for `ahead` positions."""
        if ahead > 0:
            self._ahead[tail] = ahead
            self._start[tail] = self._tip[tail] = tail

    def ahead(self, tail: Tail) -> int:
        """How many positions of a line are still to come after `tail`; 0 where none passes it."""
        return self._ahead.get(tail, 0)

    def promised(self, tail: Tail) -> bool:
        """Whether a line is to reach this tail that began before it."""
        return self._start.get(tail, tail) != tail

    def passed(self, tail: Tail, following: Tail) -> None:
        """The line's answer for `tail` is here; it goes on to `following`."""
        ahead, start = self._ahead.pop(tail), self._start.pop(tail)
        del self._tip[start]
        if ahead > 1:
            self._ahead[following] = ahead - 1
        self._start[following], self._tip[start] = start, following

    def leave(self, tail: Tail) -> None:
        """What comes after `tail` on its line is of no interest."""
        self._ahead.pop(tail, None)
        if (start := self._start.pop(tail, None)) is not None:
            self._tip.pop(start, None)

    def end(self, start: Tail) -> Tail | None:
        """No more comes of the line that began here: the beam it was to reach next, if any."""
        tip = self._tip.get(start)
        if tip is not None:
            self.leave(tip)
        return tip if tip != start else None
