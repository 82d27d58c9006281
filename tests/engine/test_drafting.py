"""Texts that something writes ahead: the same as without, in fewer decodes, in any company."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.config import Config, ModelConfig
from llterm.constraints.spec import Constraint, choices, regex
from llterm.core.bans import Bans
from llterm.core.sampling.sampler_settings import PRESETS, Sampling
from llterm.core.tokens import Tail, text_bytes
from llterm.engine.draft_opener import DraftChoice
from llterm.engine.draw import Drawing, DrawingStart, Sample
from llterm.engine.generation import GeneratedToken, GenerationEnd, GenerationRequest
from llterm.engine.prompt_lookup import RunPlaces
from llterm.engine.scheduler import Scheduler, open_scheduler
from llterm.errors import UsageError
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.generations import generated
from tests.helpers.known_tokens import chain_of
from tests.helpers.polling import until
from tests.helpers.tiny_models import tiny_hybrid, tiny_llama

FREE = Sampling(replace(PRESETS["neutral"], seed=1), "neutral")
STORY = "The forest seemed darker than usual, but that did not bother Elis in the least. "
ROOM = 512
SMALL, SELF, LOOKUP = "fable-q8_0", "fable", "lookup"


@asynccontextmanager
async def drafting(
    backend: LlamaBackend, draft: DraftChoice | str | None, *, tokens: int = 4, parallel: int = 4
) -> AsyncIterator[Scheduler]:
    """Its slots, with what writes ahead; at the end none may be in use."""
    config = Config(models={name: ModelConfig(threads=1) for name in (SMALL, SELF)})
    choice = DraftChoice(draft, tokens, config) if isinstance(draft, str) else draft
    scheduler = await open_scheduler(
        backend, parallel=parallel, keepers=0, context=ROOM, memory=128 << 20, draft=choice
    )
    try:
        yield scheduler
        await until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    finally:
        await scheduler.close()


def prompt_of(backend: LlamaBackend, text: str = STORY) -> Tail:
    return backend.vocabulary.prefix + backend.vocabulary.encode(text.encode())


def sampling(**knobs: object) -> Sampling:
    return replace(FREE, settings=replace(FREE.settings, **knobs))  # type: ignore[arg-type]


async def drawn_plainly(backend: LlamaBackend, request: GenerationRequest) -> Sample:
    """The text that `llterm sample` draws without a draft."""
    story = text_bytes(backend.vocabulary, request.prompt)
    sample = Sample(request.choice, most=request.most)
    chain = chain_of(backend.vocabulary, request.sampling)
    drawing = Drawing(backend, chain, DrawingStart(request.prompt, story), [sample])
    async for _ in drawing.run():
        pass
    return sample


REQUESTS = {
    "plain": FREE,
    "greedy": sampling(temperature=0.0),
    "cut": sampling(top_k=40, min_p=0.05, temperature=1.3),
    "penalties": sampling(repeat_penalty=1.3, frequency_penalty=0.4, penalty_last_n=24),
    "dry and xtc": sampling(dry_multiplier=0.8, xtc_probability=0.5),
    "mirostat": sampling(mirostat=2),
    "bans": replace(FREE, bans=Bans(phrases=("the", "and")), ideal_length=20),
}


@pytest.mark.parametrize("draft", [SMALL, LOOKUP])
async def test_texts_are_those_of_llterm_sample_to_the_token(
    backend: LlamaBackend, draft: str
) -> None:
    prompt = prompt_of(backend, STORY * 2)
    async with drafting(backend, draft) as scheduler:
        for name, how in REQUESTS.items():
            request = GenerationRequest(prompt, how, most=24)
            sample = await drawn_plainly(backend, request)
            tokens, end = await generated(scheduler, request)
            ids = tuple(token.id for token in tokens)
            assert (ids, end.finish) == (sample.tail, sample.finish), name
        assert scheduler.written_ahead[1]


async def test_figures_are_the_same_in_any_company_whatever_writes_ahead(
    backend: LlamaBackend,
) -> None:
    requests = [
        GenerationRequest(prompt_of(backend), FREE, number, 20 + number, top=3)
        for number in range(3)
    ]
    figures: list[list[list[GeneratedToken]]] = []
    for draft, tokens in ((SELF, 4), (SMALL, 1), (LOOKUP, 15)):
        async with drafting(backend, draft, tokens=tokens, parallel=12) as scheduler:
            alone = [(await generated(scheduler, each))[0] for each in requests]
            others = [
                GenerationRequest(prompt_of(backend, f"{n} is a number."), FREE, most=4 + n)
                for n in range(9)
            ]
            among = await asyncio.gather(
                *(generated(scheduler, each) for each in (*requests, *others))
            )
            figures += [alone, [tokens for tokens, _ in among[: len(requests)]]]
    assert all(each == figures[0] for each in figures)


async def test_a_model_that_writes_as_it_draws_saves_four_of_five_decodes(
    backend: LlamaBackend,
) -> None:
    async with drafting(backend, SELF) as scheduler:
        before = scheduler.decodes
        request = GenerationRequest(prompt_of(backend), FREE, most=40, ignore_end=True)
        tokens, end = await generated(scheduler, request)
        assert len(tokens) == 40
        # The prompt, and five tokens a decode; where the figures of its own slots round otherwise,
        # one may be drawn otherwise.
        assert scheduler.decodes - before <= 10
        assert end.proposed - end.accepted <= 4
        unseeded = replace(request, sampling=Sampling(PRESETS["neutral"], "neutral"))
        _, end = await generated(scheduler, unseeded)
        assert end.accepted > 24


CONSTRAINTS: dict[str, Constraint] = {
    "regex": regex(r"( [a-z]+){4}\."),
    "choices": choices([" and the wolf came home.", " and the bear went away."]),
}


@pytest.mark.parametrize("draft", [SMALL, LOOKUP])
@pytest.mark.parametrize("kind", CONSTRAINTS)
async def test_a_constraint_holds_for_what_is_written_ahead(
    backend: LlamaBackend, draft: str, kind: str
) -> None:
    constraint = CONSTRAINTS[kind]
    request = GenerationRequest(prompt_of(backend), FREE, most=40, constraint=constraint)
    async with drafting(backend, None) as scheduler:
        plain, _ = await generated(scheduler, request)
    async with drafting(backend, draft) as scheduler:
        tokens, end = await generated(scheduler, request)
        banned = replace(request, sampling=replace(FREE, bans=Bans(phrases=("wolf",))))
        others, other_end = await generated(scheduler, banned)
    assert [token.id for token in tokens] == [token.id for token in plain]
    assert (end.finish, other_end.finish) == ("end", "end")
    text = text_bytes(backend.vocabulary, [token.id for token in others])
    assert b"wolf" not in text


async def test_a_text_ends_inside_what_was_written_ahead(backend: LlamaBackend) -> None:
    request = GenerationRequest(prompt_of(backend), FREE, most=40, ignore_end=True)
    async with drafting(backend, SELF) as scheduler:
        whole, _ = await generated(scheduler, request)
        ids = [token.id for token in whole]
        for count in range(1, 9):
            short, end = await generated(scheduler, replace(request, most=count))
            assert ([token.id for token in short], end.finish) == (ids[:count], "length")
        for stop in dict.fromkeys(ids[:9]):
            stopped, end = await generated(scheduler, replace(request, stop_ids=frozenset({stop})))
            assert [token.id for token in stopped] == ids[: ids.index(stop) + 1]
            assert end.finish == "stop"
        text = text_bytes(backend.vocabulary, ids).decode("utf-8", "ignore")
        _, end = await generated(scheduler, replace(request, stops=(text[10:14],)))
        assert end.finish == "stop"
        # An end of the text is proposed, drawn, and the last.
        ends = replace(request, ignore_end=False, sampling=sampling(temperature=0.0), most=400)
        _, end = await generated(scheduler, ends)
        assert end.finish in ("end", "length")
        # What was cut off did not stay in a slot.
        again, _ = await generated(scheduler, request)
        assert again == whole


async def test_a_text_may_fill_its_slot(backend: LlamaBackend) -> None:
    prompt = prompt_of(backend, STORY * 40)[: ROOM - 12]
    request = GenerationRequest(prompt, FREE, most=100, ignore_end=True)
    async with drafting(backend, SELF, tokens=15) as scheduler:
        beside = GenerationRequest(prompt_of(backend), FREE, most=40, ignore_end=True)
        (tokens, end), (others, _) = await asyncio.gather(
            generated(scheduler, request), generated(scheduler, beside)
        )
        assert (len(prompt) + len(tokens), end.finish) == (scheduler.room, "length")
        assert len(others) == 40
        assert others == (await generated(scheduler, beside))[0]


async def test_who_is_cancelled_leaves_the_others_and_the_slots_as_they_are(
    backend: LlamaBackend,
) -> None:
    request = GenerationRequest(prompt_of(backend), FREE, most=60, ignore_end=True)
    async with drafting(backend, SMALL) as scheduler:
        whole, _ = await generated(scheduler, request)
        for count in range(1, 12):
            seen: list[GeneratedToken | GenerationEnd] = []
            async with aclosing(scheduler.generate(request)) as news:
                async for item in news:
                    seen.append(item)
                    if len(seen) == count:
                        break
            assert seen == whole[:count]
            other = replace(request, choice=count, most=6)
            assert len((await generated(scheduler, other))[0]) == 6
        assert (await generated(scheduler, request))[0] == whole


async def test_a_draft_that_sees_less_writes_no_further_than_it_sees(
    backend: LlamaBackend,
) -> None:
    config = Config(models={"small": ModelConfig(path=BUNDLED, context=256, threads=1)})
    draft = DraftChoice("small", 4, config)
    prompt = prompt_of(backend, STORY * 40)[:200]
    request = GenerationRequest(prompt, FREE, most=120, ignore_end=True)
    async with drafting(backend, LOOKUP) as scheduler:
        whole, _ = await generated(scheduler, request)
    async with drafting(backend, draft) as scheduler:
        tokens, end = await generated(scheduler, request)
    assert tokens == whole
    assert 20 < end.accepted < 60


async def test_a_draft_that_fails_is_done_without(tmp_path: Path) -> None:
    settings = LlamaSettings(threads=1)
    target = await open_llama(tiny_llama(tmp_path / "target.gguf"), settings)
    broken = tiny_llama(tmp_path / "broken.gguf", scale=math.nan)
    request = GenerationRequest(prompt_of(target), FREE, most=20, ignore_end=True)
    try:
        async with drafting(target, None) as scheduler:
            whole, _ = await generated(scheduler, request)
        async with drafting(target, str(broken)) as scheduler:
            tokens, end = await generated(scheduler, request)
        assert [token.id for token in tokens] == [token.id for token in whole]
        assert end.proposed == 0
    finally:
        await target.close()


async def test_a_draft_with_other_tokens_or_with_states_is_refused(
    backend: LlamaBackend, tmp_path: Path
) -> None:
    other = tiny_llama(tmp_path / "other.gguf")
    with pytest.raises(UsageError, match="other has other tokens than fable"):
        async with drafting(backend, str(other)):
            pass
    with pytest.raises(UsageError, match="scripted cannot write ahead"):
        async with drafting(backend, "scripted"):
            pass
    hybrid = await open_llama(tiny_hybrid(tmp_path / "hybrid.gguf"), LlamaSettings(threads=1))
    try:
        with pytest.raises(UsageError, match="hybrid goes with no draft"):
            async with drafting(hybrid, LOOKUP, parallel=2):
                pass
    finally:
        await hybrid.close()


def test_what_followed_the_same_words_last_is_looked_up() -> None:
    places = RunPlaces()
    text: Tail = ()
    for id in (1, 2, 3, 4, 9, 1, 2, 3):
        text += (id,)
        following = places.following(text)
    assert following == (4, 9, 1, 2, 3)
    assert places.following((*text, 7)) == ()
    assert places.following((*text, 7, 2, 3)) == (7, 2, 3)
