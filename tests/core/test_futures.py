"""How far apart the futures of several candidates are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.futures import futures, ways
from llterm.core.scored_text import Candidate, TokenReading
from llterm.core.tokens import Token


def candidates(*shares: float, end: int = -1) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(Token(id, b"x", end=id == end), math.log(p)) for id, p in enumerate(shares)
    )


def logs(*p: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(p, np.float32))


def test_the_same_future_is_no_divergence() -> None:
    one = logs(0.5, 0.3, 0.2)
    assert futures(candidates(0.6, 0.2), [one, one]).divergence == pytest.approx(0, abs=1e-6)


def test_futures_that_share_nothing_diverge_as_far_as_the_choice_is_open() -> None:
    compared = futures(candidates(0.4, 0.4), [logs(1, 0), logs(0, 1)])
    assert compared.divergence == pytest.approx(1.0)
    assert compared.most == pytest.approx(1.0)
    compared = futures(candidates(0.6, 0.2), [logs(1, 0), logs(0, 1)])
    assert compared.divergence == pytest.approx(compared.most)
    assert compared.most == pytest.approx(-0.75 * math.log2(0.75) + 0.25 * 2)


@given(
    st.lists(st.floats(0.01, 1), min_size=2, max_size=4),
    st.integers(0, 1 << 30),
)
def test_it_lies_between_nothing_and_the_choice_itself(shares: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    after = [np.log(rng.dirichlet(np.full(9, 0.2)) + 1e-30).astype(np.float32) for _ in shares]
    found = futures(candidates(*shares), after)
    assert 0 <= found.divergence <= found.most + 1e-6


def test_the_ways_are_the_likely_ones_and_never_the_end() -> None:
    def reading(*shares: float, end: int = -1) -> TokenReading:
        top = candidates(*shares, end=end)
        return TokenReading(1, top[0].token, top[0].logprob, 1, 1.0, top)

    assert [one.token.id for one in ways(reading(0.5, 0.3, 0.1, 0.05, 0.04))] == [0, 1, 2, 3]
    assert [one.token.id for one in ways(reading(0.97, 0.01, 0.005))] == [0, 1]
    assert [one.token.id for one in ways(reading(0.5, 0.3, 0.1, end=1))] == [0, 2]
