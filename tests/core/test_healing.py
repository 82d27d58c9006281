"""Token healing: what is stepped back over, and which tokens may take its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.beams import Step
from llterm.core.healing import LONGEST, Healer, healed, healing_note, residue_of
from llterm.core.suggestion_tree import Suggestion, adding, mean_of
from tests.helpers.random_model import RandomModel, fits


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


@pytest.mark.parametrize(
    ("residue", "data", "words"),
    [
        (" a", "n old man", ("a", "an")),
        (" a", " little boy", None),
        (" riv", "er, was", ("riv", "river")),
        (" ", "river", None),
        ("", "river", None),
        (" caf", "é", ("caf", "café")),
    ],
)
def test_a_changed_word_is_named(residue: str, data: str, words: tuple[str, str] | None) -> None:
    assert healed(residue.encode(), data.encode()) == words
    assert bool(healing_note(words)) == bool(words)


def test_the_mean_is_of_the_tokens_that_add_text() -> None:
    steps = tuple(
        Step(id, data, logprob, 1)
        for id, (data, logprob) in enumerate([(b" a", -9.0), (b" b", -1.0), (b" c", -2.0)])
    )
    assert adding(steps, b" a") == steps[1:]
    assert adding(steps, b"") == steps
    assert adding(steps[:1], b" a") == ()
    assert adding(steps, b" ") == steps, "one that adds something counts"
    one = Suggestion((0, 1, 2), steps, b" b c", -12.0, "depth", residue=b" a")
    assert one.logprob_per_token == -1.5
    assert mean_of(()) == 0.0
