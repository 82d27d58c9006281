"""Many requests on the bundled model at once: what each gets, what it takes, who is let go."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from itertools import dropwhile
from pathlib import Path

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.constraints.spec import choices, regex
from llterm.core.sampling.ladder import Ladder
from llterm.core.sampling.sampler_settings import PRESETS, Sampling
from llterm.core.tokens import Tail, text_bytes
from llterm.engine.draw import Drawing, DrawingStart, Sample
from llterm.engine.generation import Busy, GeneratedToken, GenerationRequest
from llterm.engine.scheduler import Scheduler, open_scheduler
from llterm.engine.slot_plan import BLOCK
from llterm.errors import LltermError, UsageError
from tests.helpers.drawn_apart import assert_parted, chances_at
from tests.helpers.generations import generated
from tests.helpers.known_tokens import chain_of
from tests.helpers.plain_decoder import counted
from tests.helpers.polling import until
from tests.helpers.tiny_models import ARCHITECTURES

FREE = Sampling(replace(PRESETS["neutral"], seed=1), "neutral")
STORY = "The forest seemed darker than usual, but that did not bother Elis in the least. "
MEMORY = 128 << 20


@asynccontextmanager
async def scheduling(
    backend: LlamaBackend, *, parallel: int = 8, keepers: int = 2, queue: int = 1024
) -> AsyncIterator[Scheduler]:
    """Its slots; at the end none may be in use."""
    scheduler = await open_scheduler(
        backend, parallel=parallel, keepers=keepers, context=512, memory=MEMORY, queue=queue
    )
    try:
        yield scheduler
        await until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    finally:
        await scheduler.close()


def tokens_of(backend: LlamaBackend, text: str) -> Tail:
    return backend.vocabulary.prefix + backend.vocabulary.encode(text.encode())


async def text_of(scheduler: Scheduler, request: GenerationRequest) -> str:
    tokens, _ = await generated(scheduler, request)
    return text_bytes(scheduler.vocabulary, [token.id for token in tokens]).decode(
        "utf-8", "replace"
    )


async def test_a_text_is_the_same_alone_among_others_and_by_llterm_sample(
    backend: LlamaBackend,
) -> None:
    prompt = tokens_of(backend, STORY)
    drawing = Drawing(
        backend,
        chain_of(backend.vocabulary, FREE),
        DrawingStart(prompt, STORY.encode()),
        [Sample(number, most=16) for number in range(3)],
    )
    ladders: dict[int, list[Ladder]] = {number: [] for number in range(3)}
    async for step in drawing.run():
        ladders[step.sample.number].append(step.choice.ladder)
    requests = [GenerationRequest(prompt, FREE, number, 16) for number in range(3)]
    async with scheduling(backend, parallel=20) as scheduler:
        alone = [await generated(scheduler, request) for request in requests]
        others = [
            asyncio.create_task(
                generated(
                    scheduler,
                    GenerationRequest(
                        tokens_of(backend, f"{n} is a number. {STORY[n:]}"), FREE, most=4 + n
                    ),
                )
            )
            for n in range(16)
        ]
        among = await asyncio.gather(*(generated(scheduler, request) for request in requests))
        await asyncio.gather(*others)
        for request, sample, (tokens, end) in zip(requests, drawing.samples, alone, strict=True):
            ids = tuple(token.id for token in tokens)
            pairs = enumerate(zip(ids, sample.tail, strict=False))
            parted = next((place for place, (here, there) in pairs if here != there), None)
            if parted is None:
                assert (ids, end.finish) == (sample.tail, sample.finish)
                continue
            ladder = ladders[sample.number][parted]
            kept = zip(ladder.ids.tolist(), ladder.p_final.tolist(), strict=True)
            here = ids[parted], await chances_at(scheduler, request, parted)
            there = sample.tail[parted], {id: p for id, p in kept if p}
            assert_parted(request, parted, here, there)
    # To the last digit, not only the text.
    assert [tokens for tokens, _ in among] == [tokens for tokens, _ in alone]


async def test_a_prompt_of_many_cold_siblings_is_evaluated_once(backend: LlamaBackend) -> None:
    shared = tokens_of(backend, STORY * 8)
    async with scheduling(backend, parallel=64) as scheduler:
        before = scheduler.tokens
        ends = await asyncio.gather(
            *(
                generated(
                    scheduler,
                    GenerationRequest(
                        shared + tokens_of(backend, f"Number {number}: a"), FREE, most=2
                    ),
                )
                for number in range(64)
            )
        )
        own = len(tokens_of(backend, "Number 10: a"))
        rows = 2 * 64
        assert scheduler.tokens - before <= len(shared) + 64 * own + rows
    assert sum(end.cached for _, end in ends) >= 63 * (len(shared) - 1)


@pytest.mark.parametrize("finished", [1, 8, 32])
async def test_those_who_ended_cost_the_others_one_graph_at_the_most(
    backend: LlamaBackend, finished: int
) -> None:
    prompt = tokens_of(backend, STORY)
    step = 64 // finished
    with counted() as seen:
        async with scheduling(backend, parallel=64) as scheduler:
            await asyncio.gather(
                *(
                    generated(
                        scheduler,
                        GenerationRequest(
                            prompt, FREE, n, 6 if n % step == step // 2 else 14, ignore_end=True
                        ),
                    )
                    for n in range(64)
                )
            )
    # Not all need begin with the same step, so some may end later than others.
    assert max(seen.runs) <= 2
    assert 64 - finished in seen.sizes


async def test_a_long_prompt_goes_in_between_the_tokens_of_those_who_run(
    backend: LlamaBackend,
) -> None:
    """However long it takes: between two tokens of theirs there is one part of it, no more."""
    streams = 8
    scheduler = await open_scheduler(backend, parallel=streams + 1, context=2048, memory=1 << 30)
    try:
        with counted() as seen:
            running = [
                asyncio.create_task(
                    generated(
                        scheduler,
                        GenerationRequest(
                            tokens_of(backend, f"{n} {STORY}"), FREE, n, 400, ignore_end=True
                        ),
                    )
                )
                for n in range(streams)
            ]
            await until(lambda: seen.sizes.count(streams) > 2)
            first = len(seen.sizes)
            long = tokens_of(backend, STORY * 120)[:2000]
            await generated(scheduler, GenerationRequest(long, FREE, most=1))
            sizes = seen.sizes[first:]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        sizes = list(dropwhile(lambda size: size == streams, sizes))
        parts, rows = sizes[::2], sizes[1::2]
        assert sum(parts) >= 1980
        assert max(parts) <= BLOCK + 1
        assert set(rows) <= {streams, streams + 1}
    finally:
        await scheduler.close()


async def test_who_gives_up_a_slot_for_another_key_goes_on_with_the_same_text(
    backend: LlamaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replayed from its tokens, its draws counted on."""
    monkeypatch.setattr("llterm.engine.slot_plan.UNSERVED", 0.0)
    prompts = [tokens_of(backend, f"{name}. {STORY}") for name in ("Ann", "Ben", "Cid")]
    requests = [
        GenerationRequest(prompt, FREE, n, 24, ignore_end=True, whose="aab"[n])
        for n, prompt in enumerate(prompts)
    ]
    async with scheduling(backend, parallel=2, keepers=1) as scheduler:
        alone = [await generated(scheduler, request) for request in requests]
    async with scheduling(backend, parallel=2, keepers=1) as scheduler:
        ended: list[int] = []

        async def told(number: int) -> list[GeneratedToken]:
            tokens, _ = await generated(scheduler, requests[number])
            ended.append(number)
            return tokens

        tasks = [asyncio.create_task(told(number)) for number in (0, 1)]
        await until(lambda: scheduler.running == 2)
        among = await asyncio.gather(*tasks, told(2))
    assert among == [tokens for tokens, _ in alone]
    # The younger one of the key that had both slots gave its own up.
    assert ended == [0, 2, 1]


async def test_choices_of_a_prompt_share_a_decode_a_token(backend: LlamaBackend) -> None:
    prompt = tokens_of(backend, STORY)
    async with scheduling(backend, parallel=16) as scheduler:
        before = scheduler.decodes, scheduler.tokens
        await asyncio.gather(
            *(
                generated(scheduler, GenerationRequest(prompt, FREE, number, 8, ignore_end=True))
                for number in range(16)
            )
        )
        assert scheduler.tokens - before[1] == len(prompt) - 1 + 16 * 8
        # One of the prompt, then 8 for all, and few more for those that came a step later.
        assert scheduler.decodes - before[0] <= 14


async def test_stops_ends_and_least_tokens(backend: LlamaBackend) -> None:
    prompt = tokens_of(backend, STORY)
    base = GenerationRequest(prompt, FREE, most=30, ignore_end=True)
    async with scheduling(backend) as scheduler:
        whole, end = await generated(scheduler, base)
        assert (len(whole), end.finish) == (30, "length")
        text = text_bytes(backend.vocabulary, [token.id for token in whole])
        stop = text[5:9].decode()
        stopped, end = await generated(scheduler, replace(base, stops=(stop,)))
        assert end.finish == "stop"
        assert stopped == whole[: len(stopped)]
        held = text_bytes(backend.vocabulary, [token.id for token in stopped])
        assert stop.encode() in held
        assert stop.encode() not in held[: -len(backend.vocabulary.token(stopped[-1].id).data)]
        by_id, end = await generated(scheduler, replace(base, stop_ids=frozenset({whole[3].id})))
        assert end.finish == "stop"
        assert by_id == whole[: len(by_id)]
        later, _ = await generated(scheduler, replace(base, stops=(stop,), least=20))
        assert len(later) > len(stopped)
        ends = {n for n in range(backend.vocabulary.size) if backend.vocabulary.token(n).end}
        assert not ends & {token.id for token in whole}
        nothing, end = await generated(scheduler, replace(base, most=0))
        assert (nothing, end.finish) == ([], "length")


async def test_the_best_candidates_are_the_raw_models(backend: LlamaBackend) -> None:
    async with scheduling(backend) as scheduler:
        request = GenerationRequest(tokens_of(backend, STORY), FREE, most=3, top=5)
        for token in (await generated(scheduler, request))[0]:
            logprobs = [logprob for _, logprob in token.top]
            assert len(logprobs) == 5
            assert logprobs == sorted(logprobs, reverse=True)
            assert token.logprob <= logprobs[0]


async def test_a_constraint_holds_for_its_own_request_alone(backend: LlamaBackend) -> None:
    prompt = tokens_of(backend, STORY)
    plain = GenerationRequest(prompt, FREE, most=12)
    async with scheduling(backend) as scheduler:
        alone = await text_of(scheduler, plain)
        texts = await asyncio.gather(
            text_of(scheduler, plain),
            text_of(scheduler, replace(plain, constraint=choices([" yes", " no"]))),
            text_of(scheduler, replace(plain, constraint=regex("[0-9]{4}"))),
        )
        assert texts[0] == alone
        assert texts[1] in (" yes", " no")
        assert len(texts[2]) == 4
        assert texts[2].isdigit()
        with pytest.raises(UsageError):
            await generated(scheduler, replace(plain, constraint=regex("(")))


async def test_who_goes_is_let_go_at_once_and_the_others_go_on(backend: LlamaBackend) -> None:
    prompt = tokens_of(backend, STORY)
    async with scheduling(backend) as scheduler:
        request = GenerationRequest(prompt, FREE, 3, 16, ignore_end=True)
        alone, _ = await generated(scheduler, request)
        staying = asyncio.create_task(generated(scheduler, request))
        async with aclosing(scheduler.generate(replace(request, choice=4, most=400))) as going:
            async for _ in going:
                break
        assert (await staying)[0] == alone
        evaluated = scheduler.tokens
        # Nothing is drawn for nobody.
        assert len((await generated(scheduler, replace(request, most=1)))[0]) == 1
        assert scheduler.tokens - evaluated < 20


@pytest.mark.parametrize("company", [0, 1])
async def test_who_has_gone_is_evaluated_for_one_step_more_at_most(
    backend: LlamaBackend, company: int
) -> None:
    request = GenerationRequest(tokens_of(backend, STORY), FREE, most=300, ignore_end=True)
    async with scheduling(backend) as scheduler:
        staying = [asyncio.create_task(generated(scheduler, request)) for _ in range(company)]
        async with aclosing(scheduler.generate(replace(request, choice=1))) as going:
            await anext(going)
            await until(lambda: scheduler.running == company + 1)
        # In this order: a step in between is counted for too few.
        decodes, tokens = scheduler.decodes, scheduler.tokens
        await asyncio.gather(*staying)
        await until(lambda: not scheduler.running)
        decodes, tokens = scheduler.decodes - decodes, scheduler.tokens - tokens
        # The step that was under way may have been counted as a decode already.
        assert tokens - decodes * company <= 1 + company


async def test_a_prompt_that_is_given_up_in_the_middle_leaves_no_trace(
    backend: LlamaBackend,
) -> None:
    request = GenerationRequest(tokens_of(backend, STORY), FREE, most=8)
    async with scheduling(backend) as scheduler:
        before, _ = await generated(scheduler, request)
        for _ in range(3):
            long = GenerationRequest(tokens_of(backend, STORY * 16), FREE, most=60)
            going = asyncio.create_task(generated(scheduler, long))
            await until(lambda: scheduler.running)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
        after, _ = await generated(scheduler, request)
        assert after == before


async def test_a_full_queue_answers_busy(backend: LlamaBackend) -> None:
    prompt = tokens_of(backend, STORY)
    async with scheduling(backend, parallel=1, keepers=0, queue=2) as scheduler:
        requests = [GenerationRequest(prompt, FREE, n, 4) for n in range(6)]
        results = await asyncio.gather(
            *(generated(scheduler, request) for request in requests), return_exceptions=True
        )
        refused = [each for each in results if isinstance(each, Busy)]
        assert refused
        assert len(refused) < len(results)
        assert all(isinstance(each, Busy | tuple) for each in results)
        assert len((await generated(scheduler, requests[0]))[0]) == 4


async def test_what_cannot_be_asked_for_is_refused_by_name(backend: LlamaBackend) -> None:
    async with scheduling(backend) as scheduler:
        for prompt, word in [
            ((), "no text"),
            ((1,) * 600, "too long"),
            ((1, backend.vocabulary.size), "no token"),
            ((1, -1), "no token"),
        ]:
            with pytest.raises(UsageError, match=word) as refused:
                await generated(scheduler, GenerationRequest(prompt, FREE))
            assert refused.value.hint
        # What is drawn ends where the slot is full.
        full = GenerationRequest((1,) * 500, FREE, most=100, ignore_end=True)
        tokens, end = await generated(scheduler, full)
        assert (len(tokens), end.finish) == (12, "length")


async def test_a_slot_has_room_for_the_tokens_that_are_asked_for_and_no_more(
    backend: LlamaBackend,
) -> None:
    scheduler = await open_scheduler(backend, parallel=1, context=100, memory=MEMORY)
    try:
        tokens, end = await generated(
            scheduler, GenerationRequest((1,) * 90, FREE, most=100, ignore_end=True)
        )
        assert (scheduler.room, len(tokens), end.finish) == (100, 10, "length")
        with pytest.raises(UsageError, match="too long"):
            await generated(scheduler, GenerationRequest((1,) * 100, FREE))
    finally:
        await scheduler.close()


async def test_closing_tells_who_is_being_drawn_for(backend: LlamaBackend) -> None:
    scheduler = await open_scheduler(backend, parallel=2, context=512, memory=MEMORY)
    news = scheduler.generate(GenerationRequest(tokens_of(backend, STORY), FREE, most=400))
    async with aclosing(news):
        await anext(news)
        await scheduler.close()
        with pytest.raises(LltermError) as closed:
            async for _ in news:
                pass
    assert closed.value.hint
    with pytest.raises(LltermError):
        await generated(scheduler, GenerationRequest(tokens_of(backend, STORY), FREE))


async def test_more_slots_than_a_model_has_states_are_refused_with_the_number_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llterm.backends.llamacpp.loader.STATE_BUDGET", 1 << 19)
    path = ARCHITECTURES["recurrent"](tmp_path / "model.gguf")
    backend = await open_llama(path, LlamaSettings(threads=1))
    try:
        with pytest.raises(UsageError, match="cannot have 66 slots") as refused:
            await open_scheduler(backend, parallel=64, keepers=2, context=512, memory=MEMORY)
        (most,) = re.findall(r"--parallel to (\d+)", refused.value.hint)
        async with scheduling(backend, parallel=int(most)) as scheduler:
            prompt = tokens_of(backend, STORY)
            assert len((await generated(scheduler, GenerationRequest(prompt, FREE, most=2)))[0])
    finally:
        await backend.close()


@pytest.mark.parametrize("architecture", ["full", "sliding", "recurrent", "hybrid"])
async def test_every_kind_of_model_draws_the_text_of_llterm_sample(
    tmp_path: Path, architecture: str
) -> None:
    path = ARCHITECTURES[architecture](tmp_path / "model.gguf")
    backend = await open_llama(path, LlamaSettings(threads=1))
    prompt = tokens_of(backend, "The fox and the cat went in the sea at")
    try:
        drawing = Drawing(
            backend,
            chain_of(backend.vocabulary, FREE),
            DrawingStart(prompt, b""),
            [Sample(number, most=12) for number in range(4)],
        )
        async for _ in drawing.run():
            pass
        async with scheduling(backend, parallel=3, keepers=1) as scheduler:
            texts = await asyncio.gather(
                *(
                    generated(scheduler, GenerationRequest(prompt, FREE, number, 12))
                    for number in range(4)
                )
            )
        for sample, (tokens, end) in zip(drawing.samples, texts, strict=True):
            assert (tuple(token.id for token in tokens), end.finish) == (sample.tail, sample.finish)
    finally:
        await backend.close()


@pytest.mark.parametrize("architecture", ["full", "sliding", "recurrent", "hybrid"])
async def test_every_kind_of_model_draws_the_same_alone_and_among_others(
    tmp_path: Path, architecture: str
) -> None:
    """Those that hold states, which cannot be cut short, too."""
    path = ARCHITECTURES[architecture](tmp_path / "model.gguf")
    backend = await open_llama(path, LlamaSettings(threads=1))
    try:
        async with scheduling(backend, parallel=4, keepers=1) as scheduler:
            prompt = tokens_of(backend, "The fox and the cat went in the sea at")
            other = tokens_of(backend, "The fox and the bear")
            requests = [GenerationRequest(prompt, FREE, n, 12, ignore_end=True) for n in range(3)]
            alone = [await generated(scheduler, request) for request in requests]
            others = [
                asyncio.create_task(generated(scheduler, GenerationRequest(other, FREE, n, 5)))
                for n in range(6)
            ]
            among = await asyncio.gather(*(generated(scheduler, each) for each in requests))
            await asyncio.gather(*others)
            for (lone, _), (near, _) in zip(alone, among, strict=True):
                assert [token.id for token in lone] == [token.id for token in near]
                apart = np.subtract(
                    [token.logprob for token in lone], [token.logprob for token in near]
                )
                assert np.abs(apart).max() < 0.01
    finally:
        await backend.close()
