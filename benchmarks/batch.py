"""`llterm batch` against llama.cpp's own server with 16 requests in flight, on the same file.

The same rows, sampler and decode thread, llterm at its defaults otherwise; the better of the
server's two settings counts: four slots in one pool, as by default, and a slot for each request.
The sides take turns, part by part. Models are open before either begins.
`LLTERM_BENCH_ROWS` sets another number of rows.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.rows import MODEL, Row
from benchmarks.server import server_process
from benchmarks.server_load import TOKENS, cpu_seconds
from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.config import Config
from llterm.core.query import Backend
from llterm.engine.generation import Generator
from llterm.formats.request_lines import RequestLines
from llterm.formats.row_lines import RowFile
from llterm.jobs.batch import BatchOptions, batch
from llterm.jobs.batch_answers import RowAnswers
from llterm.jobs.batch_models import SlotOptions
from llterm.jobs.batch_output import BatchFiles
from llterm.jobs.request import Request
from llterm.reports.batch_json import result_line
from llterm.serve.batch_bodies import BodyAnswers
from llterm.serve.request_rules import RequestRules

ROWS = int(os.environ.get("LLTERM_BENCH_ROWS", "1000"))
PARTS = 2
"""The sides take turns so often."""
FLIGHT = 16
THREADS = 1
SHARED = 400
OWN = 16
CELLS = 512
RATES = 1.8, 1.5
"""Tokens a second against the server, at least: with a shared beginning, and without."""
Prompts = Sequence[Sequence[int]]


@dataclass(slots=True)
class _Side:
    """What one side took so far."""

    seconds: float = 0.0
    cpu: float = 0.0

    def rate(self, rows: int) -> float:
        return rows * TOKENS / self.seconds


def measure(files: Sequence[Path] = ()) -> list[Row]:
    """On the bundled model, or on those files; budgets are for the bundled model alone."""
    return [row for file in files or (MODEL,) for row in asyncio.run(_measure(file))]


async def _measure(file: Path) -> list[Row]:
    backend = await open_llama(file, LlamaSettings(threads=THREADS))
    size = backend.vocabulary.size
    await backend.close()
    rows: list[Row] = []
    for shared in (True, False):
        with ExitStack() as stack:
            servers = [
                stack.enter_context(
                    server_process(file, THREADS, slots=slots, cells=CELLS, http=FLIGHT + 16,
                                   unified=unified)
                )
                for slots, unified in ((4, True), (FLIGHT, False))
            ]  # fmt: skip
            sides = [_Side() for _ in (*servers, "ours")]
            for prompts in _parts(size, shared=shared):
                for side, (address, pid) in zip(sides, servers, strict=False):
                    await _ask(side, address, pid, prompts)
                await _batch(sides[-1], file, prompts)
        rows += _rows(sides, shared, judged=file == MODEL)
    return rows


def _parts(size: int, *, shared: bool) -> Iterator[Prompts]:
    drawn = random.Random(int(shared))

    def some(tokens: int) -> list[int]:
        return [drawn.randrange(size // 4, size) for _ in range(tokens)]

    beginning = some(SHARED)
    for _ in range(PARTS):
        yield [(beginning if shared else some(SHARED)) + some(OWN) for _ in range(ROWS // PARTS)]


async def _ask(side: _Side, address: tuple[str, int], pid: int, prompts: Prompts) -> None:
    """All rows of the server, as many at once as may be in flight."""
    waiting = iter(enumerate(prompts))
    cpu, begin = cpu_seconds(pid), time.perf_counter()
    async with httpx2.AsyncClient(timeout=None) as client:

        async def work() -> None:
            for seed, prompt in waiting:
                asked: dict[str, Any] = {
                    "prompt": prompt, "n_predict": TOKENS, "ignore_eos": True, "temperature": 0.8,
                    "samplers": ["temperature"], "seed": seed, "cache_prompt": True,
                }  # fmt: skip
                answer = await client.post(
                    f"http://{address[0]}:{address[1]}/completion", json=asked
                )
                assert answer.json()["tokens_predicted"] == TOKENS

        await asyncio.gather(*(work() for _ in range(FLIGHT)))
    side.seconds += time.perf_counter() - begin
    side.cpu += cpu_seconds(pid) - cpu


async def _batch(side: _Side, file: Path, prompts: Prompts) -> None:
    def answering(generator: Generator, backend: Backend, parallel: int) -> RowAnswers:
        return BodyAnswers(generator, backend, RequestRules(), parallel)

    body = {"max_tokens": TOKENS, "ignore_eos": True, "temperature": 0.8}
    began: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        source.write_text("".join(json.dumps({"prompt": each, **body}) + "\n" for each in prompts))
        options = BatchOptions(BatchFiles(output), seed=1, slots=SlotOptions(context=CELLS))
        request = Request(Config(), (str(file),), overrides={"threads": THREADS})
        with source.open("rb") as lines:
            rows = RequestLines(RowFile(lines, source.name))
            # It is shown first when the model is open and the rows are planned.
            result = await batch(
                request, rows, options, answering, result_line,
                show=lambda _: began.append(time.process_time()),
            )  # fmt: skip
    assert result.progress.tokens == TOKENS * len(prompts)
    side.seconds += result.progress.seconds
    side.cpu += began[-1] - began[0]


def _rows(sides: Sequence[_Side], shared: bool, *, judged: bool) -> list[Row]:
    name = f"{ROWS:,} rows, {'shared' if shared else 'unrelated'}"
    rates = [side.rate(ROWS) for side in sides]
    cpus = [side.cpu / ROWS for side in sides]
    return [
        Row(f"{name}: tokens a second", rates[2] / max(rates[:2]), "×",
            RATES[0 if shared else 1] if judged else None, at_least=True,
            note=_note([f"{rate:.0f}" for rate in rates])),
        Row(f"{name}: CPU seconds a row", cpus[2] / min(cpus[:2]), "×",
            note=_note([f"{cpu:.4f}" for cpu in cpus])),
    ]  # fmt: skip


def _note(values: Sequence[str]) -> str:
    pool, slots, ours = values
    return f"{ours}; llama.cpp: {pool} in one pool, {slots} with a slot each"
