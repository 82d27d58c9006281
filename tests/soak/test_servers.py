"""Servers whose answers are not what they should be: a result, or an error in words.

Every endpoint of every dialect takes part by itself: what the stand-ins answer when they are met,
woven with and scored on is spoilt, one answer after another, in values, structure, bytes, status
and headers, and goes over a real connection.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
import unicodedata
from asyncio import StreamWriter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from llterm.backends.remote.probe import reused_tokens
from llterm.backends.remote.server_connection import open_remote
from llterm.backends.remote.transport import RequestRefused
from llterm.config.server_settings import DIALECTS, ServerSettings
from llterm.core.server_news import ServerNews
from llterm.core.tokens import Anchor, Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.weave import drive
from llterm.errors import LltermError
from tests.helpers.fake_servers import SERVERS
from tests.helpers.faulty_server import FaultyServer, Request, events, raw, whole
from tests.helpers.soak_rounds import rounds

pytestmark = pytest.mark.soak

HOSTILE: tuple[Any, ...] = (
    3_000_000_000, -1, 2**63, 10**39, 0.5, 1e300, -0.0, float("nan"), float("-inf"), True, None,
    "", "7", "\x1b[2J\x07\x9b31m\u202e", "\ud800", [], {}, [[[]]], [-1, 300], {"a": {}}, "x" * 5000,
)  # fmt: skip
MOST_REQUESTS = 400
MOST_SEEDS = 100
LEAST_ANSWERS = 200
"""Spoilt ones of all servers together, at the least."""
SECONDS = 20.0
"""For one server; what exceeds it hangs."""
Spoil = Callable[[random.Random, Any], bytes]


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON value but the top."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    for key, entry in pairs:
        yield (*at, key)
        if isinstance(entry, dict | list):
            yield from places(entry, (*at, key))


def value(chance: random.Random, data: Any) -> bytes:
    """Something else at one place."""
    changed = copy.deepcopy(data)
    *way, last = chance.choice(list(places(changed)))
    inner = changed
    for key in way:
        inner = inner[key]
    inner[last] = chance.choice(HOSTILE)
    return json.dumps(changed).encode()


def structure(chance: random.Random, data: Any) -> bytes:
    """A place that is gone, twice there, or inside something."""
    changed = copy.deepcopy(data)
    *way, last = chance.choice(list(places(changed)))
    inner = changed
    for key in way:
        inner = inner[key]
    match chance.randrange(3):
        case 0:
            del inner[last]
        case 1 if isinstance(inner, list):
            inner.insert(last, inner[last])
        case _:
            inner[last] = [inner[last]]
    return json.dumps(changed).encode()


def scrambled(chance: random.Random, data: Any) -> bytes:
    """Bytes that are cut, changed, doubled or not JSON at all."""
    good = json.dumps(data).encode()
    at = chance.randrange(len(good))
    return chance.choice((
        good[:at], good[:at] + b"\xff\x00\x1b" + good[at + 1 :], good + good, b"", b"[" * 5000,
        b"<html><title>Log in\x1b[31m</title></html>", good[:-1] + b',"choices":7}',
        b'{"error": {"code": 400, "message": "no \\u001b[2J way"}}', b"-Infinity", b"null",
        json.dumps(data, ensure_ascii=False).encode("utf-16"), b"[1e999]",
    ))  # fmt: skip


WAYS: tuple[Spoil, ...] = (value, structure, scrambled)
HEADS: tuple[dict[str, str], ...] = (
    {"Location": "/elsewhere"}, {"Location": "http://[broken"}, {"Location": "//127.0.0.1:1/x"}, {},
    {"Content_Encoding": "gzip"}, {"Content_Encoding": "gzip, gzip"}, {"Content_Type": "text/html"},
    {"Set_Cookie": "taste=sweet"}, {"Retry_After": "\x1b"}, {"X_Long": "a" * 30_000},
    {"Content_Type": "text/event-stream"}, {"Content_Encoding": "br"},
)  # fmt: skip
STATUSES = (200, 201, 204, 206, 300, 302, 304, 307, 308, 400, 404, 405, 418, 422, 501)


class Strange(FaultyServer):
    """A stand-in on a real connection; the answers to one of its addresses are spoilt."""

    def __init__(self, kind: type[Any], path: str, seed: int) -> None:
        super().__init__(self.respond)
        self.stand_in = kind()
        self.path = path
        self.chance = random.Random(seed)
        self.way = self.chance.choice((*WAYS, None))
        self.spoilt = 0
        """Answers that were not what they should be."""

    async def respond(self, request: Request, writer: StreamWriter) -> None:
        try:
            if request.method == "GET":
                data = (await self.stand_in.get(request.path)).data
            else:
                body = request.data
                if body.get("stream"):
                    await raw(events(*self.stand_in.events(body)))(request, writer)
                    return
                data = (await self.stand_in.post(request.path, body)).data
        except RequestRefused as error:
            answer = {"error": {"code": error.status, "message": error.detail}}
            await whole(json.dumps(answer).encode(), error.status)(request, writer)
            return
        except (LookupError, TypeError, ValueError, AssertionError):
            # It was taken for another kind of server, and asked what that one knows.
            await whole(b'{"error": "no such request"}', 400)(request, writer)
            return
        if request.path != self.path or self.chance.random() < 0.3:
            await whole(json.dumps(data).encode())(request, writer)
            return
        self.spoilt += 1
        if self.way is not None:
            await whole(self.way(self.chance, data))(request, writer)
        else:
            status, head = self.chance.choice(STATUSES), self.chance.choice(HEADS)
            await whole(json.dumps(data).encode(), status, **head)(request, writer)


async def used(server: Strange, dialect: str) -> str:
    """What is shown of a server that is met, asked as doctor does, woven with and scored on."""
    shown: list[str] = []
    settings = ServerSettings((server.url,), dialect=dialect, timeout=0.5, connect_timeout=2.0)

    def hear(news: ServerNews) -> None:
        news.listen(lambda: shown.extend(one.words for one in news.absences))

    with suppress(LltermError):
        try:
            backend = await open_remote("tiny", settings, hear=hear, fresh=True)
        except LltermError as error:
            shown.append(str(error))
            raise
        try:
            for use in (doctored, woven, scored):
                try:
                    shown.append(await use(backend))
                except LltermError as error:
                    shown.append(str(error))
        finally:
            await backend.close()
    return "\n".join(shown)


async def doctored(backend: Any) -> str:
    await reused_tokens(backend.transport, backend.dialect)
    return "\n".join(value for _, value in backend.dialect.traits.explained())


async def tokens(backend: Any, text: bytes) -> Tail:
    """The text's tokens, the server's own where it tells them."""
    found: Tail = await backend.vocabulary.tokenize(text)
    return found


async def woven(backend: Any) -> str:
    vocabulary = backend.vocabulary
    rules = WeaveSettings(depth=3, cutoff=0.05, split_limit=0, beams=5)
    anchor = Anchor(vocabulary.prefix + await tokens(backend, b"Once the"))
    weave = Weave(vocabulary, anchor, rules)
    async for _ in drive(weave, backend):
        pass
    return ""


async def scored(backend: Any) -> str:
    async for _ in backend.score(await tokens(backend, b"Once the fox"), 1, 3):
        pass
    return ""


async def endpoints(kind: type[Any]) -> list[str]:
    """What is asked of a good server of this kind."""
    server = Strange(kind, "", 0)
    async with server:
        await used(server, named(kind))
        return sorted({one.path for one in server.requests})


def named(kind: type[Any]) -> str:
    """A hosted chat is known by its address, which is not there."""
    return kind.dialect if kind.dialect == "chat" else "auto"


def test_every_dialect_takes_part() -> None:
    assert {kind.dialect for kind in SERVERS} == set(DIALECTS) - {"auto"}


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.__name__)
async def test_a_strange_server_gives_a_result_or_an_error(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llterm.backends.remote.pool._RESTS", QUICK)
    spoilt, paths = 0, await endpoints(kind)
    for seed in range(MOST_SEEDS):
        if seed >= rounds(4) and spoilt * len(SERVERS) >= LEAST_ANSWERS:
            break
        for path in paths:
            where = f"{kind.__name__} {path} {seed}"
            server = Strange(kind, path, seed)
            try:
                async with server, asyncio.timeout(SECONDS):
                    shown = await used(server, named(kind))
            except Exception as error:
                error.add_note(where)
                raise
            assert len(server.requests) <= MOST_REQUESTS, where
            controls = [
                character
                for character in shown
                if unicodedata.category(character) == "Cc" and character != "\n"
            ]
            assert not controls, (where, shown)
            assert not any("cookie" in character.headers for character in server.requests), where
            spoilt += server.spoilt
    assert spoilt * len(SERVERS) >= LEAST_ANSWERS


QUICK = dict.fromkeys(("unreached", "slow", "cut", "busy", "loading", "failed"), (9, 0.01, 0.01))
"""No replica rests for long: time is not what is tested."""
