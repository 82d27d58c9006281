"""llama.cpp's b10434 answers 500 where what it wrote is no UTF-8, of several prompts for all.

Whatever way meets it goes on by another one, to the same figures as on a server that tells them.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.server_connection import connect
from llterm.backends.remote.server_faults import refusal
from llterm.backends.remote.transport import RequestRefused
from llterm.config.server_settings import ServerSettings
from llterm.core.distribution import Mask
from llterm.core.healing import Healer
from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor, Path, Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.weave import drive
from tests.helpers.fake_servers import LlamaServer
from tests.helpers.faulty_server import FaultyServer, MakeWire, reply, status
from tests.helpers.little_model import HALF, REST, VOCABULARY, cut

WORDS = "The model produced output that does not match the expected Content-only format"
ERROR = {"error": {"code": 500, "message": WORDS, "type": "server_error"}}


class UnwrittenServer(LlamaServer):
    """One that loses a whole answer with a prompt of it."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = super().answer(path, body)
        if path == "/completion":
            self._checked(item["tokens"] for item in _items(answer))
        return answer

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        """What is no UTF-8 is noticed as it is written."""
        written: dict[int, list[int]] = {}
        async for event in super().stream(path, body):
            if event is not None:
                line = written.setdefault(event["index"], [])
                line += event["tokens"]
                self._checked([line])
            yield event

    def _checked(self, lines: Any) -> None:
        for ids in lines:
            text = b"".join(VOCABULARY[id] for id in ids)
            try:
                # A character that is only begun is no fault.
                codecs.getincrementaldecoder("utf-8")().decode(text)
            except UnicodeDecodeError:
                self.lost += 1
                raise refusal(500, ERROR, self.name, "") from None


def _items(answer: Any) -> Sequence[Any]:
    return answer if isinstance(answer, list) else [answer]


async def opened(server: LlamaServer, *, slow: bool = False) -> RemoteBackend:
    backend = await connect("tiny", server, ServerSettings(("http://server",)), fresh=True)
    if slow:
        backend.client.pace = 10.0  # As a slow server, whose answers are streamed.
    return backend


async def both(*, slow: bool = False) -> tuple[RemoteBackend, RemoteBackend, UnwrittenServer]:
    server = UnwrittenServer()
    return await opened(LlamaServer(), slow=slow), await opened(server, slow=slow), server


def table(backend: RemoteBackend, fact: Any) -> dict[int, float]:
    assert isinstance(fact, Fact), fact
    pairs = zip(fact.distribution.ids.tolist(), fact.distribution.logprobs.tolist(), strict=True)
    return dict(pairs)


INSIDE: Tail = (*cut(b"Once the"), HALF)
"""A story that ends inside a snowman: what follows begins with the rest of it."""


@pytest.mark.parametrize("slow", [False, True])
async def test_lines_from_inside_a_character(slow: bool) -> None:
    whole, other, server = await both(slow=slow)
    anchor = Anchor(cut(b"Once the"))
    queries = [Query(Path(anchor, tail), ahead=3) for tail in ((), (HALF,), (3,))]
    expected = {one.path.tail: table(whole, one) async for one in whole.ask(queries)}
    answers = {one.path.tail: table(other, one) async for one in other.ask(queries)}
    assert {(), (HALF,), (3,)} <= set(answers)
    for tail, told in answers.items():
        assert told == pytest.approx(expected[tail], abs=1e-4), tail
    # Nothing was asked that would be lost.
    assert not server.lost


async def test_a_line_that_is_lost_is_asked_again_alone() -> None:
    """Where it is not known before that the text ends inside a character."""
    whole, other, server = await both()
    other.vocabulary.learn([])
    path = Path(Anchor(INSIDE), ())
    (expected,) = [one async for one in whole.ask([Query(path)])]
    async for part in other.client.steps(_line(INSIDE)):
        assert not part
    assert server.lost == 1
    (answer,) = [one async for one in other.ask([Query(path, ahead=3)])]
    assert table(other, answer) == pytest.approx(table(whole, expected), abs=1e-4)


def _line(tokens: Tail) -> Any:
    from llterm.backends.remote.steps import CompletionRequest

    return CompletionRequest([tokens], 3, 4)


@pytest.mark.parametrize("ids", [(REST, 9), (HALF, REST, 10), (5, 9)])
async def test_masks(ids: Tail) -> None:
    whole, other, server = await both()
    allowed = np.zeros(whole.vocabulary.size, dtype=np.bool_)
    allowed[list(ids)] = True
    for story in (cut(b"Once the"), INSIDE):
        query = Query(Path(Anchor(story), ()), mask=Mask(allowed), need=2)
        (expected,) = [one async for one in whole.ask([query])]
        (answer,) = [one async for one in other.ask([query])]
        assert table(other, answer) == pytest.approx(table(whole, expected), abs=1e-4)
        assert isinstance(answer, Fact)
        assert isinstance(expected, Fact)
        permitted = answer.distribution.permitted
        assert permitted == pytest.approx(expected.distribution.permitted, rel=1e-4)
    assert not server.lost


async def test_healing_inside_a_character() -> None:
    trees = []
    whole, other, _ = await both()
    for backend in (whole, other):
        residue = VOCABULARY[HALF]
        weave = Weave(
            backend.vocabulary, Anchor(cut(b"Once the")),
            WeaveSettings(depth=3, beams=6, cutoff=0.01), residue=residue,
            healer=Healer(backend.vocabulary),
        )  # fmt: skip
        async for _ in drive(weave, backend):
            pass
        trees.append({one.tail: one.logprob for one in weave.view().suggestions})
    assert trees[0]
    assert trees[1] == pytest.approx(trees[0], abs=1e-3)


async def test_heat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llterm.backends.remote.server_scoring.LEAST", 1)
    whole, other, server = await both()
    text = (*INSIDE, REST, *cut(b"."), HALF, *cut(b"!"))
    expected = [one.logprob async for one in whole.score(text, 1, 1)]
    scores = [one.logprob async for one in other.score(text, 1, 1)]
    assert scores == pytest.approx(expected, abs=1e-4)
    assert not server.lost


async def test_a_whole_weave_is_the_same() -> None:
    trees = []
    whole, other, _ = await both()
    for backend in (whole, other):
        weave = Weave(
            backend.vocabulary, Anchor(cut(b"Once the")),
            WeaveSettings(depth=5, beams=12, cutoff=0.01, heal=False),
        )  # fmt: skip
        async for _ in drive(weave, backend):
            pass
        assert weave.done
        trees.append({one.tail: one.logprob for one in weave.view().suggestions})
    assert any(HALF in tail and REST in tail for tail in trees[0])
    assert trees[1] == pytest.approx(trees[0], abs=1e-3)


class Unlucky(UnwrittenServer):
    """Its most probable first token is the rest of a character: the vocabulary's list is lost."""

    def line(self, tokens: Tail, count: int) -> list[tuple[int, dict[int, float]]]:
        line = super().line(tokens, count)
        return line if tokens != (0,) else [(REST, line[0][1])]


async def test_the_vocabulary_is_told_where_its_list_was_lost() -> None:
    server = Unlucky()
    backend = await opened(server)
    assert server.lost == 1
    assert backend.capabilities.masks
    assert [backend.vocabulary.token(id).data for id in range(1, 11)] == list(VOCABULARY[1:])


async def test_it_is_neither_repeated_nor_held_against_the_replica(wire: MakeWire) -> None:
    async with FaultyServer(reply(ERROR, 500)) as server:
        transport = wire(server.url)
        for _ in range(6):
            with pytest.raises(RequestRefused, match="refuses the request"):
                await transport.post("/completion", {})
        assert len(server.requests) == 6
        server.then(reply({"content": "fine"}))
        assert (await transport.post("/completion", {})).data == {"content": "fine"}
        assert len(server.requests) == 7
        # Any other 500 is.
        server.then(status(500, "out of memory"), reply({"content": "fine"}))
        assert (await transport.post("/completion", {})).data == {"content": "fine"}
        assert transport.spent.retries == 1
