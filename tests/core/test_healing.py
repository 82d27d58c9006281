"""Token healing: what is stepped back over, and which tokens may take its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.healing import LONGEST, Healer, residue_of
from tests.random_model import RandomModel, fits


@pytest.mark.parametrize(
    ("text", "residue"),
    [
        ("he was very bea", " bea"),
        ("he was ", " "),
        ("he was   ", "   "),
        ("Once", "Once"),
        ("he said “Hel", "Hel"),
        ("naïve café", " café"),
        ("he ran.", ""),
        ('he ran."', ""),
        ("he ran\n", ""),
        ("", ""),
        ("x" * (LONGEST + 1), ""),
        ("日本", "日本"),
    ],
)
def test_residue(text: str, residue: str) -> None:
    assert residue_of(text.encode()) == residue.encode()


def test_broken_bytes_at_the_end_are_left_alone() -> None:
    assert residue_of(b"he was \xe2\x80") == b""
    assert residue_of(b"\xff he was") == b" was"


@given(st.binary(max_size=300))
def test_the_residue_is_always_the_end_of_the_text(data: bytes) -> None:
    assert data.endswith(residue_of(data))


@given(st.lists(st.sampled_from([b"a", b"b", b" ", b"e", b"\xc3", b"\xff"]), min_size=1))
def test_masks_allow_exactly_the_tokens_that_fit(pieces: list[bytes]) -> None:
    model = RandomModel(0)
    residue = b"".join(pieces)
    mask = Healer(model).mask(residue)
    for id in range(model.size):
        assert mask.allowed[id] == fits(model.token(id), residue)
