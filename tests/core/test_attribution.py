"""Rollout against its formula; the texts of leave-one-out; what is cut from a long text."""

from __future__ import annotations

import typing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.cli import options
from llterm.core.attention_weights import Attention, last_row, rollout
from llterm.core.attribution import Attribution, Question, cut, omission_cost, omissions
from llterm.core.attribution_methods import METHODS, AttributionSettings, Method
from llterm.core.tokens import common

ids = st.lists(st.integers(0, 3), min_size=2, max_size=24).map(tuple)


def causal(layers: int, size: int, seed: int) -> Attention:
    """Random attention of a decoder: rows sum to 1, no token sees a later one."""
    weights = np.tril(np.random.default_rng(seed).random((layers, size, size)) + 1e-3)
    weights /= weights.sum(axis=-1, keepdims=True)
    return Attention(tuple(range(layers)), weights.astype(np.float32), 0)


@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 99))
def test_rollout_is_the_product_of_the_layers(layers: int, size: int, seed: int) -> None:
    attention = causal(layers, size, seed)
    product = np.eye(size)
    for layer in attention.weights:
        product = (0.5 * layer + 0.5 * np.eye(size)) @ product
    found = rollout(attention)
    assert found == pytest.approx(product[-1], abs=1e-6)
    assert found.sum() == pytest.approx(1.0, abs=1e-5)


@given(st.integers(1, 6), st.integers(2, 12), st.integers(0, 99), st.data())
def test_a_part_of_a_long_text_has_the_values_of_the_whole(
    layers: int, size: int, seed: int, data: st.DataObject
) -> None:
    attention = causal(layers, size, seed)
    last = data.draw(st.integers(1, size))
    part = Attention(attention.layers, attention.weights[:, -last:, -last:], 0)
    assert rollout(part) == pytest.approx(rollout(attention)[-last:], abs=1e-6)


def test_layers_are_known_by_their_number_in_the_model() -> None:
    attention = causal(2, 3, 0)
    hybrid = Attention((1, 5), attention.weights, 0)
    assert last_row(hybrid, 5) == pytest.approx(attention.weights[1, -1])
    assert last_row(hybrid, None) == pytest.approx(attention.weights[:, -1].mean(axis=0))
    with pytest.raises(KeyError):
        last_row(hybrid, 0)


@given(ids, st.integers(0, 3), st.integers(1, 30))
def test_each_text_lacks_one_token(tokens: tuple[int, ...], head: int, last: int) -> None:
    question = Question(tokens, min(head, len(tokens) - 1), 0)
    left_out = omissions(question, last)
    assert len(left_out.tails) == min(last, len(tokens) - question.head)
    assert left_out.anchor + left_out.whole == tokens
    for number, tail in enumerate(left_out.tails):
        at = left_out.first + number
        assert left_out.anchor + tail == tokens[:at] + tokens[at + 1 :]
        assert tail


@given(ids, st.integers(1, 30))
def test_the_cost_is_what_differs(tokens: tuple[int, ...], last: int) -> None:
    left_out = omissions(Question(tokens, 1, 0), last)
    texts = dict.fromkeys([left_out.whole, *left_out.tails])
    alone = sum(len(one) for one in texts)
    shared = len(left_out.whole) + sum(
        max(len(one) - common(one, left_out.whole), 1) for one in list(texts)[1:]
    )
    assert omission_cost(left_out, shares=False) == alone
    assert omission_cost(left_out, shares=True) == shared


def test_a_long_text_keeps_the_models_prefix_and_its_end() -> None:
    tokens = (0, *range(10, 30))
    assert cut(Question(tokens, 1, 5), 20, 1) == Question(tokens, 1, 5)
    assert cut(Question(tokens, 1, 5), 4, 1) == Question((0, 26, 27, 28, 29), 1, 5)
    # A hidden text before the story is no part of it, however much of it is left.
    assert cut(Question(tokens, 18, 5), 4, 1) == Question((0, 26, 27, 28, 29), 2, 5)
    assert cut(Question(tokens, 15, 5), 4, 1) == Question((0, 26, 27, 28, 29), 1, 5)


def test_values_are_told_with_their_units() -> None:
    def told(method: Method) -> str:
        values = np.array([0.25, -np.log(2) * 3])
        return Attribution(AttributionSettings(method), 0, values).told(
            0 if method == "attention" else 1
        )

    assert told("attention") == "25.0%"
    assert told("leave-one-out") == "-3.00 bits"
    assert told("saliency") == "-2.08"
    found = Attribution(AttributionSettings("leave-one-out"), 0, np.array([1.0, -4.0, 0.0]))
    assert found.heat.tolist() == [0.25, -1.0, 0.0]
    assert found.strongest(2) == [1, 0]


def test_the_command_has_every_method() -> None:
    literal = typing.get_args(typing.get_args(options.Attribution)[0])[0]
    assert set(typing.get_args(literal)) == set(METHODS)
