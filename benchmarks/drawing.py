"""Drawing a token of each of many rows: against the decode that gave the rows, and row by row."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import MODEL, Row
from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.llamacpp.logits import best_of, read_distributions
from llterm.core.logit_rows import RowScratch
from llterm.core.query import Query
from llterm.core.sampling.batch_sampler import BatchSampler
from llterm.core.sampling.drawn_rows import RowToDraw
from llterm.core.sampling.sampler_chain import Chain, Chains, Situation
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.core.sampling.token_counts import TokenCounts
from llterm.core.tokens import Anchor, Tail
from llterm.core.tokens import Path as TokenPath
from llterm.session.stories import STORIES

ROWS = 64
PROMPT = 48
"""Tokens before a row."""
STEPS = 7
SETTINGS = {
    "the server's defaults": PRESETS["neutral"],
    "balanced": PRESETS["balanced"],
    "creative": PRESETS["creative"],
    "greedy": PRESETS["greedy"],
    "llama.cpp's defaults": SamplerSettings(temperature=0.8, top_k=40, top_p=0.95, min_p=0.05),
}


def measure(files: Sequence[Path] = ()) -> list[Row]:
    import asyncio

    return [row for path in files or [MODEL] for row in asyncio.run(_measure(path))]


async def _measure(path: Path) -> list[Row]:
    backend = await open_llama(path, LlamaSettings())
    try:
        vocabulary = backend.vocabulary
        text = " ".join(story.text for story in STORIES) * 40
        ids = vocabulary.encode(text.encode())
        prompts = [vocabulary.prefix + ids[7 * row :][:PROMPT] for row in range(ROWS)]
        chains = {
            name: _chain(Chains(vocabulary), replace(settings, seed=1))
            for name, settings in SETTINGS.items()
        }
    finally:
        await backend.close()
    streams = Streams(str(path), prompts)
    try:
        return _rows(path, streams, chains)
    finally:
        streams.close()


def _chain(chains: Chains, settings: SamplerSettings) -> Chain:
    chain = chains.known(Sampling(settings, None))
    assert chain is not None
    return chain


def _rows(path: Path, streams: Streams, chains: dict[str, Chain]) -> list[Row]:
    budget = 0.1 if path == MODEL else 0.2
    drawing, scratch = BatchSampler(), RowScratch()
    decodes: list[float] = []
    together: dict[str, list[float]] = {name: [] for name in chains}
    alone: dict[str, list[float]] = {name: [] for name in chains}
    few = range(0, ROWS, 16)
    for _ in range(STEPS):
        seconds, logits = streams.step()
        decodes.append(seconds)
        for name, chain in chains.items():
            rows = [
                RowToDraw(chain, Situation(context), line=line, counted=_counted(chain, context))
                for line, context in enumerate(streams.contexts)
            ]
            start = time.thread_time()
            drawn = drawing.draw(logits, best_of(logits, path.name), rows)
            together[name].append(time.thread_time() - start)
            start = time.thread_time()
            expected = [_alone(logits[at], rows[at], scratch) for at in few]
            alone[name].append((time.thread_time() - start) * ROWS / len(few))
            assert [row.id for at in few if (row := drawn[at])] == expected
    decode = statistics.median(decodes)
    return [
        Row(f"{path.stem}: drawing {ROWS} rows, {name}, of their decode",
            statistics.median(together[name]) / decode, "×", budget,
            note=f"decode {decode * 1e3:.1f} ms, drawn in"
            f" {statistics.median(together[name]) * 1e3:.1f} ms,"
            f" row by row {statistics.median(alone[name]) * 1e3:.0f} ms")
        for name in chains
    ]  # fmt: skip


def _counted(chain: Chain, context: Tail) -> TokenCounts | None:
    """As the server has them at hand."""
    return TokenCounts(context, chain.settings.penalty_last_n) if chain.penalises else None


def _alone(logits: NDArray[np.float32], row: RowToDraw, scratch: RowScratch) -> int:
    query = Query(TokenPath(Anchor(())), 1, full=True)
    (distribution,) = read_distributions(logits[None], [query], "rows", scratch)
    return row.chain.draw(distribution, row.at, line=row.line).id


class Streams:
    """As many sequences as rows, each in a stream of its own, one token of each a step."""

    def __init__(self, path: str, prompts: Sequence[Tail]) -> None:
        import llama_cpp

        self._llama: Any = llama_cpp
        params = llama_cpp.llama_model_default_params()
        params.use_extra_bufts = False
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = ROWS * 128, 512, 512
        settings.n_seq_max, settings.kv_unified = ROWS, False
        settings.n_threads = settings.n_threads_batch = 1
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        self._batch = llama_cpp.llama_batch_init(512, 0, 1)
        self._size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self.contexts = [tuple(prompt) for prompt in prompts]
        for sequence, prompt in enumerate(prompts):
            self._decode([(token, place, sequence) for place, token in enumerate(prompt[:-1])])

    def step(self) -> tuple[float, NDArray[np.float32]]:
        """Seconds that the newest token of each takes, and the rows after them; the best token of
        each goes on."""
        start = time.thread_time()
        self._decode([(context[-1], len(context) - 1, row)
                      for row, context in enumerate(self.contexts)])  # fmt: skip
        rows = self._llama.llama_get_logits(self._context)
        seconds = time.thread_time() - start
        address = ctypes.cast(rows, ctypes.POINTER(ctypes.c_float))
        logits = np.ctypeslib.as_array(address, (ROWS, self._size))
        best = logits.argmax(axis=1).tolist()
        self.contexts = [(*context, id) for context, id in zip(self.contexts, best, strict=True)]
        return seconds, logits

    def _decode(self, tokens: Iterable[tuple[int, int, int]]) -> None:
        batch = self._batch
        for index, (token, place, sequence) in enumerate(tokens):
            batch.token[index], batch.pos[index] = token, place
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
            batch.logits[index] = 1
            batch.n_tokens = index + 1
        assert self._llama.llama_decode(self._context, batch) == 0
        self._llama.llama_synchronize(self._context)

    def close(self) -> None:
        self._llama.llama_batch_free(self._batch)
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)
