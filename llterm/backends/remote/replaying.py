"""`--replay`: a wire that serves a cassette's answers again and asks no server."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from llterm.backends.remote.cassette import STREAM, Entry, read_cassette, request
from llterm.backends.remote.usage import tokens_of
from llterm.backends.remote.wire import Reply, Spent
from llterm.core.display import label_text
from llterm.errors import UsageError

_NOTHING = object()


class ReplayWire:
    """Finds answers by method, path and body. Where one request was recorded several times, its
    answers come in their order, the last one again and again."""

    def __init__(self, path: Path) -> None:
        """Reads the file whole. Raises UsageError where it is no cassette."""
        self.name = path.name
        settings, entries = read_cassette(path)
        self._limit = settings.parallel or 1
        self._entries: dict[str, list[Entry]] = defaultdict(list)
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
    def spent(self) -> Spent:
        return Spent(requests=self._served.total(), **self._tokens)

    @property
    def away(self) -> str:
        return ""

    async def close(self) -> None:
        """Nothing is open."""

    def _answer(self, method: str, path: str, body: Any) -> Reply:
        entry = self._entry(method, path, body)
        if entry.error is not None:
            raise entry.error
        self._count(entry.data)
        return Reply(entry.status, entry.data, {}, self.name)

    def _entry(self, method: str, path: str, body: Any) -> Entry:
        asked = request(method, path, body)
        kept = self._entries.get(asked)
        if kept is None:
            raise self._missing(method, path, body)
        entry = kept[min(self._served[asked], len(kept) - 1)]
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


def _differing(recorded: Any, asked: Any) -> list[str]:
    """The names under which two bodies hold different values."""
    if not isinstance(recorded, Mapping) or not isinstance(asked, Mapping):
        return ["body"]
    return [name for name in sorted({*recorded, *asked})
            if recorded.get(name, _NOTHING) != asked.get(name, _NOTHING)]  # fmt: skip
