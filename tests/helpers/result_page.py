"""A page of results as a browser takes it in."""

from __future__ import annotations

from html.parser import HTMLParser


class ResultPage(HTMLParser):
    """The tags of a page, what it loads, its text and its data."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.parts = {"main": "", "data": ""}
        self._part = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [f"{name}={value}" for name, value in attrs if name in ("src", "href")]
        if tag == "main" or ("id", "data") in attrs:
            self._part = "main" if tag == "main" else "data"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("main", "script"):
            self._part = ""

    def handle_data(self, data: str) -> None:
        if self._part:
            self.parts[self._part] += data
