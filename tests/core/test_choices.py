"""A few given texts: each once, with its whole probability, however its tokens may be cut."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.backends.scripted import listed
from llterm.constraints.compiled import compile
from llterm.constraints.spec import choices
from llterm.core.bans import Bans
from llterm.core.query import Fact
from llterm.core.spelled_sum import UNSEEN
from llterm.core.tokens import Anchor, Tail, text_bytes
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from tests.helpers.random_model import RandomModel

TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", " a", " ab", "ab", ".", "é", "e", "bea", "!"]), min_size=1,
             max_size=5).map("".join),
    min_size=1, max_size=6,
)  # fmt: skip


def begin(
    model: RandomModel, texts: list[str], rules: WeaveSettings, bans: Bans | None = None
) -> Weave:
    constraint = compile(choices(texts), model)
    return Weave(model, Anchor((0,)), rules, constraint=constraint, bans=bans)


def run(weave: Weave, model: RandomModel, room: int = 7) -> None:
    while queries := weave.wants(room):
        for query in queries:
            found = listed(model.logprobs(query.path.tokens), query.keep, query.mask)
            weave.learn(Fact(query.path, found))


def spellings(model: RandomModel, text: bytes, known: Container[Tail] | None) -> Iterator[Tail]:
    """Every token path that is the text; with `known`, those whose rows were looked at."""
    waiting: list[Tail] = [()]
    while waiting:
        tail = waiting.pop()
        size = len(text_bytes(model, tail))
        if size == len(text):
            yield tail
        elif known is None or tail in known:
            for id in range(1, model.size):
                if text[size:].startswith(model.token(id).data):
                    waiting.append((*tail, id))


def probability(model: RandomModel, tail: Tail) -> float:
    steps = ((0, *tail[:at]) for at in range(len(tail)))
    return math.exp(
        math.fsum(float(model.logprobs(before)[id]) for before, id in zip(steps, tail, strict=True))
    )


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), texts=TEXTS, room=st.integers(1, 40))
def test_every_choice_has_all_that_its_spellings_have(
    seed: int, texts: list[str], room: int
) -> None:
    model = RandomModel(seed)
    # Neither cutoff nor limits hide a choice, and a sentence end does not cut one short.
    weave = begin(model, texts, WeaveSettings(depth=1, cutoff=1.0, split_limit=1, beams=1))
    run(weave, model, room)
    view = weave.view()
    assert view.done
    assert {one.data for one in view.suggestions} == {text.encode() for text in texts}
    assert len(view.suggestions) == len(view.branches) == len(set(texts))
    for one in view.suggestions:
        p = math.exp(one.logprob) + one.merged
        seen = math.fsum(
            probability(model, tail) for tail in spellings(model, one.data, weave.facts)
        )
        whole = math.fsum(probability(model, tail) for tail in spellings(model, one.data, None))
        assert p == pytest.approx(seen, rel=1e-6, abs=1e-9)
        assert p <= whole * (1 + 1e-6) <= (p + view.bound) * (1 + 1e-5)
        assert whole - p <= 2 * UNSEEN * p
    shown = [row.p for row in view.branches]
    assert shown == sorted(shown, reverse=True)
    assert math.fsum(row.share or 0.0 for row in view.branches) == pytest.approx(1.0)


def test_a_choice_in_hand_leaves_the_rest_of_those_that_go_on() -> None:
    model = RandomModel(3)
    weave = begin(model, ["a", "ab", "ab!", "b"], WeaveSettings())
    run(weave, model)
    tail = model.encode(b"a")
    rest = weave.at(tail, Anchor((0, *tail)))
    run(rest, model)
    assert {one.data for one in rest.view().suggestions} == {b"b", b"b!"}


def test_a_banned_choice_is_told_and_is_no_choice() -> None:
    model = RandomModel(5)
    weave = begin(model, ["ab!", "b"], WeaveSettings(), Bans(phrases=("!",)))
    run(weave, model)
    view = weave.view(banned=True)
    assert [one.data for one in view.suggestions] == [b"b"]
    assert "!" in next(row for row in view.branches if row.data.endswith(b"!")).banned


def test_a_budget_leaves_a_bound() -> None:
    model = RandomModel(7)
    weave = begin(model, ["abea!ab", "b"], WeaveSettings(budget=2))
    run(weave, model)
    view = weave.view()
    assert view.spent
    assert not view.done
    assert view.bound > 0
