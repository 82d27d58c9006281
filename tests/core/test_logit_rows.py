"""Rows read in float32 blocks, against the formulas in float64 and a sort of the whole row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from llterm.core.comparison.divergence import (
    LEAST,
    counted_mass,
    divergence,
    see_logits,
    see_logprobs,
)
from llterm.core.logit_rows import (
    BLOCK,
    RowScratch,
    best_ids_of_rows,
    blocks,
    exponentials,
    moments,
    ranks,
    rows_at_once,
)

GEMMA = 262_144
"""A vocabulary that is larger than a block."""
Floats = NDArray[np.float32]


def drawn(count: int, size: int, spread: float = 3.0, seed: int = 0) -> Floats:
    """Logits as models give them: around 10, some far below."""
    generator = np.random.default_rng(seed)
    return (10 + spread * generator.normal(size=(count, size))).astype(np.float32)


def log_softmax(rows: Floats) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=1, keepdims=True)), np.float64)


@pytest.mark.parametrize("size", [3, 4096, 32_001, GEMMA])
@pytest.mark.parametrize("spread", [0.1, 3.0, 12.0])
def test_logprobs_are_within_a_millionth_of_the_formula_in_float64(
    size: int, spread: float
) -> None:
    logits = drawn(3, size, spread)
    tokens = np.array([0, size // 2, int(logits[2].argmax())])
    exact = log_softmax(logits)
    seen = see_logits(logits, tokens, RowScratch()).tokens
    own = exact[np.arange(3), tokens]
    np.testing.assert_allclose(seen.logprob, own, rtol=1e-6)
    assert seen.choice.tolist() == exact.argmax(axis=1).tolist()
    np.testing.assert_allclose(seen.choice_p, np.exp(exact.max(axis=1)), rtol=1e-6)


def test_a_token_that_is_all_but_certain_keeps_its_logprob() -> None:
    logits = np.zeros((1, 4096), np.float32)
    logits[0, 7] = 30
    seen = see_logits(logits, np.array([7]), RowScratch()).tokens
    assert seen.logprob[0] == pytest.approx(-4095 * np.exp(-30.0), rel=1e-3)


@pytest.mark.parametrize("size", [4096, GEMMA])
def test_entropy_and_varentropy_are_the_formulas(size: int) -> None:
    logits = drawn(2, size)
    scratch = RowScratch()
    sums = exponentials(logits, logits.max(axis=1), scratch)
    entropy, varentropy = moments(*sums, scratch, spread=True)
    assert varentropy is not None
    bits = -log_softmax(logits) / np.log(2)
    p = np.exp2(-bits)
    mean = (p * bits).sum(axis=1)
    np.testing.assert_allclose(entropy, mean, rtol=1e-6)
    np.testing.assert_allclose(varentropy, (p * (bits - mean[:, None]) ** 2).sum(axis=1), rtol=1e-5)


def test_impossible_tokens_leave_every_figure_a_number() -> None:
    logits = drawn(2, 64)
    logits[:, ::3] = -np.inf
    scratch = RowScratch()
    shifted, powers, totals = exponentials(logits, logits.max(axis=1), scratch)
    entropy, varentropy = moments(shifted, powers, totals, scratch, spread=True)
    assert varentropy is not None
    assert np.isfinite(entropy).all()
    assert np.isfinite(varentropy).all()


@given(
    st.integers(1, 4),
    st.integers(1, 700),
    st.integers(0, 90),
    st.integers(1, 60),
    st.integers(0, 99),
)
def test_best_ids_and_ranks_are_those_of_a_whole_sort(
    rows: int, size: int, count: int, values: int, seed: int
) -> None:
    """Few different values: many ties, which go by id."""
    generator = np.random.default_rng(seed)
    logits = generator.integers(0, values, (rows, size)).astype(np.float32)
    order = np.argsort(-logits, axis=1, kind="stable")
    scratch = RowScratch()
    assert best_ids_of_rows(logits, count, scratch).tolist() == order[:, :count].tolist()
    tokens = generator.integers(0, size, rows)
    expected = [int(np.flatnonzero(order[n] == tokens[n])[0]) + 1 for n in range(rows)]
    assert ranks(logits, tokens, scratch).tolist() == expected
    wide = logits + 1e-9 * generator.random((rows, size))  # float64: told apart beyond float32.
    order = np.argsort(-wide, axis=1, kind="stable")
    assert best_ids_of_rows(wide, count, scratch).tolist() == order[:, :count].tolist()


@pytest.mark.parametrize("size", [4096, GEMMA])
def test_a_divergence_is_the_formula_in_float64(size: int) -> None:
    base = drawn(3, size)
    other = base + 0.05 * drawn(3, size, seed=1)
    tokens = np.zeros(3, np.int64)
    exact, theirs = log_softmax(base), log_softmax(other)
    expected = np.where(exact > LEAST, np.exp(exact) * (exact - theirs), 0).sum(axis=1)
    for see, rows in ((see_logits, base), (see_logprobs, exact.astype(np.float32))):
        scratch, beside = RowScratch(), RowScratch()
        seen = see(rows, tokens, scratch)
        counted = counted_mass(seen, scratch)
        kld = divergence(seen, counted, see_logits(other, tokens, beside))
        np.testing.assert_allclose(kld, expected, rtol=1e-4, atol=1e-6)


def test_a_model_does_not_diverge_from_itself() -> None:
    base, tokens = drawn(2, 4096), np.zeros(2, np.int64)
    seen = see_logits(base, tokens, scratch := RowScratch())
    kld = divergence(seen, counted_mass(seen, scratch), see_logits(base, tokens, RowScratch()))
    assert kld.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("size", "rows"), [(4096, 32), (GEMMA, 1)])
def test_a_block_is_as_many_rows_as_a_cache_holds_and_its_room_is_used_again(
    size: int, rows: int
) -> None:
    parts = blocks(128, size)
    assert {part.stop - part.start for part in parts} == {rows}
    assert sum(part.stop - part.start for part in parts) == 128
    assert rows * size <= max(BLOCK, size)
    scratch = RowScratch()
    first = scratch.floats("powers", (rows, size))
    assert np.shares_memory(first, scratch.floats("powers", (rows, size)))
    assert not np.shares_memory(first, scratch.floats("shifted", (rows, size)))


def test_rows_taken_at_once_are_few_where_a_vocabulary_is_large() -> None:
    for size in (1, 4096, 151_936, GEMMA, 1 << 30):
        assert rows_at_once(size) >= 1
        assert rows_at_once(size) * 4 * size <= max(128 << 20, 4 * size)
    assert rows_at_once(GEMMA) == 128
