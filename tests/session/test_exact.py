"""The bundled model's suggestions are the best N that decoding every prefix alone would find."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.stops import Stopper
from llterm.core.suggestion_tree import Suggestion
from llterm.core.tokens import Tail, text_bytes
from llterm.core.weave_settings import WeaveSettings
from llterm.session.document import Document
from llterm.session.session import Session
from llterm.session.stories import STORIES, Story
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.plain_decoder import PlainDecoder

RULES = WeaveSettings(depth=5, cutoff=0.08, split_limit=3, beams=8, heal=False)


@pytest.fixture
def plain() -> Iterator[PlainDecoder]:
    decoder = PlainDecoder(BUNDLED)
    yield decoder
    decoder.close()


def alone(
    plain: PlainDecoder, backend: LlamaBackend, story: Tail, rules: WeaveSettings
) -> list[tuple[float, Tail]]:
    """The best N by best-first search, one prefix a decode, in a fresh cache each time."""
    vocabulary, stopper = backend.vocabulary, Stopper(rules)
    waiting: list[tuple[float, Tail, bool]] = [(0.0, (), False)]
    best: list[tuple[float, Tail]] = []
    while waiting and len(best) < rules.beams:
        cost, tail, ended = heapq.heappop(waiting)
        if ended:
            best.append((-cost, tail))
            continue
        logprobs = plain.logprobs(story + tail)
        ids = sorted(range(vocabulary.size), key=lambda id: (-logprobs[id], id))
        for rank, id in enumerate(ids[: rules.split_limit]):
            if rank and logprobs[id] < rules.least(len(tail)):
                break
            path = (*tail, id)
            text = text_bytes(vocabulary, path).decode("utf-8", "ignore")
            over = vocabulary.token(id).end or stopper.ended(text) or len(path) >= rules.depth
            heapq.heappush(waiting, (cost - float(logprobs[id]), path, over))
    return best


async def woven(session: Session) -> list[Suggestion]:
    session.weave()
    await session.wait()
    assert session.view is not None
    return list(session.view.suggestions)


def check(mine: list[Suggestion], plain: list[tuple[float, Tail]]) -> None:
    assert {row.tail for row in mine} == {tail for _, tail in plain}
    joint = {tail: logprob for logprob, tail in plain}
    for row in mine:
        assert abs(row.logprob - joint[row.tail]) < 0.01, "within 1 % of p"
    assert [row.logprob for row in mine] == sorted((row.logprob for row in mine), reverse=True)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
async def test_exactly_the_best_n_cold_and_after_an_accept(
    backend: LlamaBackend, plain: PlainDecoder, story: Story
) -> None:
    text = story.text
    session = Session(Document.scratch(text.encode(), RULES))
    session.attach(backend)
    tokens = backend.vocabulary.prefix + backend.vocabulary.encode(text.encode())
    first = await woven(session)
    check(first, alone(plain, backend, tokens, RULES))
    assert first == await woven(session)
    chosen = next(one for one in first if one.finish != "end")
    session.accept(chosen.tail)
    warm = await woven(session)
    check(warm, alone(plain, backend, tokens + chosen.tail, RULES))


async def test_a_loom_opened_again_weaves_the_same(backend: LlamaBackend, tmp_path: Path) -> None:
    session = Session(Document.create(tmp_path / "a.loom", STORIES[1].text.encode()))
    session.attach(backend)
    first = await woven(session)
    session.accept(first[0].tail)
    warm = await woven(session)
    await session.close()
    fresh = await open_llama(BUNDLED, LlamaSettings(threads=1))
    again = Session(Document.open(tmp_path / "a.loom"))
    again.document.save_weave(b"")
    again.attach(fresh)
    cold = await woven(again)
    joint = {row.tail: row.logprob for row in warm}
    assert {row.tail for row in cold} == set(joint)
    for row in cold:
        assert abs(row.logprob - joint[row.tail]) < 0.01
    await again.close()
    await fresh.close()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
async def test_every_starting_story_gives_eight_suggestions_by_default(
    backend: LlamaBackend, story: Story
) -> None:
    session = Session(Document.scratch(story.text.encode()))
    session.attach(backend)
    assert len(await woven(session)) >= 8
