"""The file that `--record` writes and `--replay` reads.

A cassette is JSON Lines. The first line says what it is, and which settings a replay needs:

    {"llterm_cassette": 1, "dialect": "llama", "model": null, "parallel": 4, "chat_template": null}

Each further line is one request and how it ended, in the order in which they ended:

    {"method": "POST", "path": "/completion", "body": {…}, "status": 200, "data": {…}}
    {"method": "STREAM", "path": …, "body": {…}, "events": […], "ended": true}
    {"method": "GET", "path": "/props", "body": null, "refused": 404, "data": …, "detail": "…",
     "words": [title, cause, hint]}
    {"method": …, "path": …, "body": …, "failed": [title, cause, hint]}

A streamed answer that failed has both "events" and its error; "ended" is false where it was
stopped. There is no key, no header and no address in a cassette, but the text of the story is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from llterm.backends.remote.answer import Part, parse
from llterm.backends.remote.keys import Secret, hidden
from llterm.backends.remote.wire import BadAnswer, Refused
from llterm.config.server_settings import DIALECTS, ServerSettings
from llterm.core.display import display_text, label_text
from llterm.core.jsontext import json_text
from llterm.errors import BackendUnavailable, LltermError, UsageError, reason
from llterm.regular import read_file

VERSION = 1
STREAM = "STREAM"
MOST_PARALLEL = 10_000
MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Entry:
    """One request and how it ended."""

    method: str
    path: str
    body: Any
    status: int = 0
    data: Any = None
    events: tuple[Any, ...] = ()
    ended: bool = True
    """False for a streamed answer that was stopped, or failed, before its end."""
    error: LltermError | None = None

    @property
    def request(self) -> str:
        """What a replay finds it by."""
        return request(self.method, self.path, self.body)

    def line(self) -> dict[str, Any]:
        """As it stands in the file."""
        found = {"method": self.method, "path": self.path, "body": self.body}
        if self.method == STREAM:
            found |= {"events": self.events, "ended": self.ended}
        if self.error is None:
            return found if self.method == STREAM else found | {
                "status": self.status, "data": self.data
            }  # fmt: skip
        words = [self.error.title, self.error.cause, self.error.hint]
        if isinstance(self.error, Refused):
            return found | {
                "refused": self.error.status,
                "data": self.error.data,
                "detail": self.error.detail,
                "words": words,
            }
        return found | {"failed": words}

    @classmethod
    def of(cls, line: Part) -> Entry:
        """From a line of a file. Raises BadAnswer, with the place of what is wrong."""
        method, path, body = line["method"].text(), line["path"].text(), line["body"].value
        error: LltermError | None = None
        if line.get("refused"):
            status, data = line["refused"].whole(100, 599), line["data"].value
            error = Refused(
                status, data, display_text(line["detail"].text().encode()), *_words(line["words"])
            )
        elif line.get("failed"):
            error = BackendUnavailable(*_words(line["failed"]))
        if method == STREAM:
            events = tuple(one.value for one in line["events"].items())
            return cls(
                method, path, body, events=events, ended=bool(line["ended"].value), error=error
            )
        if error is not None:
            return cls(method, path, body, error=error)
        return cls(method, path, body, line["status"].whole(), line["data"].value)


def request(method: str, path: str, body: Any) -> str:
    """A request as one text: equal for equal requests, whatever the order of names."""
    return f"{method} {path} {json_text(body, sort=True)}"


class CassetteWriter:
    """A new cassette; every entry is on the disk when `add` returns."""

    def __init__(
        self, path: Path, settings: ServerSettings, parallel: int, key: Secret | None
    ) -> None:
        """Raises UsageError, also where the file is there already."""
        self._key = key
        self._addresses = [url.rstrip("/") for url in settings.base_url]
        self._file = _made(path)
        self._write(
            {
                "llterm_cassette": VERSION,
                "dialect": settings.dialect,
                "model": settings.model,
                "parallel": parallel,
                "chat_template": settings.chat_template,
            }
        )

    def add(self, entry: Entry) -> None:
        """Raises UsageError where the disk takes no more."""
        if self._file.closed:
            return
        line = entry.line()
        for name in ("words", "failed"):
            if name in line:
                line[name] = [self._nameless(text) for text in line[name]]
        self._write(line)

    def close(self) -> None:
        self._file.close()

    def _nameless(self, text: str) -> str:
        for address in self._addresses:
            text = text.replace(address, "the server")
        return text

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self._file.write(json_text(hidden(self._key, line), compact=True) + "\n")
            self._file.flush()
        except OSError as error:
            raise UsageError(
                f"{self._file.name} cannot be written", f"{reason(error)}.", "Is the disk full?"
            ) from error


def read_cassette(path: Path) -> tuple[ServerSettings, list[Entry]]:
    """The settings to replay it with (no address among them), and its entries.

    Raises UsageError where it is no cassette, or a broken one.
    """
    try:
        head, *lines = read_file(path, MOST_BYTES).splitlines() or [b""]
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", f"{reason(error)}.", "Name a recording."
        ) from None
    number = 1
    try:
        settings, entries = _settings(Part(parse(head))), []
        for line in lines:
            number += 1
            entries.append(Entry.of(Part(parse(line))))
    except BadAnswer as error:
        raise UsageError(
            f"{path} is not a recording of llterm, or a broken one",
            f"Line {number}: {error.cause}",
            "`--record FILE` makes one.",
        ) from None
    return settings, entries


def _settings(head: Part) -> ServerSettings:
    version = head["llterm_cassette"].whole()
    if version != VERSION:
        raise BadAnswer("", f"it is of version {version}; this llterm knows {VERSION}.")
    model = head.get("model")
    parallel = head["parallel"].whole(1, MOST_PARALLEL)
    dialect = head["dialect"].text()
    if dialect not in DIALECTS:
        shown = label_text(dialect[:40])
        raise BadAnswer("", f"its dialect is {shown}; this llterm knows {', '.join(DIALECTS)}.")
    template = head.get("chat_template")
    return ServerSettings(
        (), dialect, model.text() if model else None, parallel,
        chat_template=template.text() if template else None,
    )  # fmt: skip


def _words(part: Part) -> tuple[str, str, str]:
    """As an error shows them, whoever wrote the file."""
    title, cause, hint = (display_text(part[at].text().encode()) for at in range(3))
    return title, cause, hint


def _made(path: Path) -> TextIO:
    try:
        # Its text is private; and what stands there already is not ours to replace.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(
            f"{path} is there already", "", "Name a new file, or remove that one."
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written", f"{reason(error)}.", "Name another file."
        ) from None
    return os.fdopen(descriptor, "w", encoding="utf-8")
