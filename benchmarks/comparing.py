"""Comparing a model with its quantisation: against evaluating each of them once with logits."""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.bare_context import BareContext
from benchmarks.rows import MODEL, Row
from benchmarks.scoring import BATCH, evaluated
from llterm.backends.llamacpp import LlamaBackend, open_llama
from llterm.backends.llamacpp.quantize import quantize
from llterm.core.tokens import Tail
from llterm.core.windows import halves
from llterm.engine.compare import ModelReader, ModelReference, TextWindow, begin_comparison, compare
from llterm.session.stories import STORIES

WINDOW = 512
WINDOWS = 8
ROUNDS = 5


def measure() -> list[Row]:
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "fable-q4_K_M.gguf"
        quantize(MODEL, other, "q4_K_M")
        backends = [await open_llama(MODEL), await open_llama(other)]
        threads = max((os.cpu_count() or 2) - 1, 1)
        plain = [
            BareContext(path, cells=4096, batch=BATCH, threads=threads) for path in (MODEL, other)
        ]
        try:
            return await _rows(backends, plain)
        finally:
            for backend in backends:
                await backend.close()
            for one in plain:
                one.close()


async def _rows(backends: list[LlamaBackend], plain: list[BareContext]) -> list[Row]:
    vocabulary = backends[0].vocabulary
    text = " ".join(story.text for story in STORIES) * 60
    ids = vocabulary.prefix + vocabulary.encode(text.encode())
    views = _views(vocabulary.prefix, ids[: WINDOW * WINDOWS])
    ratios, mine = [], 0.0
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        await _compare(backends, views)
        mine = time.perf_counter() - start
        theirs = sum(evaluated(one, view.tokens) for one in plain for view in views)
        ratios.append(theirs / mine)
    tokens = sum(len(view.tokens) for view in views)
    note = f"f16 and q4_K_M, {tokens} tokens each in windows of {WINDOW}, {tokens / mine:,.0f} a s"
    grown = await _growth(backends, vocabulary.prefix, ids)
    return [
        Row("compare against evaluating each model once with logits",
            statistics.median(ratios[1:]), "×", 0.85, at_least=True, note=note),
        Row("memory that a four times longer text adds to a comparison", grown, "MiB", 8),
    ]  # fmt: skip


def _views(prefix: Tail, ids: Tail) -> list[TextWindow]:
    return [
        TextWindow(prefix + ids[one.begin + 1 : one.end], one.first - one.begin, one.begin)
        for one in halves(len(ids), WINDOW)
    ]


async def _compare(backends: list[LlamaBackend], views: list[TextWindow]) -> None:
    reference, *others = map(ModelReader, backends)
    comparison = begin_comparison(ModelReference(reference), views, ["other"])
    async for _ in compare(comparison, ModelReference(reference), others, views):
        pass


async def _growth(backends: list[LlamaBackend], prefix: Tail, ids: Tail) -> float:
    """MiB of peak memory that a text of 16 windows takes beyond one of 4."""
    peaks = []
    for windows in (4, 16):
        await _compare(backends, _views(prefix, ids[: WINDOW * windows]))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return (peaks[1] - peaks[0]) / 1024
