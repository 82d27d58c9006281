"""Drawing from many rows at once: what is drawn is what each whole row gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from llterm.core.sampling.row_draws import RowToDraw
from llterm.core.sampling.sampler_chain import Situation
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from tests.helpers.drawn_rows import ByteByByte, Rows, any_logits, any_rows, assert_alike, together
from tests.helpers.known_tokens import chain_of


@settings(max_examples=60)
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


def test_rows_without_a_seed_are_drawn_as_chance_has_it() -> None:
    chain = chain_of(ByteByByte(700), Sampling(PRESETS["neutral"], "neutral"))
    rows = Rows(np.zeros((64, 700), np.float32), [RowToDraw(chain, Situation(()))] * 64)
    ids = {row.id for row in together(rows) if row is not None}
    assert len(ids) > 32
