"""What of an open loom could not be read when it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection

from llterm.errors import LltermError

_SAID = {
    "piece": "the tokens of {n} {texts}, who wrote {them}, and what {they} {were} chosen from",
    "birth": "what {n} {texts} of a model {were} chosen from",
    "step": "up to {n} earlier steps of the history",
    "extra": "fields of other programs, if there were any",
    "lines": "samples, if there were any",
    "weave": "suggestions that were kept",
}
"""Kinds of what is read late, as people are told of them."""


class Unreadable:
    """Row ids by kind, and why; a kind that comes to it for the first time is told on."""

    def __init__(
        self, heard: Callable[[Unreadable], None] = lambda _: None, outer: Unreadable | None = None
    ) -> None:
        """`outer` takes down the same."""
        self.rows: dict[str, set[int]] = {}
        self.trouble: LltermError | None = None
        """What the first of them was refused with."""
        self._heard = heard
        self._outer = outer

    def __bool__(self) -> bool:
        return bool(self.rows)

    def note(self, kind: str, rows: Collection[int], trouble: LltermError) -> None:
        """These rows were asked for in vain."""
        self.trouble = self.trouble or trouble
        new = kind not in self.rows
        self.rows.setdefault(kind, set()).update(rows)
        if new:
            self._heard(self)
        if self._outer is not None:
            self._outer.note(kind, rows, trouble)

    def take(self, other: Unreadable) -> None:
        """What is missing there is missing here too."""
        for kind, rows in other.rows.items():
            assert other.trouble is not None
            self.note(kind, rows, other.trouble)

    @property
    def said(self) -> str:
        """What and how much, in words; empty where nothing is missing."""
        return "; ".join(
            words.format(n=f"{n:,}", texts="text" if n == 1 else "texts",
                         them="it" if n == 1 else "them",
                         they="it" if n == 1 else "they", were="was" if n == 1 else "were")
            for kind, words in _SAID.items() if (n := len(self.rows.get(kind, ())))
        )  # fmt: skip
