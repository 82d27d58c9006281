"""What a server's wire has to say meanwhile: that it is away, or loads its model."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str], None]


class News:
    """The last line that was told, for whoever looks, and a call for who waits for one."""

    def __init__(self, tell: Tell | None = None) -> None:
        """`tell` hears every line; an empty one says that all is well again."""
        self.line = ""
        self.heard: Callable[[], None] = lambda: None
        self._tell = tell or (lambda _: None)

    def __call__(self, line: str) -> None:
        if line != self.line:
            self.line = line
            self._tell(line)
            self.heard()
