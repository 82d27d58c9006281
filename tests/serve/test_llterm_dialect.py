"""llterm's own addresses: another llterm has all of a served model, as if it were in process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from llterm import paths
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.remote.llterm_backend import LltermBackend
from llterm.backends.remote.server_connection import open_remote
from llterm.backends.remote.transport import RequestRefused
from llterm.config.server_settings import ServerSettings
from llterm.core.distribution import Mask
from llterm.core.query import Fact, Failed, Query, Source
from llterm.core.tokens import Anchor, Path, Tail
from llterm.engine.whole_rows import rows_of
from llterm.serve.llterm_questions import KEPT_ANCHORS, KEPT_TOKENS, OwnAnchors
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.polling import until
from tests.helpers.served_api import ServedApi, served

STORY = b"The forest seemed darker than usual, but"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[LlamaBackend]:
    backend = await open_llama(BUNDLED, LlamaSettings(threads=1), name="fable")
    yield backend
    await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(local: LlamaBackend) -> AsyncIterator[ServedApi]:
    async with served(local, aliases={"tales": "fable"}) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def remote(api: ServedApi) -> AsyncIterator[LltermBackend]:
    backend = await open_remote("far", ServerSettings((api.address,)))
    assert isinstance(backend, LltermBackend)
    yield backend
    await backend.close()


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def story(source: Source) -> Tail:
    return source.vocabulary.prefix + await source.vocabulary.tokenize(STORY)


async def answered(source: Source, queries: list[Query]) -> list[Fact | Failed]:
    """In the order of the queries."""
    answers = {id(answer.path): answer async for answer in source.ask(queries)}
    return [answers[id(query.path)] for query in queries]


async def test_the_vocabulary_is_that_of_the_model(
    local: LlamaBackend, remote: LltermBackend
) -> None:
    assert remote.vocabulary.fingerprint == local.vocabulary.fingerprint
    assert remote.vocabulary.size == local.vocabulary.size
    for id in range(local.vocabulary.size):
        assert remote.vocabulary.token(id) == local.vocabulary.token(id)
    for text in (STORY, "Zwölf 🦊 と".encode(), b"\xff<|endofstory|>"):
        assert await remote.vocabulary.tokenize(text) == await local.vocabulary.tokenize(text)


async def test_facts_are_those_of_the_model_to_the_bit(
    local: LlamaBackend, remote: LltermBackend
) -> None:
    """The same questions after the same anchor, each backend's own; asked as one request."""
    tokens, size = await story(local), local.vocabulary.size
    allowed = np.zeros(size, np.bool_)
    allowed[[5, 70, 900, size - 1]] = True

    def queries() -> list[Query]:
        anchor, mask = Anchor(tokens), Mask(allowed)
        return [
            Query(Path(anchor, ()), keep=12),
            Query(Path(anchor, ()), keep=3, mask=mask),
            Query(Path(anchor, (70,)), keep=size, full=True),
            Query(Path(anchor, (70, 900)), mask=mask),
        ]

    before = remote.transport.spent.requests
    near, far = await answered(local, queries()), await answered(remote, queries())
    assert remote.transport.spent.requests == before + 1
    for here, there in zip(near, far, strict=True):
        assert isinstance(here, Fact)
        assert isinstance(there, Fact)
        one, other = here.distribution, there.distribution
        assert np.array_equal(one.ids, other.ids)
        assert np.array_equal(one.logprobs, other.logprobs)
        if one.full is None or other.full is None:
            assert one.full is other.full
        else:
            assert np.array_equal(one.full, other.full)
        same = {name: getattr(one, name) for name in ("rest", "permitted", "entropy", "exact",
                "certain", "log_z", "varentropy")}  # fmt: skip
        assert same == {name: getattr(other, name) for name in same}
    assert sum(each.cost.requests for each in far if isinstance(each, Fact)) == 1


async def test_scores_rows_and_attention_are_those_of_the_model(
    local: LlamaBackend, remote: LltermBackend
) -> None:
    tokens = await story(local)
    near = [each async for each in local.score(tokens, 2, 5)]
    far = [each async for each in remote.score(tokens, 2, 5)]
    assert [(each.index, each.id, each.logprob, each.rank) for each in far] == [
        (each.index, each.id, each.logprob, each.rank) for each in near
    ]
    assert np.array_equal(await rows_of(remote, tokens, 1), await rows_of(local, tokens, 1))
    here, there = await local.attention(tokens, 3, 4), await remote.attention(tokens, 3, 4)
    assert here.layers == there.layers
    assert np.array_equal(here.weights, there.weights)


async def test_a_path_that_is_too_long_fails_alone(
    local: LlamaBackend, remote: LltermBackend
) -> None:
    anchor = Anchor(await story(local))
    long = (7,) * local.capabilities.context
    short, other = await answered(remote, [Query(Path(anchor)), Query(Path(anchor, long))])
    assert isinstance(short, Fact)
    assert isinstance(other, Failed)
    assert "context" in other.error.title.lower()


async def test_a_model_of_another_vocabulary_is_noticed(remote: LltermBackend) -> None:
    query = Query(Path(Anchor(await story(remote))))
    kept = remote.vocabulary.fingerprint
    remote.vocabulary.fingerprint = "of-another-model"
    try:
        with pytest.raises(RequestRefused) as refused:
            await answered(remote, [query])
    finally:
        remote.vocabulary.fingerprint = kept
    assert refused.value.status == 400


async def test_who_leaves_is_not_answered_for(
    api: ServedApi, local: LlamaBackend, remote: LltermBackend
) -> None:
    """Its question ends with it, and others are answered."""
    anchor = Anchor((await story(local)) * 100)
    asking = asyncio.create_task(answered(remote, [Query(Path(anchor))]))
    await until(lambda: api.state.open.count == 1)
    asking.cancel()
    await asyncio.wait({asking})
    await until(lambda: api.state.open.count == 0)
    (answer,) = await answered(remote, [Query(Path(Anchor(await story(local))))])
    assert isinstance(answer, Fact)


async def test_a_vocabulary_that_is_known_is_not_fetched_again(
    api: ServedApi, remote: LltermBackend
) -> None:
    again = await open_remote("far", ServerSettings((api.address,)))
    assert again.transport.spent.requests == 2, "what models there are, and which tell all"
    assert again.vocabulary.prefix == remote.vocabulary.prefix
    assert await again.vocabulary.tokenize(STORY) == await remote.vocabulary.tokenize(STORY)
    file = paths.state_dir() / "servers" / f"vocabulary-{remote.vocabulary.fingerprint}.json"
    file.write_text(file.read_text()[:-100])
    await again.close()
    again = await open_remote("far", ServerSettings((api.address,)))
    assert again.transport.spent.requests == 3, "what is kept is broken"
    await again.close()


async def test_an_alias_opens_the_model_too(api: ServedApi) -> None:
    backend = await open_remote("far", ServerSettings((api.address,), model="tales"))
    assert isinstance(backend, LltermBackend)
    await backend.close()


ANCHORS = [{"id": "a", "tokens": [1]}]
WRONG = [
    ("facts", {"anchors": ANCHORS, "queries": [{"anchor": 1}]}),
    ("facts", {"anchors": [{"id": "a", "tokens": [1 << 30]}], "queries": [{"anchor": 0}]}),
    ("facts", {"anchors": ANCHORS, "queries": [{"anchor": 0, "mask": 0}]}),
    ("facts", {"anchors": ANCHORS, "queries": [{"anchor": 0}], "masks": ["!"]}),
    ("facts", {"anchors": ANCHORS, "queries": [{"anchor": 0, "keep": 4_096}] * 256}),
    ("facts", {"anchors": ANCHORS, "queries": [{"anchor": 0, "tail": [1 << 20]}]}),
    ("scores", {"tokens": [1] * 10_000, "keep": 4_000}),
    ("rows", {"tokens": []}),
    ("attention", {"tokens": [1, 2], "rows": 3, "columns": 1}),
    ("attention", {"tokens": [1] * 2_000, "rows": 2_000, "columns": 2_000}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "fields"), WRONG)
async def test_what_cannot_be_asked_is_refused_before_it_is_evaluated(
    api: ServedApi, local: LlamaBackend, path: str, fields: dict[str, object]
) -> None:
    before = local.spent
    own = local.vocabulary.fingerprint
    status, error = await api.refused(f"/v1/llterm/{path}", vocabulary=own, **fields)
    assert status == 400
    assert error["param"]
    assert local.spent == before


async def test_anchors_are_apart_by_key_and_only_so_many_are_kept() -> None:
    anchors = OwnAnchors()
    first = anchors.get("one", "fable", "a", (1, 2))
    assert anchors.get("one", "fable", "a", (1, 2)) is first
    assert anchors.get("other", "fable", "a", (1, 2)) is not first
    assert anchors.get("one", "fable", "b", (1, 2)) is not first
    assert anchors.get("one", "fable", "a", (1, 3)) is not first, "its tokens are others now"
    again = anchors.get("one", "fable", "a", (1, 2))
    for number in range(KEPT_ANCHORS):
        anchors.get("one", "fable", str(number), (1,))
    assert anchors.get("one", "fable", "a", (1, 2)) is not again
    last = anchors.get("one", "fable", "c", (1,))
    anchors.get("one", "fable", "d", (1,) * KEPT_TOKENS)
    assert anchors.get("one", "fable", "c", (1,)) is not last
