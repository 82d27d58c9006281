"""Packed rows against llama.cpp's own: by its code, and by that code written out in Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llterm.core.comparison.packed_rows import pack, unpack, width

# Made by `log_softmax(n_vocab, logits, log_prob, tok)` in llama.cpp's
# tools/perplexity/perplexity.cpp itself (as llama-cpp-python 0.3.36 brings it), compiled alone.
GOLDEN = [
    ([0.0, 1.5, -2.25, 30.0, 3.875], "80008039000080c1000000000000ffff00000000"),
    ([4.25, -7.5, 0.125, -0.0625], "bc003c395e773cc1ffff000020a60aa2"),
    ([1.0, 1.0, 1.0], "00000000549f8cbf0000000000000000"),
    ([-3.5, 12.75, 12.5, -40.0, 2.625, 2.5], "800080399c9b84c10000fffffffb0000005e005c"),
]


def plain(logits: list[float]) -> bytes:
    """One row, number by number, in the precision of the source."""
    f = np.float32
    row = [f(x) for x in logits]
    best, least = max(row), max(min(row), f(max(row) - f(16)))
    total = sum(float(f(math.exp(float(f(x - best))))) for x in row)
    scale = f(f(best - least) / f(65535))
    head = np.array([scale, f(f(least - best) - f(math.log(total)))], "<f4").tobytes()
    inverse = f(1 / float(scale)) if float(scale) > 1 / float(np.finfo(f).max) else f(0)
    cells = [int(np.rint(f(inverse * f(x - least)))) if x > least else 0 for x in row]
    return head + np.array(cells + [0] * (len(row) % 2), "<u2").tobytes()


@given(st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=40))
@example([0.0, 1e-38])
def test_a_row_is_packed_as_the_source_does_it(logits: list[float]) -> None:
    packed = pack(np.array([logits], np.float32))
    assert packed.shape == (1, width(len(logits)))
    assert packed.tobytes() == plain(logits)


@pytest.mark.parametrize(("logits", "expected"), GOLDEN)
def test_rows_are_those_of_llama_cpp_itself(logits: list[float], expected: str) -> None:
    assert pack(np.array([logits], np.float32)).tobytes().hex() == expected


def test_unpacked_rows_are_the_logprobs_within_half_a_step() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 3, (20, 301)).astype(np.float32)
    wide = logits.astype(np.float64)
    expected = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    found = unpack(pack(logits), 301)
    spread = np.minimum(np.ptp(wide, axis=1, keepdims=True), 16)
    seen = wide > wide.max(axis=1, keepdims=True) - 16
    apart = np.where(seen, np.abs(found - expected), 0)
    assert (apart <= spread / 65535 * 0.51 + 2e-6).all()
    assert np.allclose(found.min(axis=1), expected.max(axis=1) - spread[:, 0], atol=1e-4)


def test_equal_logits_have_no_scale() -> None:
    packed = pack(np.zeros((1, 3), np.float32))
    assert unpack(packed, 3) == pytest.approx(np.log(1 / 3))
