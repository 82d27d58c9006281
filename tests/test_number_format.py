"""A probability looks the same everywhere: percent, and odds where percent says nothing."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llterm
from llterm.number_format import LONGEST, bar, bits, fine_percent, joint, of_logprob, percent

PACKAGE = Path(llterm.__file__).parent


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1, "100%"), (0.99951, "100%"), (0.412, "41.2%"), (0.001, "0.1%"), (0, "0%"),
        (2**-11, "1 in 2,000"), (1 / 1234, "1 in 1,200"), (1 / 9960, "1 in 10k"),
        (1 / 31_400, "1 in 31k"), (1 / 999_000, "1 in 1M"), (1 / 2_345_678, "1 in 2.3M"),
        (3e-10, "1 in 3.3B"), (1e-13, "1 in 10T"), (2e-16, "1 in 10^15"), (5e-324, "1 in 10^323"),
    ],
)  # fmt: skip
def test_a_probability_in_words(p: float, text: str) -> None:
    assert percent(p) == text


@given(st.floats(0, 1))
def test_every_probability_fits_and_is_right_to_its_digits(p: float) -> None:
    for text in (percent(p), fine_percent(p)):
        assert len(text) <= LONGEST + 1
        assert text.isascii()
    text = percent(p)
    if text.startswith("1 in ") and "^" not in text:
        number = text.removeprefix("1 in ").replace(",", "")
        scale = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(number[-1], 1)
        assert float(number.rstrip("kMBT")) * scale == pytest.approx(1 / p, rel=0.051)
    elif text.endswith("%"):
        assert float(text[:-1]) / 100 == pytest.approx(p, abs=0.00051)


@given(st.floats(-2000, 0))
def test_a_logprob_is_told_as_its_probability(logprob: float) -> None:
    assert of_logprob(logprob) != "0%"
    if logprob > -600:
        assert of_logprob(logprob) == percent(math.exp(logprob))


def test_joint_probability_mean_and_bits() -> None:
    assert joint(math.log(0.25), 2) == "joint 25% · mean 50% · 2 tokens · 2.0 bits"
    assert joint(-14, 7) == "joint 1 in 1.2M · mean 14% · 7 tokens · 20.2 bits"
    assert fine_percent(0.0085) == "0.85%"
    assert bits(0.0) == "0.0 bits"


def test_a_bar_has_its_width_and_shows_anything_above_nothing() -> None:
    assert bar(1, 4) == "████"
    assert bar(0, 4) == "    "
    assert bar(1e-9, 4) == "▏   "
    assert bar(0.412, 8) == "███▎    "
    assert {len(bar(n / 100, 7)) for n in range(101)} == {7}


def test_nobody_writes_a_probability_in_a_way_of_their_own() -> None:
    """Shares of work done and statistics with an error are no probabilities."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FormattedValue) and isinstance(node.format_spec, ast.JoinedStr):
                value, spec = ast.unparse(node.value), ast.unparse(node.format_spec)
                if "%" in spec:
                    own = any(word in value for word in ("exp(", "choice_p", "logprob"))
                    assert not own, f"{path}: {value}"
                    assert value not in ("p", "q"), path
