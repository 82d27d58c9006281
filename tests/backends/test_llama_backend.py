"""llama.cpp in process: equal to decoding every prefix alone, and nothing evaluated twice."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.registry import BUNDLED, MODELS
from llterm.core.distribution import Mask
from llterm.core.query import Cost, Fact, Failed, Query, TokenScore
from llterm.core.tokens import Anchor, Tail
from llterm.core.tokens import Path as TokenPath
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.weave import drive
from llterm.errors import ModelError
from tests.helpers.plain_decoder import PlainDecoder, counted

TEXT = b"The fox and the cat went in the sea at"
RULES = WeaveSettings(depth=5, cutoff=0.002, split_limit=3, beams=12, auto_stop=False, heal=False)
ALL = ["full", "sliding", "recurrent", "hybrid", "bundled"]
WHOLE_STATES = {"recurrent", "hybrid"}


async def ask(backend: LlamaBackend, queries: Sequence[Query]) -> dict[Tail, Fact]:
    facts: dict[Tail, Fact] = {}
    async for answer in backend.ask(queries):
        assert isinstance(answer, Fact), answer
        facts[answer.path.tokens] = answer
    return facts


async def weave(backend: LlamaBackend, text: bytes = TEXT, rules: WeaveSettings = RULES) -> Weave:
    tokens = backend.vocabulary.prefix + backend.vocabulary.encode(text)
    woven = Weave(backend.vocabulary, Anchor(tokens), rules)
    return await run(woven, backend)


async def run(woven: Weave, backend: LlamaBackend) -> Weave:
    async for _ in drive(woven, backend):
        pass
    return woven


def check_alone(woven: Weave, plain: PlainDecoder) -> None:
    """Every distribution of a weave equals the one decoded alone; compared as ln p."""
    apart: list[float] = []
    logprobs: dict[tuple[Tail, int], float] = {}
    for tail, distribution in woven.facts.items():
        alone = plain.logprobs(woven.anchor.tokens + tail)
        apart.append(float(np.abs(alone[distribution.ids] - distribution.logprobs).max()))
        logprobs.update(((tail, id), float(alone[id])) for id in distribution.ids.tolist())
    assert max(apart) < 0.05
    for row in woven.view().suggestions:
        joint = sum(logprobs[row.tail[:n], step.id] for n, step in enumerate(row.steps))
        assert abs(joint - row.logprob) < 0.01, "within 1 % of p"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("sequences", [256, 24, 12])
async def test_equal_to_decoding_every_prefix_alone(
    models: dict[str, Path], name: str, sequences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llterm.backends.llamacpp.loader.SEQUENCES", sequences)
    backend = await open_llama(models[name], LlamaSettings(threads=1))
    plain = PlainDecoder(models[name])
    try:
        woven = await weave(backend)
        assert woven.done
        assert len(woven.facts) > 20
        check_alone(woven, plain)
        leaf = woven.view().suggestions[3].tail
        after = woven.at(leaf, Anchor(woven.anchor.tokens + leaf))
        await run(after, backend)
        check_alone(after, plain)
        back = await weave(backend, TEXT[:-3])
        check_alone(back, plain)
    finally:
        plain.close()
        await backend.close()


async def test_a_quantised_cache_changes_little(models: dict[str, Path]) -> None:
    backend = await open_llama(models["bundled"], LlamaSettings(threads=1, kv_type="q8_0"))
    plain = PlainDecoder(models["bundled"])
    try:
        woven = await weave(backend)
        assert woven.done
        for tail, distribution in woven.facts.items():
            alone = np.exp(plain.logprobs(woven.anchor.tokens + tail)[distribution.ids])
            assert np.abs(np.exp(distribution.logprobs) - alone).max() < 0.05
    finally:
        plain.close()
        await backend.close()


async def test_heads_that_a_quantised_cache_does_not_fit(models: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="q8_0 cache") as raised:
        await open_llama(models["full"], LlamaSettings(threads=1, kv_type="q8_0"))
    assert "kv_type" in raised.value.hint


@pytest.mark.parametrize("name", ALL)
async def test_costs_are_what_llama_decode_was_given(models: dict[str, Path], name: str) -> None:
    backend = await open_llama(models[name], LlamaSettings(threads=1))
    with counted() as seen:
        vocabulary = backend.vocabulary
        anchor = Anchor(vocabulary.prefix + vocabulary.encode(TEXT))
        woven = Weave(vocabulary, anchor, RULES)
        total = sum([cost async for cost in drive(woven, backend)], Cost())
        await backend.close()
    assert total.tokens == seen.tokens == backend.spent.tokens
    assert total.decodes == len(seen.sizes) == backend.spent.decodes
    assert total.prompt_tokens == len(anchor.tokens)


@pytest.mark.parametrize(("size", "context"), [(100, 512), (4000, 6000)])
async def test_after_an_accept_two_story_tokens_at_most(
    tmp_path: Path, size: int, context: int
) -> None:
    from tests.helpers.tiny_models import tiny_llama

    path = tiny_llama(tmp_path / "long.gguf", context=context)
    with counted() as seen:
        backend = await open_llama(path, LlamaSettings(threads=1))
        tokens = backend.vocabulary.encode(b"the cat and a bea in " * size)[:size]
        rules = replace(RULES, beams=5, depth=4)
        woven = await run(Weave(backend.vocabulary, Anchor(tokens), rules), backend)
        for suggestion in woven.view().suggestions:
            after = woven.at(suggestion.tail, Anchor(woven.anchor.tokens + suggestion.tail))
            first = after.wants(64)
            assert [query.path.tail for query in first] == [()]
            seen.sizes.clear()
            await ask(backend, first)
            assert seen.tokens <= 2
        seen.sizes.clear()
        await ask(backend, [Query(TokenPath(Anchor(tokens[:-1])))])
        assert seen.tokens <= 2, "a token deleted at the end"
        seen.sizes.clear()
        await ask(backend, [Query(TokenPath(Anchor((*tokens[:-1], 5))))])
        assert seen.tokens <= 2, "a token typed at the end"
        await backend.close()


async def test_the_same_twice_and_in_any_company(models: dict[str, Path]) -> None:
    """A probability hardly depends on what it is asked together with."""
    backend = await open_llama(models["bundled"], LlamaSettings(threads=1))
    woven = await weave(backend)
    fresh = await open_llama(models["bundled"], LlamaSettings(threads=1))
    again = await weave(fresh)
    assert [s.tail for s in woven.view().suggestions] == [s.tail for s in again.view().suggestions]
    alone = {}
    for tail in list(woven.facts)[:20]:
        query = Query(TokenPath(woven.anchor, tail))
        alone.update(await ask(fresh, [query]))
    for tokens, fact in alone.items():
        together = woven.facts[tokens[len(woven.anchor.tokens) :]]
        ranked = dict(zip(together.ids.tolist(), together.logprobs.tolist(), strict=True))
        for id, logprob in zip(
            fact.distribution.ids.tolist(), fact.distribution.logprobs.tolist(), strict=True
        ):
            assert abs(ranked.get(id, logprob) - logprob) < 0.01
    await fresh.close()
    await backend.close()


async def test_masks_keep_raw_probabilities_and_list_the_allowed_ones(
    models: dict[str, Path],
) -> None:
    backend = await open_llama(models["full"])
    size = backend.vocabulary.size
    allowed = np.zeros(size, dtype=np.bool_)
    allowed[[3, 5, 250]] = True
    path = TokenPath(Anchor((0, 40, 41)))
    fact = (await ask(backend, [Query(path, keep=2, mask=Mask(allowed), full=True)]))[path.tokens]
    distribution = fact.distribution
    assert distribution.full is not None
    p = np.exp(distribution.full.astype(np.float64))
    assert math.isclose(p.sum(), 1.0, rel_tol=1e-4)
    assert math.isclose(distribution.permitted, p[allowed].sum(), rel_tol=1e-4)
    top = set(np.argsort(-p)[:2].tolist())
    best = set(sorted((3, 5, 250), key=lambda id: -p[id])[:2])
    assert set(distribution.ids.tolist()) == top | best
    assert (np.diff(distribution.logprobs) <= 0).all()
    assert math.isclose(distribution.rest, 1 - p[distribution.ids].sum(), abs_tol=1e-5)
    assert math.isclose(distribution.entropy[0], -(p * np.log2(p)).sum(), rel_tol=1e-3)
    await backend.close()


@pytest.mark.parametrize("name", ALL)
async def test_scores_equal_decoding_alone(models: dict[str, Path], name: str) -> None:
    backend = await open_llama(models[name], LlamaSettings(threads=1))
    plain = PlainDecoder(models[name])
    tokens = backend.vocabulary.prefix + backend.vocabulary.encode(TEXT * 4)
    scored = [score async for score in backend.score(tokens, keep=3)]
    assert [score.index for score in scored] == list(range(1, len(tokens)))
    for score in scored:
        alone = plain.logprobs(tokens[: score.index])
        assert score.id == tokens[score.index]
        assert abs(math.exp(score.logprob) - math.exp(alone[score.id])) < 2e-3
        better = int((alone > alone[score.id] + 0.01).sum())
        as_good = int((alone > alone[score.id] - 0.01).sum())
        assert better < score.rank <= as_good
        assert len(score.distribution.ids) == 3
    plain.close()
    await backend.close()


async def test_the_smallest_batch_reads_what_a_large_one_does(models: dict[str, Path]) -> None:
    """To the last digit: a long story, a text scored beside it, and a long one in its place."""
    figures = []
    for batch in (64, 512):
        backend = await open_llama(models["bundled"], LlamaSettings(threads=1, batch=batch))
        try:
            tokens = backend.vocabulary.prefix + backend.vocabulary.encode((TEXT + b". ") * 60)
            assert len(tokens) > 620
            story = TokenPath(Anchor(tokens[:300]))
            fact = (await ask(backend, [Query(story, keep=8)]))[story.tokens]
            logprobs = fact.distribution.logprobs.tolist()
            for size in (400, 620):
                scores = backend.score(tokens[:size], 100 if size == 620 else 200)
                logprobs += [score.logprob async for score in scores]
            figures.append(logprobs)
        finally:
            await backend.close()
    assert figures[0] == figures[1]


@pytest.mark.parametrize("name", ["fable", "fable-q8_0"])
async def test_a_place_alone_is_what_it_is_among_others(name: str) -> None:
    """But for the rounding of a float32."""
    backend = await open_llama(MODELS / BUNDLED[name], LlamaSettings(threads=1))
    try:
        tokens = backend.vocabulary.prefix + backend.vocabulary.encode(TEXT * 8)
        rows = [row async for part in backend.rows(tokens, aside=False) for row in part.logits]
        for count in range(30, len(tokens), 7):
            path = TokenPath(Anchor(tokens[:count]))
            alone = (await ask(backend, [Query(path, full=True)]))[path.tokens].distribution.full
            assert alone is not None
            among = rows[count - 1] - np.logaddexp.reduce(rows[count - 1].astype(np.float64))
            likely = among > -7
            assert np.abs(alone - among)[likely].max() < 2e-6
    finally:
        await backend.close()


@pytest.mark.parametrize("name", ALL)
async def test_a_text_in_place_of_another_reads_as_in_a_fresh_model(
    models: dict[str, Path], name: str
) -> None:
    """To the last digit, also where the memory of the one before is not zeroed."""
    figures = []
    for used in (False, True):
        backend = await open_llama(models[name], LlamaSettings(threads=1))
        try:
            text = backend.vocabulary.encode(TEXT * 4)
            if used:
                async for _ in backend.score_columns(text[::-1] * 4, aside=False):
                    pass
            parts = [part async for part in backend.score_columns(text, aside=False)]
            figures.append([score.logprob for part in parts for score in part.scores()])
        finally:
            await backend.close()
    assert figures[0] == figures[1]


async def test_columns_are_the_scores_whether_aside_or_in_the_storys_place(
    models: dict[str, Path],
) -> None:
    backend = await open_llama(models["bundled"], LlamaSettings(threads=1))
    try:
        text = backend.vocabulary.prefix + backend.vocabulary.encode(TEXT * 20)
        scores = [score async for score in backend.score(text, 3, 4)]
        for aside in (True, False):
            columns = backend.score_columns(text, 3, 4, aside=aside)
            parts = [part async for part in columns]
            assert len(parts) < len(scores) == sum(map(len, parts))
            assert sum((part.cost for part in parts), Cost()).tokens >= len(scores)
            for score, other in zip(
                scores, (one for part in parts for one in part.scores()), strict=True
            ):
                assert (score.index, score.id) == (other.index, other.id)
                assert (score.logprob, score.rank) == (other.logprob, other.rank)
                mine, theirs = score.distribution, other.distribution
                assert mine.ids.tolist() == theirs.ids.tolist()
                assert (mine.rest, mine.entropy) == (theirs.rest, theirs.entropy)
                assert mine.varentropy == theirs.varentropy
    finally:
        await backend.close()


@pytest.mark.parametrize("name", ALL)
async def test_scoring_a_part_leaves_the_weave_where_it_is(
    models: dict[str, Path], name: str
) -> None:
    backend = await open_llama(models[name], LlamaSettings(threads=1))
    woven = await weave(backend)
    tokens = woven.anchor.tokens
    whole = [score async for score in backend.score(tokens)]
    await weave(backend)
    parts: list[TokenScore] = []
    with counted() as seen:
        for stop in range(len(tokens), 1, -7):
            start = max(stop - 7, 1)
            parts = [score async for score in backend.score(tokens[:stop], start)] + parts
    assert [score.index for score in parts] == [score.index for score in whole]
    for first, other in zip(parts, whole, strict=True):
        assert abs(first.logprob - other.logprob) < 0.01
    if name not in WHOLE_STATES:
        assert seen.tokens == len(parts), "each token once, nothing before it again"
        with counted() as seen:
            tail = woven.view().suggestions[0].tail
            await ask(backend, [Query(TokenPath(woven.anchor, tail))])
        assert seen.tokens <= 2, "the suggestions are still in the cache"
    await backend.close()


async def test_a_path_past_the_context_is_refused_and_the_rest_answered(
    models: dict[str, Path],
) -> None:
    backend = await open_llama(models["full"], LlamaSettings(context=64))
    long, short = TokenPath(Anchor((5,) * 65)), TokenPath(Anchor((5,) * 64))
    answers = [answer async for answer in backend.ask([Query(long), Query(short)])]
    failed = [answer for answer in answers if isinstance(answer, Failed)]
    assert [answer.path for answer in failed] == [long]
    assert "context is full" in failed[0].error.title
    assert len(answers) == 2
    await backend.close()


async def test_more_beams_than_cells_frees_old_ones(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llterm.backends.llamacpp.loader.RESERVE", 192)
    backend = await open_llama(models["full"], LlamaSettings(context=64, threads=1))
    plain = PlainDecoder(models["full"])
    rules = replace(RULES, depth=6, cutoff=0.02, split_limit=4, beams=400)
    woven = await weave(backend, TEXT[:12], rules)
    assert len(woven.facts) > 300
    check_alone(woven, plain)
    plain.close()
    await backend.close()


@pytest.mark.parametrize("name", ["full", "recurrent", "hybrid"])
async def test_stopping_inside_a_long_prompt_leaves_it_sound(
    models: dict[str, Path], name: str
) -> None:
    backend = await open_llama(models[name], LlamaSettings(context=480, threads=1, batch=64))
    plain = PlainDecoder(models[name])
    tokens = tuple(np.random.default_rng(0).integers(1, 200, 460).tolist())
    for pause in range(6):
        generator = backend.ask([Query(TokenPath(Anchor(tokens)))])
        task = asyncio.ensure_future(anext(generator))
        for _ in range(pause * 40):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await generator.aclose()
    facts = await ask(backend, [Query(TokenPath(Anchor(tokens)))])
    found = facts[tokens].distribution
    assert np.abs(plain.logprobs(tokens)[found.ids] - found.logprobs).max() < 0.01
    plain.close()
    await backend.close()


async def test_closing_while_it_works_and_closing_twice(models: dict[str, Path]) -> None:
    backend = await open_llama(models["bundled"])
    task = asyncio.create_task(weave(backend))
    await asyncio.sleep(0)
    await backend.close()
    await backend.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
