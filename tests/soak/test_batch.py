"""A batch killed at fifty moments comes to the same; one of fifty thousand rows does not grow."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from llterm.jobs.batch import BatchProgress
from tests.helpers.batches import (
    count_lines,
    killed_run,
    requests,
    results,
    run_batch,
    texts,
    write_lines,
)
from tests.helpers.program import run
from tests.helpers.resident_memory import resident
from tests.helpers.soak_rounds import rounds

pytestmark = pytest.mark.soak

KILLS = rounds(50)
ROWS = 50_000
GROWTH = 24 << 20
"""Bytes that a run may take more between its first thousands of rows and its last."""


@pytest.mark.parametrize("parallel", ["1", "16"])
def test_killed_fifty_times_it_comes_to_the_same(tmp_path: Path, parallel: str) -> None:
    # With 16 at once up to 16 rows more have been answered when the kill comes.
    rows, tokens = {"1": (6 * KILLS, 16), "16": (18 * KILLS, 8)}[parallel]
    source = write_lines(tmp_path / "in.jsonl", requests(rows, tokens))
    whole, joined = tmp_path / "whole.jsonl", tmp_path / "joined.jsonl"
    typed = [str(source), "-m", "fable", "--seed", "7", "--slot-context", "256",
             "--parallel", parallel, "-o"]  # fmt: skip
    assert run(tmp_path, "batch", *typed, whole).code == 0
    chance = random.Random(int(parallel))
    kills = sum(killed_run(tmp_path, [*typed, str(joined)], joined, chance) for _ in range(KILLS))
    assert kills > KILLS // 2
    assert run(tmp_path, "batch", *typed, joined).code == 0
    if parallel == "1":
        assert results(joined) == results(whole)
        return
    seeds = {
        name: {key: result["llterm"]["seed"] for key, result in results(path).items()}
        for name, path in (("whole", whole), ("joined", joined))
    }
    assert seeds["joined"] == seeds["whole"]
    same = sum(text == texts(joined)[name] for name, text in texts(whole).items())
    assert same >= 0.99 * len(texts(whole))


async def test_fifty_thousand_rows_do_not_grow(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    write_lines(source, requests(ROWS, 1))
    output = tmp_path / "out.jsonl"
    sizes: list[int] = []

    def show(progress: BatchProgress) -> None:
        if progress.answered and progress.answered % 1000 == 0:
            sizes.append(resident())

    result = await run_batch(source, output, show=show)
    assert (result.progress.answered, count_lines(output)) == (ROWS, ROWS)
    assert max(sizes) - sizes[4] < GROWTH
