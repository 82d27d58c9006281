"""`llterm serve` against llama.cpp's own server: many streams at once on the same file.

Interleaved, one decode thread each, the same body to the same route. llama.cpp's server is taken in
the better of two settings for each figure: four slots in one pool, as by default, and a slot for
each stream. `llterm serve` runs with the same slots for all loads.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from benchmarks.bare_context import BareContext
from benchmarks.rows import MODEL, Row
from benchmarks.server import server_process
from benchmarks.server_load import TOKENS, LoadFigures, load
from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.core.tokens import Tail

THREADS = 1
STREAMS = (1, 4, 16, 64)
SHARED = 400
OWN = 16
"""Tokens at the end of each prompt that no other one has."""
CELLS = 512
ROUNDS = {1: 9, 4: 5, 16: 3, 64: 2}
RATES = {1: (1.0, 1.0), 4: (2.2, 1.6), 16: (1.9, 1.6), 64: (1.6, 1.6)}
"""Tokens a second against llama.cpp's server, at least: with a shared beginning, and without."""
CPU = 0.6
FIRST = 0.25, 0.6
BARE = 1.15
LONG = 1900
PAUSE = 0.25

Prompts = list[Tail]


def measure(files: Sequence[Path] = ()) -> list[Row]:
    """On the bundled model, or on those files; budgets are for the bundled model alone."""
    return [row for file in files or (MODEL,) for row in asyncio.run(_measure(file))]


async def _measure(file: Path) -> list[Row]:
    size = await _vocabulary(file)
    rows: list[Row] = []
    for streams in STREAMS:
        with ExitStack() as stack:
            theirs = [
                stack.enter_context(
                    server_process(
                        file, THREADS, slots=slots, cells=CELLS, http=streams + 16, unified=unified
                    )
                )
                for slots, unified in ((4, True), (streams, False))
            ]
            ours = [stack.enter_context(_llterm(file, max(STREAMS), CELLS))]
            if streams == 1:
                ours.append(stack.enter_context(_llterm(file, max(STREAMS), CELLS, "fast")))
            for shared in (True, False):
                drawn = random.Random(streams)
                figures: list[list[LoadFigures]] = []
                bare: list[float] = []
                for _ in range(ROUNDS[streams]):
                    prompts = _prompts(drawn, size, streams, shared=shared)
                    figures.append([])
                    for address, pid in (*theirs, *ours):
                        if shared:
                            await load(address, pid, [prompts[0][:-1]])
                        figures[-1].append(await load(address, pid, prompts))
                    bare.append(_bare(file, prompts, shared=shared))
                rows += _rows(streams, shared, figures, bare, judged=file == MODEL)
    return rows + await _pauses(file, size)


async def _vocabulary(file: Path) -> int:
    backend = await open_llama(file, LlamaSettings(threads=THREADS))
    try:
        return backend.vocabulary.size
    finally:
        await backend.close()


def _prompts(drawn: random.Random, size: int, count: int, *, shared: bool) -> Prompts:
    def some(tokens: int) -> Tail:
        return tuple(drawn.randrange(size // 4, size) for _ in range(tokens))

    beginning = some(SHARED)
    return [(beginning if shared else some(SHARED)) + some(OWN) for _ in range(count)]


def _rows(
    streams: int,
    shared: bool,
    figures: Sequence[Sequence[LoadFigures]],
    bare: Sequence[float],
    *,
    judged: bool,
) -> list[Row]:
    name = f"{streams} stream(s), {'shared' if shared else 'unrelated'}"
    sides = list(zip(*figures, strict=True))
    rates, cpus, firsts = (
        [statistics.median(getattr(each, what) for each in side) for side in sides]
        for what in ("rate", "cpu", "first")
    )
    over = cpus[2] * streams / min(bare)

    def budget(value: float, *, many: bool = True) -> float | None:
        return value if judged and (streams > 1 or not many) else None

    return [
        Row(f"{name}: tokens a second", rates[2] / max(rates[:2]), "×",
            budget(RATES[streams][0 if shared else 1], many=False), at_least=True,
            note=_note(rates, "{:.0f}")),
        *(Row(f"{name}: tokens a second, fast kernels", rate / max(rates[:2]), "×",
              note=f"{rate:.0f}") for rate in rates[3:]),
        Row(f"{name}: CPU seconds a request", cpus[2] / min(cpus[:2]), "×", budget(CPU),
            note=_note(cpus, "{:.4f}")),
        Row(f"{name}: first token, p50", firsts[2] / min(firsts[:2]), "×",
            budget(FIRST[0 if shared else 1]), note=_note(firsts, "{:.3f}")),
        Row(f"{name}: CPU over bare decodes", over, "×", budget(BARE),
            note=f"{min(bare) / streams:.4f} s a request"),
    ]  # fmt: skip


def _note(values: Sequence[float], form: str) -> str:
    pool, slots, ours = map(form.format, values[:3])
    return f"{ours}; llama.cpp: {pool} in one pool, {slots} with a slot each"


def _bare(file: Path, prompts: Prompts, *, shared: bool) -> float:
    """CPU seconds of the same decodes without anything around them, start-up aside."""
    count = len(prompts)
    context = BareContext(
        file, cells=CELLS, batch=512, sequences=count + 1, threads=THREADS, unified=False
    )
    try:
        if shared:
            context.batch.clear()
            context.batch.add(prompts[0][:SHARED], 0, count, last=False)
            context.decode()
        begin = time.process_time()
        for sequence, prompt in enumerate(prompts):
            start = SHARED if shared else 0
            if shared:
                context.copy(count, sequence, -1, -1)
            context.batch.clear()
            context.batch.add(prompt[start:-1], start, sequence, last=False)
            context.decode()
        for step in range(TOKENS):
            context.batch.clear()
            for sequence, prompt in enumerate(prompts):
                context.batch.add(prompt[-1:], len(prompt) - 1 + step, sequence, last=True)
            context.decode()
        return time.process_time() - begin
    finally:
        context.close()


async def _pauses(file: Path, size: int) -> list[Row]:
    """How long streams wait while a long prompt comes in."""
    drawn = random.Random(0)
    with _llterm(file, 17, 2048) as (address, pid):
        short = [[drawn.randrange(size // 4, size) for _ in range(OWN)] for _ in range(16)]
        long = [drawn.randrange(size // 4, size) for _ in range(LONG)]
        running = asyncio.create_task(load(address, pid, short))
        await asyncio.sleep(0.1)
        await load(address, pid, [long])
        figures = await running
        running = asyncio.create_task(load(address, pid, short))
        await asyncio.sleep(0.1)
        await _read(address, long)
        beside = await running
    budget = PAUSE * 1000 if file == MODEL else None
    name = f"longest pause of 16 streams while a prompt of {LONG:,} tokens"
    return [
        Row(f"{name} comes in", figures.pause * 1000, "ms", budget),
        Row(f"{name} is read with echo", beside.pause * 1000, "ms", budget),
    ]


async def _read(address: tuple[str, int], prompt: Sequence[int]) -> None:
    async with httpx2.AsyncClient(timeout=None) as client:
        asked = {"prompt": list(prompt), "max_tokens": 0, "echo": True, "logprobs": 1}
        answer = await client.post(f"http://{address[0]}:{address[1]}/v1/completions", json=asked)
        answer.raise_for_status()


@contextmanager
def _llterm(
    model: Path, slots: int, cells: int, kernels: str = "exact"
) -> Iterator[tuple[tuple[str, int], int]]:
    """Host and port of `llterm serve`, and the process's id; ended afterwards."""
    served = f"{model},threads={THREADS},kernels={kernels}"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "llterm", "serve", "-m", served,
            "--port", "0", "--parallel", str(slots), "--slot-context", str(cells),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        # Other lines name servers that are there already.
        line = next(line for line in process.stdout if line.startswith("llterm serves"))
        port = line.partition("http://127.0.0.1:")[2]
        yield ("127.0.0.1", int("".join(c for c in port[:5] if c.isdigit()))), process.pid
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
