"""Every pool against its formula written out token by token."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.distribution import Reals
from llterm.core.mixing.mix_recipe import Recipe, supporter
from llterm.core.mixing.opinion_pools import LEAST, EmptyPool, Kind, OpinionPool
from llterm.errors import UsageError

SIZE = 7


def voices(seed: int, count: int, *, holes: bool = False) -> Reals:
    """Random distributions, shape (count, SIZE); with `holes`, some tokens are impossible."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, SIZE))
    if holes:
        logits[random.random((count, SIZE)) < 0.3] = -np.inf
        logits[:, 0] = 0.0
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), np.float64)


def plain(pool: OpinionPool, rows: Reals) -> list[float]:
    """The pool by its printed formula, one token at a time."""
    total = sum(pool.weights)
    shares = [weight / total for weight in pool.weights]

    def value(weights: list[float], x: int) -> float:
        if pool.kind == "linear":
            return sum(w * math.exp(row[x]) for w, row in zip(weights, rows, strict=True))
        product = 1.0
        for w, row in zip(weights, rows, strict=True):
            if w:
                p = math.exp(row[x])
                product *= (max(p, LEAST) if w < 0 else p) ** w
        return product

    pooled = [max(value(shares, x), 0.0) for x in range(SIZE)]
    if min(shares) < 0:
        trusted = sum(w for w in shares if w > 0)
        positive = [w / trusted if w > 0 else 0.0 for w in shares]
        sure = [value(positive, x) for x in range(SIZE)]
        pooled = [p if s >= pool.plausible * max(sure) else 0.0
                 for p, s in zip(pooled, sure, strict=True)]  # fmt: skip
    return [p / sum(pooled) for p in pooled]


KINDS = st.sampled_from(get_args(Kind))
WEIGHTS = st.lists(st.floats(0.1, 3.0), min_size=2, max_size=4)


@given(st.integers(0, 10_000), WEIGHTS, KINDS, st.booleans())
def test_a_pool_is_its_formula(seed: int, weights: list[float], kind: Kind, holes: bool) -> None:
    pool = OpinionPool(tuple(weights), kind)
    rows = voices(seed, len(weights), holes=holes)
    assert np.exp(pool.pooled(rows)) == pytest.approx(plain(pool, rows), rel=1e-9, abs=1e-15)


@given(st.integers(0, 10_000), st.floats(0.05, 0.9), st.floats(0.0, 0.9),
       KINDS)  # fmt: skip
def test_a_contrastive_pool_is_its_formula(
    seed: int, against: float, plausible: float, kind: Kind
) -> None:
    pool = OpinionPool((1.0, -against, 0.5), kind, plausible)
    rows = voices(seed, 3)
    try:
        pooled = np.exp(pool.pooled(rows))
    except EmptyPool:
        assert kind == "linear"
        return
    assert pooled == pytest.approx(plain(pool, rows), rel=1e-9, abs=1e-15)
    trusted = OpinionPool((1.0, 0.0, 0.5), kind).pooled(rows)
    assert not pooled[np.exp(trusted) < plausible * math.exp(trusted.max()) * (1 - 1e-9)].any()


@given(st.integers(0, 10_000), KINDS)
def test_the_order_of_the_models_changes_no_bit(seed: int, kind: Kind) -> None:
    weights = (0.5, 1.7, -0.3, 0.9)
    rows = voices(seed, 4)
    results = set()
    for order in itertools.permutations(range(4)):
        pool = OpinionPool(tuple(weights[n] for n in order), kind)
        results.add(pool.pooled(rows[list(order)]).tobytes())
    assert len(results) == 1


@given(st.integers(0, 10_000), st.lists(st.floats(-0.4, 2.0), min_size=2, max_size=5),
       KINDS)  # fmt: skip
def test_models_that_agree_are_their_pool(seed: int, weights: list[float], kind: Kind) -> None:
    weights = [3.0, *weights]
    pool = OpinionPool(tuple(weights), kind, plausible=0.0)
    row = voices(seed, 1)
    agreed = pool.pooled(np.repeat(row, len(weights), axis=0))
    assert np.exp(agreed) == pytest.approx(np.exp(row[0]), rel=1e-6)


def test_weights_move_the_pool_and_their_scale_does_not() -> None:
    rows = voices(1, 2)
    for kind in get_args(Kind):
        alone = OpinionPool((1.0, 0.0), kind).pooled(rows)
        assert alone == pytest.approx(rows[0])
        small = OpinionPool((0.3, 0.1), kind).pooled(rows)
        large = OpinionPool((30.0, 10.0), kind).pooled(rows)
        assert small == pytest.approx(large)
        assert not np.allclose(small, OpinionPool((1.0, 1.0), kind).pooled(rows))


def test_without_the_cutoff_contrast_would_choose_what_nobody_expects() -> None:
    strong = np.log([0.60, 0.399, 0.001])
    weak = np.log([0.60, 0.3999, 0.0001])
    rows = np.stack([strong, weak])
    assert int(OpinionPool((4.0, -3.0), "log", 0.0).pooled(rows).argmax()) == 2
    assert int(OpinionPool((4.0, -3.0), "log", 0.1).pooled(rows).argmax()) == 0


@given(st.integers(0, 10_000))
def test_contrast_without_measure_takes_the_plausible_token_that_it_favours_most(seed: int) -> None:
    rows = voices(seed, 2)
    rows = np.column_stack([rows, [[-40.0], [-45.0]]])
    # The last token is barred, and nearly all of the unbarred pool's mass would be its own.
    found = OpinionPool((3.0, -2.9999), "log").pooled(rows)
    plausible = np.flatnonzero(rows[0] >= rows[0].max() + math.log(0.1))
    assert int(found.argmax()) == max(plausible, key=lambda x: rows[0][x] - rows[1][x])
    assert np.exp(found).sum() == pytest.approx(1)


def test_formulas_name_every_model_and_weight() -> None:
    names = ["big", "small"]
    assert OpinionPool((1.0, 1.0)).formula(names) == "p(x) = 0.5·big(x) + 0.5·small(x)"
    assert OpinionPool((3.0, 1.0), "log").formula(names) == "p(x) ∝ big(x)^0.75 · small(x)^0.25"
    assert OpinionPool((1.5, -0.5), "log").formula(names) == (
        "p(x) ∝ big(x)^1.5 · small(x)^-0.5, where big(x) ≥ 0.1·max big"
    )
    assert OpinionPool((-1.0, 2.0), "linear", 0.2).formula(names) == (
        "p(x) ∝ max(0, -1·big(x) + 2·small(x)), where small(x) ≥ 0.2·max small"
    )
    assert OpinionPool((1.0, 1.0, -1.0)).formula(["a", "b", "c"]) == (
        "p(x) ∝ max(0, 1·a(x) + 1·b(x) - 1·c(x)), "
        "where q(x) ≥ 0.1·max q and q(x) = 0.5·a(x) + 0.5·b(x)"
    )


@pytest.mark.parametrize(
    "weights", [(1.0, -1.0), (0.0, 0.0), (-1.0, -2.0), (1.0, math.nan), (1e308, 1e308)]
)
def test_weights_without_a_sense_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(UsageError):
        OpinionPool(weights)


def test_models_with_nothing_in_common_leave_nothing_in_the_log_pool() -> None:
    rows = np.log(np.array([[1.0, 1e-300], [1e-300, 1.0]]))
    rows[0, 1] = rows[1, 0] = -np.inf
    assert np.exp(OpinionPool((1.0, 1.0)).pooled(rows)) == pytest.approx([0.5, 0.5])
    with pytest.raises(EmptyPool):
        OpinionPool((1.0, 1.0), "log").pooled(rows)


# VisuaLL's faults by name (its round robin and democratic modes; the multi-llm branch of LLooM).


def test_visuall_sum_above_one_is_absent() -> None:
    rows = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]))
    assert float(np.exp(OpinionPool((1.0, 1.0, 1.0)).pooled(rows)).sum()) == pytest.approx(1.0)


def test_visuall_round_robin_starting_with_the_second_model_is_absent() -> None:
    recipe = Recipe("round-robin", OpinionPool((1.0, 1.0, 1.0)), turn=2)
    turns = [recipe.speakers(position) for position in range(7)]
    assert turns == [(0,), (0,), (1,), (1,), (2,), (2,), (0,)]


def test_a_round_robin_leaves_out_models_that_are_off() -> None:
    recipe = Recipe("round-robin", OpinionPool((1.0, 0.0, 1.0)))
    assert [recipe.speakers(position) for position in range(3)] == [(0,), (2,), (0,)]


def test_visuall_order_of_answers_deciding_ties_is_absent() -> None:
    rows = np.log(np.array([[0.5, 0.3, 0.2], [0.3, 0.5, 0.2]]))
    forth, back = OpinionPool((1.0, 1.0)).pooled(rows), OpinionPool((1.0, 1.0)).pooled(rows[::-1])
    assert forth.argmax() == back.argmax() == 0


def test_a_token_belongs_to_the_surest_model_whose_first_choice_it_is() -> None:
    rows = np.log(np.array([[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]))
    assert supporter(rows, 0) == 1
    assert supporter(rows, 1) == 2
    assert supporter(rows, 2) is None


def test_visuall_crash_with_a_seventh_model_is_absent() -> None:
    rows = voices(3, 9)
    assert float(np.exp(OpinionPool((1.0,) * 9).pooled(rows)).sum()) == pytest.approx(1.0)
    names = [f"m{n}" for n in range(9)]
    formula = Recipe("democratic", OpinionPool((1.0,) * 9)).formula(names)
    assert all(name in formula for name in names)
