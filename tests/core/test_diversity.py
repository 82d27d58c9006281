"""Suggestions that differ in wording: what is alike, what is folded, what the search looks at."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.diversity import WIDEST, alike, fold, wording
from llterm.core.weave_settings import WeaveSettings
from tests.helpers.random_model import RandomModel, plain_search
from tests.helpers.weaves import RULES, begin, run

WORDS = st.lists(st.sampled_from("abc"), max_size=9).map(tuple)


@cache
def edits(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Levenshtein's distance in words, by its definition."""
    if not one or not other:
        return len(one) + len(other)
    if one[0] == other[0]:
        return edits(one[1:], other[1:])
    return min(
        edits(one[1:], other) + 1,
        edits(one, other[1:]) + 1,
        edits(one[1:], other[1:]) + 1,
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (" the fox, ran!", " The fox ran."),
        (" don’t go", " dont go"),
        (" well-known —", " well known"),
        ("“Oh,” she said.", "Oh she said"),
        (" a b c d e f.", " a b c X e f!"),
        (" a b c d e f", " a b c d e f g"),
        ("…", "\n"),
    ],
)
def test_these_say_the_same(one: str, other: str) -> None:
    assert alike(wording(one), wording(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (" the fox", " the wolf"),
        (" a b c d e", " a b c d X"),
        (" a b c d e f", " a b X d e Y"),
        (" a bear 🐻", " a bear 🦊"),
        ("कि", "का"),
        (" to day", " today"),
        (" a b c d e f", " a b c d e f g h"),
    ],
)
def test_these_do_not(one: str, other: str) -> None:
    assert not alike(wording(one), wording(other))


@settings(max_examples=200)
@given(one=WORDS, other=WORDS)
def test_alike_is_one_word_in_a_long_text(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    near = min(len(one), len(other)) >= 6 and edits(one, other) <= 1
    assert alike(one, other) == alike(other, one) == (one == other or near)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), rules=RULES)
def test_the_list_is_the_best_that_differ(seed: int, rules: WeaveSettings) -> None:
    """The same as folding everything there is; and nothing is lost."""
    rules = replace(rules, beams=min(rules.beams, 8) or 8)
    model = RandomModel(seed)
    weave = begin(model, replace(rules, diverse=True))
    run(weave, model)
    view = weave.view()
    whole = begin(model, replace(rules, beams=WIDEST * rules.beams))
    run(whole, model)
    everything = plain_search(model, (0,), whole.rules)
    beams = [whole.beam(tail) for _, tail in everything]
    kept, folded = fold(beams, rules.goal, "")
    shown = [one for one in view.suggestions if one.finish != "open"]
    assert [one.tail for one in shown] == [beam.tail for beam in kept]
    for one, other in combinations(shown, 2):
        assert not alike(wording(_text(one.data)), wording(_text(other.data)))
    for one in shown:
        mass = sum(math.exp(beam.logprob) for beam in folded.get(one.tail, ()))
        assert one.merged + one.alike_p <= mass * (1 + 1e-6)


def test_folded_mass_stays_in_the_tree() -> None:
    """What is folded counts with its like, once: shares still add up to one at most."""
    rules = WeaveSettings(3, 0.02, split_limit=0, beams=400, auto_stop=False, budget=10**9)
    model = RandomModel(2)
    plain = begin(model, rules)
    run(plain, model)
    view, folded = plain.view(), plain.under(replace(rules, diverse=True)).view()
    assert len(folded.suggestions) < len(view.suggestions)
    assert folded.looked_at == len(view.suggestions)
    total = sum(math.exp(one.logprob) for one in view.suggestions)
    told = sum(math.exp(one.logprob) + one.merged + one.alike_p for one in folded.suggestions)
    assert math.isclose(total, told, rel_tol=1e-6)
    waiting = list(folded.branches)
    while waiting:
        branch = waiting.pop()
        assert sum(child.p for child in branch.children) <= 1 + 1e-6
        waiting += branch.children


def test_a_word_begun_in_the_story_is_part_of_the_wording() -> None:
    model = RandomModel(0)
    weave = begin(model, WeaveSettings(1, 0.0, split_limit=0, beams=20))
    run(weave, model)
    beams = [weave.beam(one.tail) for one in weave.view().suggestions]
    a = [beam for beam in beams if beam.data.strip() == b"a"]
    assert len(a) == 2
    assert len(fold(a, 9, "the ")[0]) == 1
    assert len(fold(a, 9, "the")[0]) == 2


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
