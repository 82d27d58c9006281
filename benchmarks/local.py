"""The engine in process: overhead over bare decodes, what a re-weave evaluates, how it stops."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from benchmarks.rows import MODEL, Row, percentile
from benchmarks.weaving import begin, run
from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.core.tokens import Anchor
from llterm.core.weave_settings import WeaveSettings
from llterm.session.stories import STORIES

RULES = WeaveSettings(depth=12, cutoff=0.05, split_limit=3, beams=64, auto_stop=False, heal=False)
ROUNDS = 9


@dataclass
class Decodes:
    """What went through `llama_decode`."""

    tokens: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@contextmanager
def watched() -> Iterator[Decodes]:
    """Count and time every `llama_decode` of this process, below everything of llterm."""
    import llama_cpp

    seen = Decodes()
    original: Callable[..., int] = llama_cpp.llama_decode

    def decode(context: Any, batch: Any) -> int:
        start = time.perf_counter()
        result = original(context, batch)
        seen.seconds.append(time.perf_counter() - start)
        seen.tokens.append(batch.n_tokens)
        return result

    for module in (llama_cpp, llama_cpp.llama_cpp):
        vars(module)["llama_decode"] = decode
    try:
        yield seen
    finally:
        for module in (llama_cpp, llama_cpp.llama_cpp):
            vars(module)["llama_decode"] = original


def measure() -> list[Row]:
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    story = STORIES[0].text
    with watched() as seen:
        backend = await open_llama(MODEL, LlamaSettings())
        try:
            return [
                *await _overhead(backend, story, seen),
                *await _again(backend, story, seen),
                await _stop(backend),
            ]
        finally:
            await backend.close()


async def _overhead(backend: Any, story: str, seen: Decodes) -> list[Row]:
    ratios, rates = [], []
    for index in range(ROUNDS + 1):
        weave = begin(backend, f"{story} {index}", RULES)
        seen.seconds.clear()
        seen.tokens.clear()
        start = time.perf_counter()
        await run(weave, backend)
        whole = time.perf_counter() - start
        if index:
            ratios.append(whole / sum(seen.seconds))
            rates.append(sum(seen.tokens) / whole)
    note = f"{len(seen.seconds)} decodes, {sum(seen.tokens)} tokens a weave"
    return [
        Row("weave against its bare llama_decode calls", statistics.median(ratios), "×", 1.10,
            note=note),
        Row("tokens evaluated a second, weaving", statistics.median(rates), "/s"),
    ]  # fmt: skip


async def _again(backend: Any, story: str, seen: Decodes) -> list[Row]:
    rows = []
    for size in (100, 1900):
        text = (story + ". ") * (size // 20)
        ids = backend.vocabulary.prefix + backend.vocabulary.encode(text.encode())
        rules = WeaveSettings(depth=8, beams=10, auto_stop=False)
        weave = begin(backend, backend_text(backend, ids[:size]), rules)
        await run(weave, backend)
        most = 0
        for suggestion in weave.view().suggestions:
            after = weave.at(suggestion.tail, Anchor(weave.anchor.tokens + suggestion.tail))
            queries = after.wants(1)
            seen.tokens.clear()
            async for _ in backend.ask(queries):
                pass
            most = max(most, sum(seen.tokens))
        note = f"worst of {len(weave.view().suggestions)} suggestions"
        rows.append(
            Row(f"tokens evaluated after an accept at {size}", most, "tokens", 2, note=note)
        )
    return rows


def backend_text(backend: Any, ids: tuple[int, ...]) -> str:
    """The text of these tokens."""
    from llterm.core.tokens import text_bytes

    return text_bytes(backend.vocabulary, ids).decode("utf-8", "replace")


async def _stop(backend: Any) -> Row:
    waits = []
    for index in range(15):
        weave = begin(backend, f"{index} " + STORIES[1].text * 40, RULES)
        task = asyncio.create_task(run(weave, backend))
        await asyncio.sleep(0.02 + 0.01 * index)
        start = time.perf_counter()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        waits.append((time.perf_counter() - start) * 1000)
    return Row(
        "stop to idle, worst", max(waits), "ms", 100, note=f"p50 {percentile(waits, 0.5):.1f}"
    )
