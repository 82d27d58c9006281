"""Drawing from many rows at once: what is drawn is what each whole row gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from llterm.core.logit_rows import RowScratch, exponentials
from llterm.core.sampling.drawn_rows import BlockFacts, RowToDraw
from llterm.core.sampling.ladder import generator
from llterm.core.sampling.sampler_chain import Situation
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.core.sampling.stage_types import log_softmax
from llterm.core.sampling.truncated_rows import GUESSES, TruncatedRow, truncated
from tests.helpers.drawn_rows import (
    ByteByByte,
    Rows,
    any_logits,
    any_rows,
    assert_alike,
    together,
    whole,
)
from tests.helpers.known_tokens import chain_of


@settings(max_examples=90)
@given(any_rows())
def test_what_is_drawn_together_is_what_each_whole_row_gives(rows: Rows) -> None:
    assert_alike(rows)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_draws_the_same_of_many_rows(preset: str) -> None:
    vocabulary, rng = ByteByByte(5000), np.random.default_rng(3)
    chain = chain_of(vocabulary, Sampling(replace(PRESETS[preset], seed=1), preset))
    other = chain_of(vocabulary, Sampling(SamplerSettings(seed=2), None))
    contexts = [tuple(rng.integers(5000, size=40).tolist()) for _ in range(12)]
    rows = [RowToDraw(chain, Situation(context), line) for line, context in enumerate(contexts)]
    rows[7] = RowToDraw(other, Situation(contexts[7]), 7, top=5)
    logits = np.array([any_logits(rng, 5000) for _ in rows])
    assert_alike(Rows(logits, rows))


@pytest.mark.parametrize(
    "ends",
    [
        SamplerSettings(top_p=0.0),
        SamplerSettings(top_p=1e-300),
        SamplerSettings(top_p=1 - 1e-16),
        SamplerSettings(min_p=1.0),
        SamplerSettings(top_k=1),
        SamplerSettings(top_p=0.0, temperature=0.0, repeat_penalty=1.5),
    ],
)
@pytest.mark.parametrize("size", [2, 700])
def test_the_ends_of_knobs_leave_somebody(ends: SamplerSettings, size: int) -> None:
    rng = np.random.default_rng(5)
    chain = chain_of(ByteByByte(size), Sampling(replace(ends, seed=1), None))
    rows = [RowToDraw(chain, Situation(tuple(range(line % size))), line) for line in range(9)]
    assert_alike(Rows(np.array([any_logits(rng, size) for _ in rows]), rows))


def test_rows_without_a_seed_are_drawn_as_chance_has_it() -> None:
    chain = chain_of(ByteByByte(700), Sampling(PRESETS["neutral"], "neutral"))
    rows = Rows(np.zeros((64, 700), np.float32), [RowToDraw(chain, Situation(()))] * 64)
    ids = {row.id for row in together(rows) if row is not None}
    assert len(ids) > 32


@pytest.mark.parametrize("preset", ["reliable", "balanced", "creative"])
def test_what_a_preset_keeps_is_told_by_the_candidates_near_the_best(preset: str) -> None:
    vocabulary, rng = ByteByByte(5000), np.random.default_rng(4)
    chain = chain_of(vocabulary, Sampling(replace(PRESETS[preset], seed=1), preset))
    logits = np.array([-1.2 * np.log(1 + rng.permutation(5000)) for _ in range(64)], np.float32)
    scratch, best = RowScratch(), logits.max(axis=1)
    shifted, _, totals = exponentials(logits, best, scratch)
    facts = BlockFacts(shifted, best.astype(np.float64), totals, np.log(totals))
    contexts = [tuple(rng.integers(5000, size=40).tolist()) for _ in range(64)]
    places = [Situation(context) for context in contexts]
    rows = [TruncatedRow(chain, at, chain.dropped(at), rng.random) for at in places]
    sure, left = truncated(facts, rows, GUESSES[1], scratch)
    assert sure.tolist() == list(range(64))
    kept = [left.of_row(place) for place in range(64)]
    ladders = [chain.ladder(whole(row, 0), at) for row, at in zip(logits, places, strict=True)]
    for candidates, ladder in zip(kept, ladders, strict=True):
        assert candidates.ids.tolist() == ladder.ids[ladder.kept].tolist()
        p = np.exp(log_softmax(candidates.logits))
        assert p == pytest.approx(ladder.p_final[ladder.kept], rel=1e-9)


@pytest.mark.parametrize(
    "late",
    [
        SamplerSettings(min_p=0.01, xtc_probability=0.5, xtc_threshold=0.05),
        SamplerSettings(top_k=50, typical_p=0.8),
        SamplerSettings(top_k=50, top_n_sigma=1.2, order=("top_k", "top_n_sigma")),
        SamplerSettings(top_n_sigma=1.2, repeat_penalty=1.1, temperature=0.8),
        SamplerSettings(top_p=0.9, temperature=0.9, dynatemp_range=0.4),
    ],
)
def test_stages_after_one_that_keeps_the_best_are_told_by_what_it_kept(
    late: SamplerSettings,
) -> None:
    vocabulary, rng = ByteByByte(5000), np.random.default_rng(4)
    chain = chain_of(vocabulary, Sampling(replace(late, seed=1), None))
    logits = np.array([-1.2 * np.log(1 + rng.permutation(5000)) for _ in range(64)], np.float32)
    scratch, best = RowScratch(), logits.max(axis=1)
    shifted, _, totals = exponentials(logits, best, scratch)
    facts = BlockFacts(shifted, best.astype(np.float64), totals, np.log(totals))
    places = [Situation(tuple(range(length))) for length in range(64)]
    numbers = [generator(chain.settings, length) for length in range(64)]
    rows = [
        TruncatedRow(chain, at, chain.dropped(at), own.random)
        for at, own in zip(places, numbers, strict=True)
    ]
    sure, left = truncated(facts, rows, GUESSES[1], scratch)
    assert sure.tolist() == list(range(64))
    for place, (row, at) in enumerate(zip(logits, places, strict=True)):
        ladder = chain.ladder(whole(row, 0), at, rng=generator(chain.settings, place))
        candidates = left.of_row(place)
        assert candidates.ids.tolist() == ladder.ids[ladder.kept].tolist()
        p = np.exp(log_softmax(candidates.logits))
        assert p == pytest.approx(ladder.p_final[ladder.kept], rel=1e-9)
