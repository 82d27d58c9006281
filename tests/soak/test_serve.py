"""Thousands of requests at the real `llterm serve`, many cut short, wrong or of killed clients:
none is lost, doubled or crossed, and every slot is free at the end."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.helpers.program import FAULTS
from tests.helpers.served_api import events
from tests.helpers.served_program import ServedProgram, serving
from tests.helpers.soak_rounds import rounds

pytestmark = pytest.mark.soak
log = logging.getLogger(__name__)

REQUESTS = rounds(500)
SETTLED = min(1000, REQUESTS // 2)
"""Requests after which memory is first looked at: caches and pools are as full as they get."""
MOST_GROWTH = 1.02 if SETTLED == 1000 else 1.05
"""Of the resident memory of the server with all that it started; fewer requests than 1,000 leave
some of the caches to be filled."""
KINDS = 48
"""Different requests; each is answered once alone, and then many times in company."""
LARGE = 33
"""Of these one is a text of some 100,000 characters."""
AT_ONCE = 40
STORIES = (
    "The forest seemed darker than usual, but that did not bother Elis in the least. ",
    "Once there was a maker of lamps who lived by the sea with a cat and two ships. ",
)
OPENAI, LLAMACPP = "/v1/completions", "/completion"
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing is a reset, as where a machine or process is gone at once."""
_CLIENT = """
import socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(sys.stdin.buffer.read())
client.recv(1)
print(flush=True)
client.recv(1 << 30, socket.MSG_WAITALL)
"""
"""Prints a line when the answer has begun."""

Asked = tuple[str, Mapping[str, Any]]


def marker(number: int) -> str:
    return f"Number {number} is"


def request_of(number: int) -> Asked:
    """Path and body; its marker is in the prompt."""
    chance = random.Random(number)
    prompt = STORIES[number % 2] * chance.randint(1, 4) + marker(number)
    most = chance.randint(1, 24)
    fixed: dict[str, Any] = {"seed": 1} if number % 3 else {"temperature": 0}
    if number == LARGE:
        return "/tokenize", {"prompt": prompt * 500, "return_token_strs": True}
    if number % 11 == 0:
        return "/tokenize", {"prompt": prompt, "return_token_strs": True}
    if number % 4 == 0:
        body = {"prompt": prompt, "n_predict": most, "n_probs": number % 5, **fixed}
        return LLAMACPP, {**body, "stop": [" and"]} if number % 8 == 0 else body
    body = {"prompt": prompt, "max_tokens": most, "return_token_ids": True, **fixed}
    if number % 5 == 0:
        body["echo"] = True
    if number % 6 == 1:
        body |= {"n": 3, "logprobs": 2}
    if number % 7 == 0:
        body["structured_outputs"] = {"regex": "[a-z ]{0,9}[.]"}
    if number % 9 == 0:
        body |= {"echo": True, "max_tokens": 0, "logprobs": 1}
    return OPENAI, body


WRONG: tuple[tuple[int, bytes], ...] = (
    (400, b"{"),
    (400, b"[]"),
    (400, b'{"prompt": "a", "max_tokens": -1}'),
    (400, b'{"prompt": "a", "temperature": NaN}'),
    (400, b'{"prompt": "a", "temperature": -3}'),
    (400, b'{"prompt": [99999999]}'),
    (400, b'{"prompt": "a", "n": 1000000}'),
    (400, b'{"prompt": "a", "suffix": "b"}'),
    (400, b'{"prompt": "a", "zzz": 1}'),
    (400, json.dumps({"prompt": "a " * 100_000}).encode()),
    (400, b'{"prompt": "a", "structured_outputs": {"regex": "("}}'),
    (404, b'{"prompt": "a", "model": "another"}'),
    (413, b" " * (5 << 20)),
)


def answer_of(asked: Asked, whole: Any) -> Any:
    """What of an answer is the same each time."""
    path, _ = asked
    if path == "/tokenize":
        return whole["token_strs"]
    if path == LLAMACPP:
        return whole["content"], whole["stop_type"]
    return [
        (choice["index"], choice["text"], choice["finish_reason"]) for choice in whole["choices"]
    ]


def streamed_answer(asked: Asked, parts: list[Any]) -> Any:
    """The same of a stream."""
    if asked[0] == LLAMACPP:
        return "".join(part["content"] for part in parts), parts[-1]["stop_type"]
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    for part in parts:
        for choice in part["choices"]:
            index = choice["index"]
            assert index not in reasons, "after its end"
            texts[index] = texts.get(index, "") + choice["text"]
            if choice["finish_reason"]:
                reasons[index] = choice["finish_reason"]
    return [(index, texts[index], reasons[index]) for index in sorted(texts)]


def wire(asked: Asked, *, stream: bool) -> bytes:
    """The request as bytes."""
    path, body = asked
    data = json.dumps({**body, **({"stream": True} if stream else {})}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


class Crowd:
    """Clients of one server, of every manner."""

    def __init__(self, program: ServedProgram, client: httpx2.AsyncClient) -> None:
        self._program = program
        self._client = client
        self.alone: dict[int, Any] = {}
        self.answered = 0
        self._names: Iterator[str] = (f"request-{number}" for number in range(1 << 40))

    async def whole(self, number: int) -> Any:
        path, body = request_of(number)
        name = next(self._names)
        answer = await self._client.post(path, json=body, headers={"X-Request-Id": name})
        assert (answer.status_code, answer.headers["x-request-id"]) == (200, name), answer.text
        self.answered += 1
        got = answer_of((path, body), answer.json())
        if body.get("echo"):
            assert all(marker(number) in text for _, text, _ in got)
        return got

    async def right(self, number: int, chance: random.Random) -> None:
        """An answer as whole as it was alone."""
        path, body = request_of(number)
        if path == "/tokenize" or chance.random() < 0.5:
            assert await self.whole(number) == self.alone[number], number
            return
        async with self._client.stream("POST", path, json={**body, "stream": True}) as answer:
            text = (await answer.aread()).decode()
        assert answer.status_code == 200, text
        assert streamed_answer((path, body), events(text)) == self.alone[number], number
        self.answered += 1

    async def wrong(self, chance: random.Random) -> None:
        status, body = chance.choice(WRONG)
        headers = {"Content-Type": "application/json"}
        answer = await self._client.post(OPENAI, content=body, headers=headers)
        assert answer.status_code == status, (body[:80], answer.text)
        assert set(answer.json()) == {"error"}
        self.answered += 1

    async def cut(self, number: int, chance: random.Random) -> None:
        """A stream that is closed after some of it."""
        path, body = request_of(number)
        async with self._client.stream("POST", path, json={**body, "stream": True}) as answer:
            left = chance.randrange(3)
            async for _ in answer.aiter_raw():
                if not left:
                    break
                left -= 1

    async def cancelled(self, number: int, chance: random.Random) -> None:
        """Given up some turns of the loop later, wherever it is by then."""
        path, body = request_of(number)
        asking = asyncio.create_task(self._client.post(path, json=body))
        for _ in range(chance.randrange(200)):
            await asyncio.sleep(0)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking

    async def reset(self, number: int, chance: random.Random) -> None:
        """A connection that is gone in the middle of the request or of the answer."""
        stream = request_of(number)[0] != "/tokenize" and chance.random() < 0.5
        data = wire(request_of(number), stream=stream)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._program.port)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.write(data[: chance.choice([10, len(data) - 1, len(data)])])
        await writer.drain()
        if chance.random() < 0.3:
            writer.write(data)
            await reader.read(1)
        writer.transport.abort()

    async def killed(self, number: int) -> None:
        """A program that is killed as it reads."""
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-ISc", _CLIENT, str(self._program.port),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(wire(request_of(number), stream=False))
        client.stdin.close()
        await client.stdout.readline()
        client.kill()
        await client.wait()

    async def anything(self, place: int) -> None:
        chance = random.Random(place)
        number = chance.randrange(KINDS)
        drawn = number - (number % 11 == 0)
        if place % 100 == 99:
            await self.killed(number)
            return
        match chance.randrange(10):
            case 0:
                await self.wrong(chance)
            case 1:
                await self.cut(drawn, chance)
            case 2:
                await self.cancelled(number, chance)
            case 3:
                await self.reset(number, chance)
            case _:
                await self.right(number, chance)

    async def rush(self, places: range) -> None:
        """Many at once; the first that fails ends all."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(place: int) -> None:
            async with turns:
                await self.anything(place)

        async with asyncio.TaskGroup() as group:
            for place in places:
                group.create_task(ask(place))

    async def figures(self) -> Mapping[str, int]:
        text = (await self._client.get("/metrics")).text
        return {name: int(value) for name, value in re.findall(r"^(\S+) (\d+)$", text, re.M)}

    async def idle(self) -> None:
        """Wait until nothing is under way; each look is a request."""
        for _ in range(10_000):
            figures = await self.figures()
            if not (
                figures["llamacpp:requests_processing"]
                or figures["llamacpp:requests_deferred"]
                or figures["llterm:slots_taken"]
            ):
                return
        raise AssertionError(f"never idle: {figures}")


async def test_no_request_of_a_crowd_is_lost_doubled_or_crossed(tmp_path: Path) -> None:
    arguments = ("-m", "fable", "--parallel", "12", "--slot-context", "512", "--metrics")
    bounds = httpx2.Limits(max_connections=2 * AT_ONCE)
    with serving(tmp_path, *arguments) as program:
        async with httpx2.AsyncClient(
            base_url=program.address, timeout=120, limits=bounds
        ) as client:
            crowd = Crowd(program, client)
            for number in range(KINDS):
                crowd.alone[number] = await crowd.whole(number)
            await crowd.rush(range(SETTLED))
            await crowd.idle()
            settled = program.resident
            await crowd.rush(range(SETTLED, REQUESTS))
            await crowd.idle()
            grown = program.resident
            for number in range(KINDS):
                assert await crowd.whole(number) == crowd.alone[number]
            await crowd.idle()
            figures = await crowd.figures()
        log.info("%d asked, %d answered", REQUESTS, crowd.answered)
        log.info("%d KiB, then %d", settled, grown)
        assert figures["llterm:requests_total"] <= REQUESTS + 2 * KINDS
        assert grown <= settled * MOST_GROWTH
        code, said = program.end(signal.SIGTERM)
    assert code == 0
    assert not [fault for fault in FAULTS if fault in said], said
