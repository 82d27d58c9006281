"""Texts with a draft and without, on the same file: tokens a second, CPU a token, what is accepted.

The sides take turns. Each draws the same texts with the same seeds; one decode thread. What writes
ahead: the text itself (`lookup`), the file quantised to q2_K, and the file itself, which shows what
acceptance alone could bring, for it costs as much as the model. Texts are drawn as `llterm sample`
draws them, at temperature 0, and at 0 after a prompt that the model goes on repeating.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.rows import MODEL, Row
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.llamacpp.quantize import quantize
from llterm.config import Config, ModelConfig
from llterm.core.sampling.sampler_settings import DEFAULT_PRESET, PRESETS, Sampling
from llterm.core.tokens import Tail
from llterm.engine.draft_opener import DraftChoice
from llterm.engine.generation import GenerationEnd, GenerationRequest
from llterm.engine.scheduler import Scheduler, open_scheduler

THREADS = 1
STREAMS = (1, 2, 4, 8, 16)
TOKENS = 96
CELLS = 512
ROUNDS = {1: 5, 2: 3, 4: 3, 8: 2, 16: 2}
STORY = "The forest seemed darker than usual, but that did not bother Elis in the least. "
LIST = "the red fox, the grey wolf, the brown bear and the white owl; "
_FREE = replace(PRESETS[DEFAULT_PRESET], seed=1)
KINDS = {
    "a story": (STORY, _FREE),
    "a story at 0": (STORY, replace(_FREE, temperature=0.0)),
    "a text again at 0": (LIST * 6, replace(_FREE, temperature=0.0)),
}


@dataclass(slots=True)
class _Side:
    seconds: float = 0.0
    cpu: float = 0.0
    tokens: int = 0
    proposed: int = 0
    accepted: int = 0


def measure(files: Sequence[Path] = ()) -> list[Row]:
    """On the bundled model, or on those files."""
    return [row for file in files or (MODEL,) for row in asyncio.run(_measure(file))]


async def _measure(file: Path) -> list[Row]:
    settings = LlamaSettings(threads=THREADS, context=CELLS)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        drafts: dict[str, Path | None] = {"lookup": None}
        quantize(file, folder / "small.gguf", "q2_K", again=True, threads=THREADS)
        drafts |= {"its q2_K": folder / "small.gguf", "itself": file}
        backend = await open_llama(file, settings)
        stack.push_async_callback(backend.close)
        plain = await _scheduler(backend, None)
        stack.push_async_callback(plain.close)
        rows: list[Row] = []
        for name, path in drafts.items():
            drafted = await _scheduler(backend, _choice(name, path))
            try:
                for kind in KINDS:
                    for streams in STREAMS:
                        rows += await _rows(f"{file.stem}, {name}", plain, drafted, kind, streams)
            finally:
                await drafted.close()
        return rows


def _choice(name: str, path: Path | None) -> DraftChoice:
    models = {"small": ModelConfig(path=path, threads=THREADS)} if path is not None else {}
    return DraftChoice("small" if models else name, 4, Config(models=models))


async def _scheduler(backend: LlamaBackend, draft: DraftChoice | None) -> Scheduler:
    return await open_scheduler(
        backend, parallel=max(STREAMS), keepers=0, context=CELLS, memory=1 << 30, draft=draft
    )


async def _rows(
    name: str, plain: Scheduler, drafted: Scheduler, kind: str, streams: int
) -> list[Row]:
    sides = {id(scheduler): _Side() for scheduler in (plain, drafted)}
    for turn in range(ROUNDS[streams]):
        for scheduler in (plain, drafted):
            await _draw(scheduler, kind, streams, turn, sides[id(scheduler)])
    before, after = sides[id(plain)], sides[id(drafted)]
    rate = (after.tokens / after.seconds) / (before.tokens / before.seconds)
    cpu = (after.cpu / after.tokens) / (before.cpu / before.tokens)
    accepted = after.accepted / max(after.proposed, 1)
    note = (
        f"CPU a token {cpu:.2f} ×, {accepted:.0%} of {after.proposed / after.tokens:.2f} proposed a"
        f" token, {after.tokens / after.seconds:,.0f} tokens/s"
    )
    return [Row(f"{name}: {kind}, {streams} at once", rate, "×", note=note)]


async def _draw(scheduler: Scheduler, kind: str, streams: int, turn: int, side: _Side) -> None:
    text, settings = KINDS[kind]
    vocabulary = scheduler.vocabulary
    known = vocabulary.known_tokens(text.encode())
    assert known is not None
    requests = [
        _request(
            (*vocabulary.prefix, *known),
            Sampling(settings, None),
            turn * streams + number,
        )
        for number in range(streams)
    ]
    begin, cpu = time.perf_counter(), time.process_time()
    ends = await asyncio.gather(*(_end(scheduler, request) for request in requests))
    side.seconds += time.perf_counter() - begin
    side.cpu += time.process_time() - cpu
    for end, tokens in ends:
        side.tokens += tokens
        side.proposed += end.proposed
        side.accepted += end.accepted


def _request(prompt: Tail, sampling: Sampling, choice: int) -> GenerationRequest:
    return GenerationRequest(prompt, sampling, choice, TOKENS, ignore_end=True)


async def _end(scheduler: Scheduler, request: GenerationRequest) -> tuple[GenerationEnd, int]:
    tokens = 0
    async with aclosing(scheduler.generate(request)) as news:
        async for item in news:
            if isinstance(item, GenerationEnd):
                return item, tokens
            tokens += 1
    raise AssertionError("a text without an end")
