"""Cassettes: the file that `--record` writes and `--replay` reads, and a transport for either.

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
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from llterm.backends.remote.answer import AnswerValue, parse
from llterm.backends.remote.api_keys import Secret, hidden
from llterm.backends.remote.transport import (
    BadAnswer,
    Reply,
    RequestRefused,
    Transport,
    TransportUsage,
    tokens_of,
)
from llterm.config.server_settings import DIALECTS, ServerSettings
from llterm.core.display_text import display_text, label_text
from llterm.core.json_text import json_text
from llterm.core.server_news import ServerNews
from llterm.errors import BackendUnavailable, LltermError, UsageError, reason
from llterm.regular_file import read_file

VERSION = 1
STREAM = "STREAM"
MOST_PARALLEL = 10_000
MOST_BYTES = 1 << 30
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class CassetteEntry:
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
        line = {"method": self.method, "path": self.path, "body": self.body}
        if self.method == STREAM:
            line |= {"events": self.events, "ended": self.ended}
        if self.error is None:
            return line if self.method == STREAM else line | {
                "status": self.status, "data": self.data
            }  # fmt: skip
        words = [self.error.title, self.error.cause, self.error.hint]
        if isinstance(self.error, RequestRefused):
            return line | {
                "refused": self.error.status,
                "data": self.error.data,
                "detail": self.error.detail,
                "words": words,
            }
        return line | {"failed": words}

    @classmethod
    def of(cls, line: AnswerValue) -> CassetteEntry:
        """From a line of a file. Raises BadAnswer, with the place of what is wrong."""
        method, path, body = line["method"].text(), line["path"].text(), line["body"].value
        error: LltermError | None = None
        if line.get("refused"):
            status, data = line["refused"].whole(100, 599), line["data"].value
            error = RequestRefused(
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

    def add(self, entry: CassetteEntry) -> None:
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


def read_cassette(path: Path) -> tuple[ServerSettings, list[CassetteEntry]]:
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
        settings, entries = _settings(AnswerValue(parse(head))), []
        for line in lines:
            number += 1
            entries.append(CassetteEntry.of(AnswerValue(parse(line))))
    except BadAnswer as error:
        raise UsageError(
            f"{path} is not a recording of llterm, or a broken one",
            f"Line {number}: {error.cause}",
            "`--record FILE` makes one.",
        ) from None
    return settings, entries


class RecordingTransport:
    """Hands everything on and keeps the answers in a cassette.

    A request that is cancelled before its answer is not kept.
    """

    def __init__(self, transport: Transport, cassette: CassetteWriter) -> None:
        self.name = transport.name
        self._transport = transport
        self._cassette = cassette

    async def get(self, path: str) -> Reply:
        return await self._kept("GET", path, None, self._transport.get(path))

    async def post(self, path: str, body: Mapping[str, Any], *, idempotent: bool = True) -> Reply:
        answer = self._transport.post(path, body, idempotent=idempotent)
        return await self._kept("POST", path, body, answer)

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        events: list[Any] = []
        ended = False
        error: LltermError | None = None
        try:
            async with aclosing(self._transport.stream(path, body)) as source:
                async for event in source:
                    events.append(event)
                    yield event
            ended = True
        except LltermError as failed:
            error = failed
            raise
        finally:
            if events or ended or error:
                entry = CassetteEntry(
                    STREAM, path, body, events=tuple(events), ended=ended, error=error
                )
                self._cassette.add(entry)

    @property
    def parallel(self) -> int:
        return self._transport.parallel

    def set_parallel(self, count: int) -> None:
        self._transport.set_parallel(count)

    @property
    def spent(self) -> TransportUsage:
        return self._transport.spent

    @property
    def news(self) -> ServerNews:
        return self._transport.news

    async def close(self) -> None:
        await self._transport.close()
        self._cassette.close()

    async def _kept(self, method: str, path: str, body: Any, answer: Awaitable[Reply]) -> Reply:
        try:
            reply = await answer
        except LltermError as error:
            self._cassette.add(CassetteEntry(method, path, body, error=error))
            raise
        self._cassette.add(CassetteEntry(method, path, body, reply.status, reply.data))
        return reply


class ReplayTransport:
    """Serves a cassette's answers again, found by method, path and body.

    Where one request was recorded several times, its answers come in their order, the last one
    again and again.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file whole. Raises UsageError where it is no cassette."""
        self.name = path.name
        self.news = ServerNews()
        settings, entries = read_cassette(path)
        self._limit = settings.parallel or 1
        self._entries: dict[str, list[CassetteEntry]] = defaultdict(list)
        for entry in entries:
            self._entries[entry.request].append(entry)
        self._served = Counter[str]()
        self._tokens = Counter[str]()

    async def get(self, path: str) -> Reply:
        return self._answer("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any], *, idempotent: bool = True) -> Reply:
        return self._answer("POST", path, body)

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        entry = self._entry(STREAM, path, body)
        for event in entry.events:
            self._count(event)
            yield event
        if entry.error is not None:
            raise entry.error
        if not entry.ended:
            raise self._missing(STREAM, path, body)

    @property
    def parallel(self) -> int:
        return self._limit

    def set_parallel(self, count: int) -> None:
        self._limit = max(count, 1)

    @property
    def spent(self) -> TransportUsage:
        return TransportUsage(requests=self._served.total(), **self._tokens)

    async def close(self) -> None:
        """Nothing is open."""

    def _answer(self, method: str, path: str, body: Any) -> Reply:
        entry = self._entry(method, path, body)
        if entry.error is not None:
            raise entry.error
        self._count(entry.data)
        return Reply(entry.status, entry.data, {}, self.name)

    def _entry(self, method: str, path: str, body: Any) -> CassetteEntry:
        asked = request(method, path, body)
        answers = self._entries.get(asked)
        if answers is None:
            raise self._missing(method, path, body)
        entry = answers[min(self._served[asked], len(answers) - 1)]
        self._served[asked] += 1
        return entry

    def _count(self, data: Any) -> None:
        prompt, answer = tokens_of(data)
        self._tokens["prompt_tokens"] += prompt
        self._tokens["answer_tokens"] += answer

    def _missing(self, method: str, path: str, body: Any) -> UsageError:
        """Says what was asked, and how the nearest recorded request differs."""
        same = [kept[0].body for kept in self._entries.values()
                if (kept[0].method, kept[0].path) == (method, path)]  # fmt: skip
        if not same:
            why = f"{method} {path} was not asked while it was recorded"
        elif body in same:
            why = f"The recorded answer to {method} {path} was stopped at this point"
        else:
            names = min((_differing(one, body) for one in same), key=len)
            shown = label_text(", ".join(names))
            why = f"{method} {path} was recorded, but not with this {shown}"
        return UsageError(
            f"{self.name} has no answer to this request",
            f"{why}.",
            "Replay with the same story and settings, or record it anew.",
        )


def _settings(head: AnswerValue) -> ServerSettings:
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


def _words(part: AnswerValue) -> tuple[str, str, str]:
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


def _differing(recorded: Any, asked: Any) -> list[str]:
    """The names under which two bodies hold different values."""
    if not isinstance(recorded, Mapping) or not isinstance(asked, Mapping):
        return ["body"]
    return [name for name in sorted({*recorded, *asked})
            if recorded.get(name, _NOTHING) != asked.get(name, _NOTHING)]  # fmt: skip
