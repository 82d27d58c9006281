"""Against a real llama.cpp server: the same as in process, in few requests, and stopped at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from benchmarks.server import server
from benchmarks.weaving import run
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.config.server_settings import ServerSettings
from llterm.constraints.compiled import compile
from llterm.constraints.spec import Constraint
from llterm.core.healing import Healer
from llterm.core.query import Query, Source
from llterm.core.tokens import Anchor, Path, Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.session.document import Document
from llterm.session.session import Session
from llterm.session.stories import STORIES
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.foreign_servers import open_foreign

pytestmark = pytest.mark.server

ROUNDING = 0.02
"""Logprobs of twelve tokens: a batch of other size rounds otherwise, some thousandths a token."""
WORDS = (STORIES[0].text + " " + STORIES[1].text + " " + STORIES[2].text).split()
PROMPTS = [" ".join(WORDS[at : at + 6 + at % 9]) for at in range(0, 60, 3)]
"""Twenty; some end in the middle of a sentence, some at its end."""
RULES = WeaveSettings(depth=6, beams=10, cutoff=0.05)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server(BUNDLED, 1) as (host, port):
        yield f"http://{host}:{port}"


@pytest.fixture
async def remote(address: str) -> AsyncIterator[RemoteBackend]:
    backend = await open_foreign("fable", ServerSettings((address,)))
    yield backend
    await backend.close()


@pytest.fixture
async def local() -> AsyncIterator[LlamaBackend]:
    backend = await open_llama(BUNDLED, LlamaSettings(threads=1))
    yield backend
    await backend.close()


async def woven(source: Source, text: str, rules: WeaveSettings = RULES) -> Weave:
    vocabulary = source.vocabulary
    tokens = vocabulary.prefix + await told(source, text)
    weave = Weave(vocabulary, Anchor(tokens), rules, before=text[-64:])
    await run(weave, source)
    return weave


async def told(source: Source, text: str) -> Tail:
    return await source.vocabulary.tokenize(text.encode())


def best(weave: Weave) -> dict[Tail, float]:
    return {one.tail: one.logprob for one in weave.view().suggestions}


def same(mine: Weave, theirs: Weave) -> None:
    """Equal but for rounding: one that only one of them has is as probable as the last ones."""
    first, other = best(mine), best(theirs)
    assert len(first) == len(other)
    last = min([*first.values(), *other.values()])
    for tail in first.keys() | other.keys():
        if tail in first and tail in other:
            assert math.isclose(first[tail], other[tail], abs_tol=ROUNDING), tail
        else:
            assert first.get(tail, other.get(tail, 0.0)) - last < ROUNDING, tail


async def test_tokens_mean_the_same_as_in_process(
    remote: RemoteBackend, local: LlamaBackend
) -> None:
    mine, theirs = remote.vocabulary, local.vocabulary
    assert mine.fingerprint == theirs.fingerprint
    assert mine.prefix == theirs.prefix
    assert [mine.token(id) for id in range(mine.size)] == [
        theirs.token(id) for id in range(theirs.size)
    ]
    for text in ("A fox’s ☃ <|endofstory|> naïve\n\n  x", "", "é"):
        assert await told(remote, text) == theirs.encode(text.encode())


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_the_same_suggestions_as_in_process_in_few_requests(
    remote: RemoteBackend, local: LlamaBackend, prompt: str
) -> None:
    mine, theirs = await woven(remote, prompt), await woven(local, prompt)
    same(mine, theirs)
    assert mine.done
    last = min(best(mine).values())
    needed = [
        tail for tail in mine.facts
        if tail and tail[-1] != int(mine.facts[tail[:-1]].ids[0]) and _joint(mine, tail) >= last
    ]  # fmt: skip
    assert remote.spent.requests <= 2 + len(needed)


def _joint(weave: Weave, tail: Tail) -> float:
    total = 0.0
    for at, id in enumerate(tail):
        distribution = weave.facts.get(tail[:at])
        if distribution is None or id not in distribution.ids:
            return -math.inf
        total += float(distribution.logprobs[distribution.ids == id][0])
    return total


@pytest.mark.parametrize("text", ["Once there was a little fo", "The old king said ", "A wolf☃"])
async def test_healing_is_the_same_as_in_process(
    remote: RemoteBackend, local: LlamaBackend, text: str
) -> None:
    weaves = []
    for source in (remote, local):
        session = Session(Document.scratch(text.encode(), RULES))
        session.attach(source)
        session.weave()
        await session.wait()
        assert session.shown is not None
        weaves.append(session.shown.weave)
        await session.close()
    assert weaves[0].anchor.tokens == weaves[1].anchor.tokens
    assert weaves[0].residue == weaves[1].residue
    same(*weaves)


async def test_constraints_hold(remote: RemoteBackend, local: LlamaBackend) -> None:
    constraint = Constraint("regex", " (yes|no), [a-z]+( [a-z]+)?")
    weaves = []
    for source in (remote, local):
        compiled = compile(constraint, source.vocabulary)
        tokens = source.vocabulary.prefix + await told(source, "“Will you come?” The fox said")
        weave = Weave(source.vocabulary, Anchor(tokens), RULES, constraint=compiled)
        await run(weave, source)
        weaves.append(weave)
    same(*weaves)


async def test_a_text_is_scored_as_in_process(remote: RemoteBackend, local: LlamaBackend) -> None:
    text = "The little fox said: ☃ xylophone! And é."
    ids = local.vocabulary.prefix + local.vocabulary.encode(text.encode())
    mine = [first async for first in remote.score(ids, 1, 8)]
    theirs = [first async for first in local.score(ids, 1, 8)]
    assert [first.index for first in mine] == [first.index for first in theirs]
    assert [first.logprob for first in mine] == pytest.approx(
        [first.logprob for first in theirs], abs=ROUNDING
    )
    for first, other in zip(mine, theirs, strict=True):
        assert (
            first.rank == other.rank or first.rank == len(first.distribution.ids) + 1 < other.rank
        )
        assert first.distribution.entropy[0] <= other.distribution.entropy[0] + ROUNDING
        assert first.distribution.entropy[1] >= other.distribution.entropy[0] - ROUNDING


async def test_a_stop_frees_the_person_and_the_server(address: str) -> None:
    """Streamed lines end with their connection: the slots are idle again before they would be."""
    remote = await open_foreign("fable", ServerSettings((address,)))
    tokens = remote.vocabulary.prefix + await told(remote, "Once upon a time")
    path = Path(Anchor(tokens))
    remote.policy = replace(remote.policy, ahead=1500)
    async with aclosing(remote.ask([Query(path, ahead=1500)])) as answers:
        async for _ in answers:
            break
    begun = asyncio.get_running_loop().time()
    while any(slot["is_processing"] for slot in (await remote.transport.get("/slots")).data):
        # Every look delays what it looks for, research says: not often, then.
        await asyncio.sleep(0.3)
        assert asyncio.get_running_loop().time() - begun < 30
    slots = (await remote.transport.get("/slots")).data
    decoded = [slot["next_token"][0]["n_decoded"] for slot in slots if slot.get("next_token")]
    assert max(decoded) < 1500
    await remote.close()


async def test_a_recording_gives_the_same_suggestions_without_the_server(
    address: str, tmp_path: FilePath
) -> None:
    cassette = tmp_path / "a.cassette"
    settings = ServerSettings((address,))
    weaves = []
    for changed in (replace(settings, record=cassette), replace(settings, replay=cassette)):
        backend = await open_foreign("fable", changed)
        weaves.append(await woven(backend, PROMPTS[0]))
        await backend.close()
    assert best(weaves[0]) == best(weaves[1])


async def test_the_healer_knows_all_tokens(remote: RemoteBackend) -> None:
    assert remote.capabilities.masks
    assert Healer(remote.vocabulary).mask(b" fo").allowed.sum() > 3
