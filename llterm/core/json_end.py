"""Where a JSON value ends in a text that comes piece by piece."""

from __future__ import annotations

_OPEN, _SHUT = "{[", "}]"
_BLANKS = " \t\r\n"


class JsonEnd:
    """Reads a value of any kind. What is no JSON ends where the like of it would."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._scalar = False

    def taken(self, text: str) -> tuple[int, bool]:
        """How much of what comes next belongs to it, and whether it ends there. A number or a word
        ends only where something else follows."""
        for place, sign in enumerate(text):
            if self._scalar:
                if not (sign.isalnum() or sign in "+-."):
                    return place, True
            elif self._quoted:
                self._in_text(sign)
                if not self._quoted and not self._depth:
                    return place + 1, True
            elif self._outside(sign):
                return place + 1, True
        return len(text), False

    def _in_text(self, sign: str) -> None:
        if self._escaped:
            self._escaped = False
        elif sign == "\\":
            self._escaped = True
        elif sign == '"':
            self._quoted = False

    def _outside(self, sign: str) -> bool:
        """Take a character outside of texts; returns whether the value ends with it."""
        if sign == '"':
            self._quoted = True
        elif sign in _OPEN:
            self._depth += 1
        elif sign in _SHUT:
            self._depth -= 1
            return self._depth <= 0
        elif not self._depth and sign not in _BLANKS:
            self._scalar = True
        return False
