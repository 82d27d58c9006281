"""Servers that list fewer candidates than they are asked for: what they tell is all there is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.server_connection import connect
from llterm.config.server_settings import DIALECTS, ServerSettings
from llterm.core.tokens import Anchor
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.weave import drive
from llterm.errors import CapabilityMissing, LltermError
from tests.helpers import fake_servers
from tests.helpers.fake_servers import SERVERS, LlamaServer


class UnsizedLlamaServer(LlamaServer):
    """One that does not say how many tokens its model knows."""

    paths: ClassVar[Mapping[str, Any]] = {
        **LlamaServer.paths,
        "/v1/models": {"data": [{"id": "tiny", "owned_by": "me"}]},
    }


ALL: tuple[type[Any], ...] = (*SERVERS, UnsizedLlamaServer)


def test_every_dialect_takes_part() -> None:
    assert {kind.dialect for kind in ALL} == set(DIALECTS) - {"auto"}


async def driven(weave: Weave, backend: RemoteBackend) -> None:
    """To the end; a branch that ends inside a character may fail, and is told at the end."""
    with suppress(LltermError):
        async for _ in drive(weave, backend):
            pass


@pytest.mark.parametrize("strategy", ["best", "breadth"])
@pytest.mark.parametrize("cap", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
async def test_nothing_is_asked_more_than_twice(
    kind: Any, cap: int, strategy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(before: Mapping[int, float], top: int) -> list[tuple[int, float]]:
        return list(before.items())[: min(top, cap)]

    monkeypatch.setattr(fake_servers, "listed", short)
    for split in (0, 1, 3):
        server = kind()
        try:
            backend = await connect("tiny", server, ServerSettings(("http://server",)), fresh=True)
        except CapabilityMissing:
            assert cap == 1, "two candidates are enough to weave with"
            continue
        vocabulary = backend.vocabulary
        ids = await vocabulary.tokenize(b"Once the")
        rules = WeaveSettings(depth=3, cutoff=0.01, split_limit=split, beams=10, strategy=strategy)
        weave = Weave(vocabulary, Anchor(vocabulary.prefix + ids), rules)
        before = len(server.requests)
        await driven(weave, backend)
        assert weave.done or not weave.wants(1)
        asked = Counter(json.dumps(one, sort_keys=True) for one in server.requests[before:])
        assert asked
        assert max(asked.values()) <= 2
        questions = sum(count for one, count in asked.items() if "okenize" not in one)
        assert questions <= 2 * len(weave.facts) + 4
        await backend.close()


async def test_the_limit_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fake_servers, "listed", lambda before, top: list(before.items())[: min(top, 2)]
    )
    server = LlamaServer()
    backend = await connect("tiny", server, ServerSettings(("http://server",)), fresh=True)
    ids = await backend.vocabulary.tokenize(b"Once the")
    weave = Weave(backend.vocabulary, Anchor(ids), WeaveSettings(depth=2, split_limit=0))
    await driven(weave, backend)
    assert backend.news.most_listed == 2
    assert backend.news.absences == ()
    assert backend.capabilities.top == 2
